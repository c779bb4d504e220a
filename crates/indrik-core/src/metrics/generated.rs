//! A typed handle for every metric.
//!
//! Written by `cargo xtask metrics` from `metrics.toml`: change that file, not this one.

use super::family::Kind;
use super::table::{Counter, Gauge, Histogram, Info, LabelRow, Row};

static LABEL_METHOD: LabelRow = LabelRow { name: "method", otel: "http.request.method" };

static LABEL_STATUS: LabelRow = LabelRow { name: "status", otel: "http.response.status_code" };

static LABEL_CLASS: LabelRow = LabelRow { name: "class", otel: "indrik.status_class" };

static LABEL_POOL: LabelRow = LabelRow { name: "pool", otel: "indrik.pool" };

static LABEL_ROUTE: LabelRow = LabelRow { name: "route", otel: "http.route" };

static LABEL_PHASE: LabelRow = LabelRow { name: "phase", otel: "indrik.phase" };

static LABEL_REASON: LabelRow = LabelRow { name: "reason", otel: "indrik.reason" };

static LABEL_PROBE: LabelRow = LabelRow { name: "probe", otel: "indrik.probe" };

static LABEL_PROTOCOL: LabelRow = LabelRow { name: "protocol", otel: "network.protocol.version" };

static LABEL_STATE: LabelRow = LabelRow { name: "state", otel: "indrik.state" };

static LABEL_DIRECTION: LabelRow = LabelRow { name: "direction", otel: "network.io.direction" };

static LABEL_CODE: LabelRow = LabelRow { name: "code", otel: "indrik.close_code" };

static LABEL_SIDE: LabelRow = LabelRow { name: "side", otel: "indrik.side" };

static LABEL_RESULT: LabelRow = LabelRow { name: "result", otel: "indrik.result" };

static LABEL_KIND: LabelRow = LabelRow { name: "kind", otel: "indrik.kind" };

static LABEL_WORKER: LabelRow = LabelRow { name: "worker", otel: "indrik.worker" };

static LABEL_RESOURCE: LabelRow = LabelRow { name: "resource", otel: "indrik.resource" };

static LABEL_DISK: LabelRow = LabelRow { name: "disk", otel: "indrik.disk" };

static LABEL_VERSION: LabelRow = LabelRow { name: "version", otel: "service.version" };

static LABEL_ALERT: LabelRow = LabelRow { name: "alert", otel: "indrik.alert" };

static LABEL_SINK: LabelRow = LabelRow { name: "sink", otel: "indrik.sink" };

/// When the server began, in seconds since 1970.
pub const START_TIME_SECONDS: Gauge<0> = Gauge(&Row {
    name: "indrik_start_time_seconds",
    otel: "indrik.start_time",
    kind: Kind::Gauge,
    unit: "seconds",
    labels: &[],
    help: "When the server began, in seconds since 1970.",
});

/// 1 while traffic is welcome.
pub const READY: Gauge<0> = Gauge(&Row {
    name: "indrik_ready",
    otel: "indrik.ready",
    kind: Kind::Gauge,
    unit: "",
    labels: &[],
    help: "1 while traffic is welcome.",
});

/// 1 for the state that the server is in.
pub const HEALTH: Gauge<1> = Gauge(&Row {
    name: "indrik_health",
    otel: "indrik.health",
    kind: Kind::Gauge,
    unit: "",
    labels: &[&LABEL_STATE],
    help: "1 for the state that the server is in.",
});

/// 1 while an operator holds requests.
pub const PAUSED: Gauge<0> = Gauge(&Row {
    name: "indrik_paused",
    otel: "indrik.paused",
    kind: Kind::Gauge,
    unit: "",
    labels: &[],
    help: "1 while an operator holds requests.",
});

/// 1 while workers keep failing and are tried one at a time.
pub const BREAKER_OPEN: Gauge<0> = Gauge(&Row {
    name: "indrik_breaker_open",
    otel: "indrik.breaker.open",
    kind: Kind::Gauge,
    unit: "",
    labels: &[],
    help: "1 while workers keep failing and are tried one at a time.",
});

/// The generation of the application that serves.
pub const GENERATION: Gauge<0> = Gauge(&Row {
    name: "indrik_generation",
    otel: "indrik.generation",
    kind: Kind::Gauge,
    unit: "",
    labels: &[],
    help: "The generation of the application that serves.",
});

/// 1 while a new generation is made ready.
pub const RELOADING: Gauge<0> = Gauge(&Row {
    name: "indrik_reloading",
    otel: "indrik.reloading",
    kind: Kind::Gauge,
    unit: "",
    labels: &[],
    help: "1 while a new generation is made ready.",
});

/// For how long the supervision loop was busy at a stretch, at most, in the last minute or now: so late did it hear of what happened.
pub const SUPERVISOR_LAG_SECONDS: Gauge<0> = Gauge(&Row {
    name: "indrik_supervisor_lag_seconds",
    otel: "indrik.supervisor.lag",
    kind: Kind::Gauge,
    unit: "seconds",
    labels: &[],
    help: "For how long the supervision loop was busy at a stretch, at most, in the last minute or now: so late did it hear of what happened.",
});

/// Reloads that are over: done or failed.
pub const RELOADS: Counter<1> = Counter(&Row {
    name: "indrik_reloads",
    otel: "indrik.reloads",
    kind: Kind::Counter,
    unit: "",
    labels: &[&LABEL_RESULT],
    help: "Reloads that are over: done or failed.",
});

/// Requests that are over.
pub const HTTP_REQUESTS: Counter<5> = Counter(&Row {
    name: "indrik_http_requests",
    otel: "indrik.http.requests",
    kind: Kind::Counter,
    unit: "",
    labels: &[&LABEL_METHOD, &LABEL_STATUS, &LABEL_CLASS, &LABEL_POOL, &LABEL_ROUTE],
    help: "Requests that are over.",
});

/// Time from a request's head to the end of its answer.
pub const HTTP_REQUEST_DURATION_SECONDS: Histogram<4> = Histogram(&Row {
    name: "indrik_http_request_duration_seconds",
    otel: "http.server.request.duration",
    kind: Kind::Histogram,
    unit: "seconds",
    labels: &[&LABEL_METHOD, &LABEL_STATUS, &LABEL_POOL, &LABEL_ROUTE],
    help: "Time from a request's head to the end of its answer.",
});

/// Time of requests by phase.
pub const HTTP_REQUEST_PHASE_SECONDS: Histogram<2> = Histogram(&Row {
    name: "indrik_http_request_phase_seconds",
    otel: "indrik.http.request.phase",
    kind: Kind::Histogram,
    unit: "seconds",
    labels: &[&LABEL_PHASE, &LABEL_POOL],
    help: "Time of requests by phase.",
});

/// Time of all requests of a route together, by phase.
pub const HTTP_ROUTE_PHASE_SECONDS: Counter<3> = Counter(&Row {
    name: "indrik_http_route_phase_seconds",
    otel: "indrik.http.route.phase",
    kind: Kind::Counter,
    unit: "seconds",
    labels: &[&LABEL_PHASE, &LABEL_POOL, &LABEL_ROUTE],
    help: "Time of all requests of a route together, by phase.",
});

/// Requests that have begun and are not over.
pub const HTTP_REQUESTS_IN_FLIGHT: Gauge<1> = Gauge(&Row {
    name: "indrik_http_requests_in_flight",
    otel: "http.server.active_requests",
    kind: Kind::Gauge,
    unit: "",
    labels: &[&LABEL_POOL],
    help: "Requests that have begun and are not over.",
});

/// Requests in the queue, which no worker has.
pub const HTTP_REQUESTS_WAITING: Gauge<1> = Gauge(&Row {
    name: "indrik_http_requests_waiting",
    otel: "indrik.http.requests.waiting",
    kind: Kind::Gauge,
    unit: "",
    labels: &[&LABEL_POOL],
    help: "Requests in the queue, which no worker has.",
});

/// Requests that may wait (queue_requests_max).
pub const HTTP_REQUESTS_WAITING_MAX: Gauge<1> = Gauge(&Row {
    name: "indrik_http_requests_waiting_max",
    otel: "indrik.http.requests.waiting.limit",
    kind: Kind::Gauge,
    unit: "",
    labels: &[&LABEL_POOL],
    help: "Requests that may wait (queue_requests_max).",
});

/// For how long the request that waits longest has waited.
pub const HTTP_REQUESTS_OLDEST_WAITING_SECONDS: Gauge<1> = Gauge(&Row {
    name: "indrik_http_requests_oldest_waiting_seconds",
    otel: "indrik.http.requests.oldest_waiting",
    kind: Kind::Gauge,
    unit: "seconds",
    labels: &[&LABEL_POOL],
    help: "For how long the request that waits longest has waited.",
});

/// Requests that workers have, those in their rings included.
pub const HTTP_REQUESTS_AT_WORKERS: Gauge<1> = Gauge(&Row {
    name: "indrik_http_requests_at_workers",
    otel: "indrik.http.requests.at_workers",
    kind: Kind::Gauge,
    unit: "",
    labels: &[&LABEL_POOL],
    help: "Requests that workers have, those in their rings included.",
});

/// Answers of the server's own and requests that were given up, by reason.
pub const HTTP_REFUSED: Counter<2> = Counter(&Row {
    name: "indrik_http_refused",
    otel: "indrik.http.refused",
    kind: Kind::Counter,
    unit: "",
    labels: &[&LABEL_REASON, &LABEL_POOL],
    help: "Answers of the server's own and requests that were given up, by reason.",
});

/// Requests taken back out of a worker's ring unstarted, and given to another.
pub const HTTP_REQUESTS_RETAKEN: Counter<1> = Counter(&Row {
    name: "indrik_http_requests_retaken",
    otel: "indrik.http.requests.retaken",
    kind: Kind::Counter,
    unit: "",
    labels: &[&LABEL_POOL],
    help: "Requests taken back out of a worker's ring unstarted, and given to another.",
});

/// Requests run again because their worker ended.
pub const HTTP_REQUESTS_REPLAYED: Counter<1> = Counter(&Row {
    name: "indrik_http_requests_replayed",
    otel: "indrik.http.requests.replayed",
    kind: Kind::Counter,
    unit: "",
    labels: &[&LABEL_POOL],
    help: "Requests run again because their worker ended.",
});

/// Requests that the application had for too long.
pub const HTTP_REQUESTS_TIMED_OUT: Counter<1> = Counter(&Row {
    name: "indrik_http_requests_timed_out",
    otel: "indrik.http.requests.timed_out",
    kind: Kind::Counter,
    unit: "",
    labels: &[&LABEL_POOL],
    help: "Requests that the application had for too long.",
});

/// Answers that broke off after their head: the client left, or the worker did.
pub const HTTP_ANSWERS_BROKEN: Counter<1> = Counter(&Row {
    name: "indrik_http_answers_broken",
    otel: "indrik.http.answers.broken",
    kind: Kind::Counter,
    unit: "",
    labels: &[&LABEL_POOL],
    help: "Answers that broke off after their head: the client left, or the worker did.",
});

/// Probes that were answered; they are not among the requests.
pub const HTTP_PROBES: Counter<2> = Counter(&Row {
    name: "indrik_http_probes",
    otel: "indrik.http.probes",
    kind: Kind::Counter,
    unit: "",
    labels: &[&LABEL_PROBE, &LABEL_STATUS],
    help: "Probes that were answered; they are not among the requests.",
});

/// Bytes of clients' connections, those of TLS included.
pub const HTTP_IO_BYTES: Counter<1> = Counter(&Row {
    name: "indrik_http_io_bytes",
    otel: "indrik.http.io",
    kind: Kind::Counter,
    unit: "bytes",
    labels: &[&LABEL_DIRECTION],
    help: "Bytes of clients' connections, those of TLS included.",
});

/// Open connections by what they wait for.
pub const CONNECTIONS: Gauge<1> = Gauge(&Row {
    name: "indrik_connections",
    otel: "indrik.connections",
    kind: Kind::Gauge,
    unit: "",
    labels: &[&LABEL_STATE],
    help: "Open connections by what they wait for.",
});

/// Open connections that have begun to speak HTTP.
pub const CONNECTIONS_OPEN: Gauge<1> = Gauge(&Row {
    name: "indrik_connections_open",
    otel: "indrik.connections.open",
    kind: Kind::Gauge,
    unit: "",
    labels: &[&LABEL_PROTOCOL],
    help: "Open connections that have begun to speak HTTP.",
});

/// Connections that have begun to speak HTTP.
pub const CONNECTIONS_BEGUN: Counter<1> = Counter(&Row {
    name: "indrik_connections_begun",
    otel: "indrik.connections.begun",
    kind: Kind::Counter,
    unit: "",
    labels: &[&LABEL_PROTOCOL],
    help: "Connections that have begun to speak HTTP.",
});

/// Connections that were closed for the memory they held, or to make room for others.
pub const CONNECTIONS_CUT: Counter<1> = Counter(&Row {
    name: "indrik_connections_cut",
    otel: "indrik.connections.cut",
    kind: Kind::Counter,
    unit: "",
    labels: &[&LABEL_REASON],
    help: "Connections that were closed for the memory they held, or to make room for others.",
});

/// TLS handshakes: done, failed, or late.
pub const TLS_HANDSHAKES: Counter<1> = Counter(&Row {
    name: "indrik_tls_handshakes",
    otel: "indrik.tls.handshakes",
    kind: Kind::Counter,
    unit: "",
    labels: &[&LABEL_RESULT],
    help: "TLS handshakes: done, failed, or late.",
});

/// When the certificate in use expires, in seconds since 1970.
pub const TLS_CERTIFICATE_EXPIRY_TIMESTAMP_SECONDS: Gauge<0> = Gauge(&Row {
    name: "indrik_tls_certificate_expiry_timestamp_seconds",
    otel: "indrik.tls.certificate.expiry",
    kind: Kind::Gauge,
    unit: "seconds",
    labels: &[],
    help: "When the certificate in use expires, in seconds since 1970.",
});

/// Open WebSockets.
pub const WEBSOCKETS_OPEN: Gauge<0> = Gauge(&Row {
    name: "indrik_websockets_open",
    otel: "indrik.websockets.open",
    kind: Kind::Gauge,
    unit: "",
    labels: &[],
    help: "Open WebSockets.",
});

/// WebSockets that are over, by close code and by who ended them.
pub const WEBSOCKETS_CLOSED: Counter<2> = Counter(&Row {
    name: "indrik_websockets_closed",
    otel: "indrik.websockets.closed",
    kind: Kind::Counter,
    unit: "",
    labels: &[&LABEL_CODE, &LABEL_SIDE],
    help: "WebSockets that are over, by close code and by who ended them.",
});

/// Messages of WebSockets that are over.
pub const WEBSOCKET_MESSAGES: Counter<1> = Counter(&Row {
    name: "indrik_websocket_messages",
    otel: "indrik.websocket.messages",
    kind: Kind::Counter,
    unit: "",
    labels: &[&LABEL_DIRECTION],
    help: "Messages of WebSockets that are over.",
});

/// Bytes of WebSockets that are over.
pub const WEBSOCKET_IO_BYTES: Counter<1> = Counter(&Row {
    name: "indrik_websocket_io_bytes",
    otel: "indrik.websocket.io",
    kind: Kind::Counter,
    unit: "bytes",
    labels: &[&LABEL_DIRECTION],
    help: "Bytes of WebSockets that are over.",
});

/// For how long WebSockets were open.
pub const WEBSOCKET_DURATION_SECONDS: Histogram<0> = Histogram(&Row {
    name: "indrik_websocket_duration_seconds",
    otel: "indrik.websocket.duration",
    kind: Kind::Histogram,
    unit: "seconds",
    labels: &[],
    help: "For how long WebSockets were open.",
});

/// The version that runs.
pub const BUILD: Info<1> = Info(&Row {
    name: "indrik_build",
    otel: "indrik.build",
    kind: Kind::Info,
    unit: "",
    labels: &[&LABEL_VERSION],
    help: "The version that runs.",
});

/// Memory that the front holds for clients.
pub const FRONT_MEMORY_BYTES: Gauge<0> = Gauge(&Row {
    name: "indrik_front_memory_bytes",
    otel: "indrik.front.memory",
    kind: Kind::Gauge,
    unit: "bytes",
    labels: &[],
    help: "Memory that the front holds for clients.",
});

/// Memory that the front may hold for clients (front_memory_max).
pub const FRONT_MEMORY_MAX_BYTES: Gauge<0> = Gauge(&Row {
    name: "indrik_front_memory_max_bytes",
    otel: "indrik.front.memory.limit",
    kind: Kind::Gauge,
    unit: "bytes",
    labels: &[],
    help: "Memory that the front may hold for clients (front_memory_max).",
});

/// Descriptors that clients have.
pub const FRONT_DESCRIPTORS: Gauge<0> = Gauge(&Row {
    name: "indrik_front_descriptors",
    otel: "indrik.front.descriptors",
    kind: Kind::Gauge,
    unit: "",
    labels: &[],
    help: "Descriptors that clients have.",
});

/// Descriptors that clients may have.
pub const FRONT_DESCRIPTORS_MAX: Gauge<0> = Gauge(&Row {
    name: "indrik_front_descriptors_max",
    otel: "indrik.front.descriptors.limit",
    kind: Kind::Gauge,
    unit: "",
    labels: &[],
    help: "Descriptors that clients may have.",
});

/// What lies in files without names: answers that outran their clients, bodies of requests.
pub const FRONT_FILES_BYTES: Gauge<1> = Gauge(&Row {
    name: "indrik_front_files_bytes",
    otel: "indrik.front.files",
    kind: Kind::Gauge,
    unit: "bytes",
    labels: &[&LABEL_KIND],
    help: "What lies in files without names: answers that outran their clients, bodies of requests.",
});

/// Times that an answer or a body could not be written to its file.
pub const FRONT_FILES_FAILED: Counter<1> = Counter(&Row {
    name: "indrik_front_files_failed",
    otel: "indrik.front.files.failed",
    kind: Kind::Counter,
    unit: "",
    labels: &[&LABEL_KIND],
    help: "Times that an answer or a body could not be written to its file.",
});

/// Answers on workers' lanes that were not taken.
pub const LANE_ANSWERS_DROPPED: Counter<0> = Counter(&Row {
    name: "indrik_lane_answers_dropped",
    otel: "indrik.lane.answers.dropped",
    kind: Kind::Counter,
    unit: "",
    labels: &[],
    help: "Answers on workers' lanes that were not taken.",
});

/// Spans that a collector has taken.
pub const OTLP_EXPORTED: Counter<0> = Counter(&Row {
    name: "indrik_otlp_exported",
    otel: "indrik.otlp.exported",
    kind: Kind::Counter,
    unit: "",
    labels: &[],
    help: "Spans that a collector has taken.",
});

/// Spans that no collector will have: `queue_full` (more came than could be sent), `unreachable`, `refused` by the collector, `ended` with the server.
pub const OTLP_LOST: Counter<1> = Counter(&Row {
    name: "indrik_otlp_lost",
    otel: "indrik.otlp.lost",
    kind: Kind::Counter,
    unit: "",
    labels: &[&LABEL_REASON],
    help: "Spans that no collector will have: `queue_full` (more came than could be sent), `unreachable`, `refused` by the collector, `ended` with the server.",
});

/// Requests that are counted under `other`: `requests` found no room for their combination of labels, `routes` are of routes beyond `metrics_routes_max`.
pub const METRICS_OVERFLOW: Counter<1> = Counter(&Row {
    name: "indrik_metrics_overflow",
    otel: "indrik.metrics.overflow",
    kind: Kind::Counter,
    unit: "",
    labels: &[&LABEL_KIND],
    help: "Requests that are counted under `other`: `requests` found no room for their combination of labels, `routes` are of routes beyond `metrics_routes_max`.",
});

/// Families and samples left out of the answer before this one: their names clash with others, or no scraper can read them.
pub const METRICS_LEFT_OUT: Gauge<0> = Gauge(&Row {
    name: "indrik_metrics_left_out",
    otel: "indrik.metrics.left_out",
    kind: Kind::Gauge,
    unit: "",
    labels: &[],
    help: "Families and samples left out of the answer before this one: their names clash with others, or no scraper can read them.",
});

/// What of the application's own metrics could not be kept.
pub const APP_METRICS_LOST: Counter<1> = Counter(&Row {
    name: "indrik_app_metrics_lost",
    otel: "indrik.app_metrics.lost",
    kind: Kind::Counter,
    unit: "",
    labels: &[&LABEL_REASON],
    help: "What of the application's own metrics could not be kept.",
});

/// Resident memory of the front and the supervisor.
pub const FRONT_RSS_BYTES: Gauge<0> = Gauge(&Row {
    name: "indrik_front_rss_bytes",
    otel: "indrik.front.rss",
    kind: Kind::Gauge,
    unit: "bytes",
    labels: &[],
    help: "Resident memory of the front and the supervisor.",
});

/// Workers by state.
pub const WORKERS: Gauge<1> = Gauge(&Row {
    name: "indrik_workers",
    otel: "indrik.workers",
    kind: Kind::Gauge,
    unit: "",
    labels: &[&LABEL_STATE],
    help: "Workers by state.",
});

/// Workers that there are to be.
pub const WORKERS_WANTED: Gauge<0> = Gauge(&Row {
    name: "indrik_workers_wanted",
    otel: "indrik.workers.wanted",
    kind: Kind::Gauge,
    unit: "",
    labels: &[],
    help: "Workers that there are to be.",
});

/// Workers that were started, by reason.
pub const WORKER_STARTS: Counter<1> = Counter(&Row {
    name: "indrik_worker_starts",
    otel: "indrik.worker.starts",
    kind: Kind::Counter,
    unit: "",
    labels: &[&LABEL_REASON],
    help: "Workers that were started, by reason.",
});

/// Workers that ended, by reason.
pub const WORKER_ENDS: Counter<1> = Counter(&Row {
    name: "indrik_worker_ends",
    otel: "indrik.worker.ends",
    kind: Kind::Counter,
    unit: "",
    labels: &[&LABEL_REASON],
    help: "Workers that ended, by reason.",
});

/// 1 for the state that a worker is in.
pub const WORKER_STATE: Gauge<2> = Gauge(&Row {
    name: "indrik_worker_state",
    otel: "indrik.worker.state",
    kind: Kind::Gauge,
    unit: "",
    labels: &[&LABEL_WORKER, &LABEL_STATE],
    help: "1 for the state that a worker is in.",
});

/// Requests that a worker has finished.
pub const WORKER_REQUESTS: Counter<1> = Counter(&Row {
    name: "indrik_worker_requests",
    otel: "indrik.worker.requests",
    kind: Kind::Counter,
    unit: "",
    labels: &[&LABEL_WORKER],
    help: "Requests that a worker has finished.",
});

/// For how long a worker had a request, as ten looks a second have found; its rate is the worker's busy share. It begins anew with the place's next worker.
pub const WORKER_BUSY_SECONDS: Counter<1> = Counter(&Row {
    name: "indrik_worker_busy_seconds",
    otel: "indrik.worker.busy",
    kind: Kind::Counter,
    unit: "seconds",
    labels: &[&LABEL_WORKER],
    help: "For how long a worker had a request, as ten looks a second have found; its rate is the worker's busy share. It begins anew with the place's next worker.",
});

/// For how long a worker's event loop did not turn. It begins anew with the place's next worker.
pub const WORKER_EVENT_LOOP_BLOCKED_SECONDS: Counter<1> = Counter(&Row {
    name: "indrik_worker_event_loop_blocked_seconds",
    otel: "indrik.worker.event_loop.blocked",
    kind: Kind::Counter,
    unit: "seconds",
    labels: &[&LABEL_WORKER],
    help: "For how long a worker's event loop did not turn. It begins anew with the place's next worker.",
});

/// For how long a worker's threads waited for the interpreter's lock. It begins anew with the place's next worker.
pub const WORKER_GIL_WAIT_SECONDS: Counter<1> = Counter(&Row {
    name: "indrik_worker_gil_wait_seconds",
    otel: "indrik.worker.gil.wait",
    kind: Kind::Counter,
    unit: "seconds",
    labels: &[&LABEL_WORKER],
    help: "For how long a worker's threads waited for the interpreter's lock. It begins anew with the place's next worker.",
});

/// Requests that a worker has, those in its ring included.
pub const WORKER_REQUESTS_IN_FLIGHT: Gauge<1> = Gauge(&Row {
    name: "indrik_worker_requests_in_flight",
    otel: "indrik.worker.requests.in_flight",
    kind: Kind::Gauge,
    unit: "",
    labels: &[&LABEL_WORKER],
    help: "Requests that a worker has, those in its ring included.",
});

/// Resident memory of a worker.
pub const WORKER_RSS_BYTES: Gauge<1> = Gauge(&Row {
    name: "indrik_worker_rss_bytes",
    otel: "indrik.worker.rss",
    kind: Kind::Gauge,
    unit: "bytes",
    labels: &[&LABEL_WORKER],
    help: "Resident memory of a worker.",
});

/// A worker's share of memory: what it has alone, and of what it shares its part. Some seconds old.
pub const WORKER_PSS_BYTES: Gauge<1> = Gauge(&Row {
    name: "indrik_worker_pss_bytes",
    otel: "indrik.worker.pss",
    kind: Kind::Gauge,
    unit: "bytes",
    labels: &[&LABEL_WORKER],
    help: "A worker's share of memory: what it has alone, and of what it shares its part. Some seconds old.",
});

/// Processors' time of a worker and of children that it has waited for.
pub const WORKER_CPU_SECONDS: Counter<1> = Counter(&Row {
    name: "indrik_worker_cpu_seconds",
    otel: "indrik.worker.cpu",
    kind: Kind::Counter,
    unit: "seconds",
    labels: &[&LABEL_WORKER],
    help: "Processors' time of a worker and of children that it has waited for.",
});

/// Processors' time of all processes of the server.
pub const CPU_SECONDS: Counter<0> = Counter(&Row {
    name: "indrik_cpu_seconds",
    otel: "indrik.cpu",
    kind: Kind::Counter,
    unit: "seconds",
    labels: &[],
    help: "Processors' time of all processes of the server.",
});

/// Processors that the server may use: its control group's quota, or those there are.
pub const CPU_ALLOWED: Gauge<0> = Gauge(&Row {
    name: "indrik_cpu_allowed",
    otel: "indrik.cpu.allowed",
    kind: Kind::Gauge,
    unit: "",
    labels: &[],
    help: "Processors that the server may use: its control group's quota, or those there are.",
});

/// Time in which the control group was held back, having used its quota.
pub const CPU_THROTTLED_SECONDS: Counter<0> = Counter(&Row {
    name: "indrik_cpu_throttled_seconds",
    otel: "indrik.cpu.throttled",
    kind: Kind::Counter,
    unit: "seconds",
    labels: &[],
    help: "Time in which the control group was held back, having used its quota.",
});

/// Memory in use that the kernel could not take away at once: of the control group that limits it, or of the machine.
pub const MEMORY_USED_BYTES: Gauge<0> = Gauge(&Row {
    name: "indrik_memory_used_bytes",
    otel: "indrik.memory.used",
    kind: Kind::Gauge,
    unit: "bytes",
    labels: &[],
    help: "Memory in use that the kernel could not take away at once: of the control group that limits it, or of the machine.",
});

/// Memory that may be used: the control group's limit, or the machine's.
pub const MEMORY_ALLOWED_BYTES: Gauge<0> = Gauge(&Row {
    name: "indrik_memory_allowed_bytes",
    otel: "indrik.memory.allowed",
    kind: Kind::Gauge,
    unit: "bytes",
    labels: &[],
    help: "Memory that may be used: the control group's limit, or the machine's.",
});

/// Time in which processes waited for something: some of them, or all.
pub const PRESSURE_SECONDS: Counter<2> = Counter(&Row {
    name: "indrik_pressure_seconds",
    otel: "indrik.pressure",
    kind: Kind::Counter,
    unit: "seconds",
    labels: &[&LABEL_RESOURCE, &LABEL_KIND],
    help: "Time in which processes waited for something: some of them, or all.",
});

/// What is free on a disk that the server writes to.
pub const DISK_FREE_BYTES: Gauge<1> = Gauge(&Row {
    name: "indrik_disk_free_bytes",
    otel: "indrik.disk.free",
    kind: Kind::Gauge,
    unit: "bytes",
    labels: &[&LABEL_DISK],
    help: "What is free on a disk that the server writes to.",
});

/// How large that disk is.
pub const DISK_SIZE_BYTES: Gauge<1> = Gauge(&Row {
    name: "indrik_disk_size_bytes",
    otel: "indrik.disk.size",
    kind: Kind::Gauge,
    unit: "bytes",
    labels: &[&LABEL_DISK],
    help: "How large that disk is.",
});

/// Of each alert that is watched, how many are active: one for each route, reason or disk where it tells them apart.
pub const ALERTS_ACTIVE: Gauge<1> = Gauge(&Row {
    name: "indrik_alerts_active",
    otel: "indrik.alerts.active",
    kind: Kind::Gauge,
    unit: "",
    labels: &[&LABEL_ALERT],
    help: "Of each alert that is watched, how many are active: one for each route, reason or disk where it tells them apart.",
});

/// Messages of alerts by what became of them: `ok`, `failed` (given up after all tries), `lost` (no room to wait).
pub const ALERT_DELIVERIES: Counter<2> = Counter(&Row {
    name: "indrik_alert_deliveries",
    otel: "indrik.alert.deliveries",
    kind: Kind::Counter,
    unit: "",
    labels: &[&LABEL_SINK, &LABEL_RESULT],
    help: "Messages of alerts by what became of them: `ok`, `failed` (given up after all tries), `lost` (no room to wait).",
});

/// All rows, in the order of the table.
pub static ROWS: &[&Row] = &[
    START_TIME_SECONDS.0,
    READY.0,
    HEALTH.0,
    PAUSED.0,
    BREAKER_OPEN.0,
    GENERATION.0,
    RELOADING.0,
    SUPERVISOR_LAG_SECONDS.0,
    RELOADS.0,
    HTTP_REQUESTS.0,
    HTTP_REQUEST_DURATION_SECONDS.0,
    HTTP_REQUEST_PHASE_SECONDS.0,
    HTTP_ROUTE_PHASE_SECONDS.0,
    HTTP_REQUESTS_IN_FLIGHT.0,
    HTTP_REQUESTS_WAITING.0,
    HTTP_REQUESTS_WAITING_MAX.0,
    HTTP_REQUESTS_OLDEST_WAITING_SECONDS.0,
    HTTP_REQUESTS_AT_WORKERS.0,
    HTTP_REFUSED.0,
    HTTP_REQUESTS_RETAKEN.0,
    HTTP_REQUESTS_REPLAYED.0,
    HTTP_REQUESTS_TIMED_OUT.0,
    HTTP_ANSWERS_BROKEN.0,
    HTTP_PROBES.0,
    HTTP_IO_BYTES.0,
    CONNECTIONS.0,
    CONNECTIONS_OPEN.0,
    CONNECTIONS_BEGUN.0,
    CONNECTIONS_CUT.0,
    TLS_HANDSHAKES.0,
    TLS_CERTIFICATE_EXPIRY_TIMESTAMP_SECONDS.0,
    WEBSOCKETS_OPEN.0,
    WEBSOCKETS_CLOSED.0,
    WEBSOCKET_MESSAGES.0,
    WEBSOCKET_IO_BYTES.0,
    WEBSOCKET_DURATION_SECONDS.0,
    BUILD.0,
    FRONT_MEMORY_BYTES.0,
    FRONT_MEMORY_MAX_BYTES.0,
    FRONT_DESCRIPTORS.0,
    FRONT_DESCRIPTORS_MAX.0,
    FRONT_FILES_BYTES.0,
    FRONT_FILES_FAILED.0,
    LANE_ANSWERS_DROPPED.0,
    OTLP_EXPORTED.0,
    OTLP_LOST.0,
    METRICS_OVERFLOW.0,
    METRICS_LEFT_OUT.0,
    APP_METRICS_LOST.0,
    FRONT_RSS_BYTES.0,
    WORKERS.0,
    WORKERS_WANTED.0,
    WORKER_STARTS.0,
    WORKER_ENDS.0,
    WORKER_STATE.0,
    WORKER_REQUESTS.0,
    WORKER_BUSY_SECONDS.0,
    WORKER_EVENT_LOOP_BLOCKED_SECONDS.0,
    WORKER_GIL_WAIT_SECONDS.0,
    WORKER_REQUESTS_IN_FLIGHT.0,
    WORKER_RSS_BYTES.0,
    WORKER_PSS_BYTES.0,
    WORKER_CPU_SECONDS.0,
    CPU_SECONDS.0,
    CPU_ALLOWED.0,
    CPU_THROTTLED_SECONDS.0,
    MEMORY_USED_BYTES.0,
    MEMORY_ALLOWED_BYTES.0,
    PRESSURE_SECONDS.0,
    DISK_FREE_BYTES.0,
    DISK_SIZE_BYTES.0,
    ALERTS_ACTIVE.0,
    ALERT_DELIVERIES.0,
];
