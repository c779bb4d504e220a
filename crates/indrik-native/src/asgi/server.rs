//! The worker's loop: descriptors in, tasks on, responses out.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use indrik_ring::{Descriptor, Flags, Kind, RequestHead, STOP_OVERTIME};

use super::awaitable;
use super::body::first_piece;
use super::carrier::{Carrier, Step, copy_context, first_step};
use super::cell::LoopCell;
use super::exception::is_exit;
use super::exchange::Exchange;
use super::http::is_head;
use super::scope::{Scopes, subprotocols};
use super::sent::{self, Sent};
use super::service::{Live, Service};
use super::socket::Socket;
use super::state::{ExchangeState, RequestBody, Response, wake};
use super::tasks::Tasks;
use crate::around::Watched;
use crate::channel::{Channel, broken};
use crate::options;
use crate::routes::ChosenRoute;

/// Descriptors handled before the loop gets a turn for timers, sockets and other tasks.
const BATCH_DESCRIPTORS_MAX: usize = 64;
/// Between two looks at how late the loop turns, while requests run.
const PROBE_EVERY: Duration = Duration::from_millis(50);
/// A finished response waits no longer than this for others to share its wake-up with.
const FLUSH_AFTER: Duration = Duration::from_micros(100);
/// A first step that takes longer makes the next responses go out one by one.
const SLOW_STEP: Duration = Duration::from_micros(50);
/// How many requests a slow step is remembered.
const SLOW_STEP_MEMORY: u32 = 32;

/// The ASGI side of a worker. `indrik/asgi.py` drives it.
#[pyclass(frozen, module = "indrik._native")]
pub(crate) struct AsgiServer {
    service: Arc<Service<Exchange>>,
    app: Py<PyAny>,
    /// `(awaitable)`: a coroutine that awaits it; of `indrik/asgi.py`, as the next one.
    wrap: Py<PyAny>,
    /// `(exchange)`: its client has gone while its coroutine runs. Nobody wants to know if `None`.
    gone: Option<Py<PyAny>>,
    core: LoopCell<Core>,
    scopes: LoopCell<Scopes>,
    tasks: LoopCell<Tasks>,
}

struct Core {
    slow: u32,
    last_flush: Instant,
    last_step: Instant,
    /// The head of the request that begins; kept for its memory.
    head: Vec<u8>,
    /// When [`AsgiServer::probe`] is to be called.
    probe_due: Option<Instant>,
}

#[pymethods]
impl AsgiServer {
    /// `options`: `listeners`, `root_path`, `state`; `hooks`: `report`, `stop`, `exit`,
    /// `wrap`, `client_gone` and perhaps `gone`.
    #[new]
    fn new(
        py: Python<'_>,
        channel: Py<Channel>,
        app: Py<PyAny>,
        event_loop: Py<PyAny>,
        options: &Bound<'_, PyDict>,
        hooks: &Bound<'_, PyDict>,
    ) -> PyResult<Self> {
        sent::install_send_slot(py);
        awaitable::install_send_slot(py);
        let hook = |name: &str| -> PyResult<Py<PyAny>> {
            let found = hooks.get_item(name)?;
            found.map(Bound::unbind).ok_or_else(|| {
                PyRuntimeError::new_err(format!("AsgiServer: the hook {name:?} is missing"))
            })
        };
        let slots = usize::from(channel.get().slots.count());
        let live = Live {
            exchanges: std::iter::repeat_with(|| None).take(slots).collect(),
            in_flight: 0,
            stopped: false,
        };
        let core = Core {
            slow: 0,
            last_flush: Instant::now(),
            last_step: Instant::now(),
            head: Vec::new(),
            probe_due: None,
        };
        let root_path: String = option(options, "root_path")?.unwrap_or_default();
        let state: Option<Py<PyDict>> = option(options, "state")?;
        let scopes = Scopes::new(py, servers(options)?, &root_path, state)?;
        let tasks = Tasks::new(py, event_loop.clone_ref(py))?;
        let service = Service {
            channel,
            event_loop,
            client_gone: hook("client_gone")?,
            empty: PyBytes::new(py, b"").unbind(),
            sent: Py::new(py, Sent)?,
            live: LoopCell::new(live),
            in_batch: AtomicBool::new(false),
            finds_routes: option(options, "routes")?.unwrap_or(false),
            correlation: options::correlation(options)?,
            around: option(options, "hooks")?,
            stepping: AtomicUsize::new(0),
            report: hook("report")?,
            stop: hook("stop")?,
            exit: hook("exit")?,
        };
        Ok(Self {
            service: Arc::new(service),
            app,
            wrap: hook("wrap")?,
            gone: option(hooks, "gone")?,
            core: LoopCell::new(core),
            scopes: LoopCell::new(scopes),
            tasks: LoopCell::new(tasks),
        })
    }

    /// Looks how late the loop calls this, and goes on while requests run.
    fn probe(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        let due = this.core.get()?.probe_due.take();
        if let Some(late) = due.and_then(|due| Instant::now().checked_duration_since(due)) {
            this.channel().loop_was_late(late);
        }
        let in_flight = this.service.live.get()?.in_flight;
        if in_flight > 0 { Self::arm_probe(slf) } else { Ok(()) }
    }

    /// What the loop watches for reading.
    fn fileno(&self) -> RawFd {
        self.channel().wake.as_fd().as_raw_fd()
    }

    /// The loop's reader: the front rang.
    fn on_wake(slf: &Bound<'_, Self>) -> PyResult<()> {
        let channel = slf.get().channel();
        channel.leave_if_forked(slf.py());
        channel.clear_wake();
        Self::on_turn(slf)
    }

    /// Handles a batch of what lies in the ring.
    fn on_turn(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        let py = slf.py();
        this.service.in_batch.store(true, Ordering::Relaxed);
        let outcome = this.channel().check_descriptors().and_then(|()| Self::drain(slf));
        this.service.in_batch.store(false, Ordering::Relaxed);
        this.channel().flush();
        match outcome {
            Ok(()) => this.service.stop_if_idle(py),
            Err(error) if is_exit(py, &error) => {
                // Of code of the application's that is no request. The loop goes on, so do we.
                this.service.event_loop.call_method1(
                    py,
                    intern!(py, "call_soon"),
                    (slf.getattr(intern!(py, "on_turn"))?,),
                )?;
                Err(error)
            }
            Err(error) => this.service.stop(py, Some(error)),
        }
    }

    /// Lets those go on who wait for credit without the front's knowing it; to be called now and then. The word
    /// that says so lies in memory that the application can write to, and for want of it they would wait for ever.
    ///
    /// A loop that sleeps on a descriptor that the application closed would never wake again: that is noticed here.
    fn look_for_credit(&self, py: Python<'_>) -> PyResult<()> {
        if let Err(error) = self.channel().check_descriptors() {
            return self.service.stop(py, Some(error));
        }
        let slots = &self.channel().slots;
        let mut waiters = Vec::new();
        for exchange in self.service.live.get()?.exchanges.iter().flatten() {
            let exchange = exchange.get();
            if !slots.waits_for_credit(exchange.slot) {
                waiters.append(&mut exchange.state.get()?.send_waiters);
            }
        }
        wake(py, waiters)
    }

    /// Ends what was made ahead; the loop will not run any more requests.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let spare = self.tasks.get()?.take_last();
        match spare {
            Some(spare) => spare.run(py),
            None => Ok(()),
        }
    }

    /// Requests and WebSockets whose coroutine has not returned.
    #[getter]
    fn in_flight(&self) -> PyResult<usize> {
        Ok(self.service.live.get()?.in_flight)
    }
}

impl AsgiServer {
    #[inline]
    fn channel(&self) -> &Channel {
        self.service.channel()
    }

    fn drain(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        let py = slf.py();
        this.channel().responses.lock().begin_batch();
        {
            let mut core = this.core.get()?;
            core.last_step = Instant::now();
            core.last_flush = core.last_step;
        }
        let spares = this.tasks.get()?.may_use_spares(py)?;
        for _ in 0..BATCH_DESCRIPTORS_MAX {
            let next = this.channel().requests.lock().receive().map_err(broken)?;
            match next {
                Some(descriptor) => Self::handle(slf, &descriptor, spares)?,
                None => {
                    this.release();
                    this.channel().flush();
                    if this.channel().requests.lock().prepare_sleep().map_err(broken)? {
                        return Ok(());
                    }
                }
            }
        }
        this.release();
        let again = slf.getattr(intern!(py, "on_turn"))?;
        this.service.event_loop.call_method1(py, intern!(py, "call_soon"), (again,)).map(|_| ())
    }

    /// Gives the space of what was handled back to the front.
    fn release(&self) {
        let starved = self.channel().requests.lock().release();
        if starved {
            self.channel().ring_front();
        }
    }

    fn handle(slf: &Bound<'_, Self>, descriptor: &Descriptor, spares: bool) -> PyResult<()> {
        let this = slf.get();
        let py = slf.py();
        // SAFETY: a worker trusts its front, and the batch releases only when it is over.
        let payload = unsafe { this.channel().requests.lock().payload(descriptor) };
        if descriptor.kind == Kind::Request {
            return Self::begin(slf, descriptor, payload, spares);
        }
        let Some(exchange) = this.exchange(py, descriptor)? else { return Ok(()) };
        let waiters = {
            let mut state = exchange.get().state.get()?;
            match descriptor.kind {
                Kind::RequestBody => {
                    if !payload.is_empty() {
                        state.body.pieces.push_back(PyBytes::new(py, payload).unbind());
                    }
                    state.body.complete |= descriptor.flags.has(Flags::END);
                    std::mem::take(&mut state.receive_waiters)
                }
                Kind::WebSocketReceive => {
                    let socket = state.socket.as_mut();
                    let taken =
                        socket.map_or(0, |socket| socket.arrived(payload, descriptor.flags));
                    let waiters = std::mem::take(&mut state.receive_waiters);
                    drop(state);
                    exchange.get().took(py, taken)?;
                    waiters
                }
                Kind::WebSocketClosed => {
                    let code = u16::try_from(descriptor.aux).unwrap_or(1005);
                    let reason = String::from_utf8_lossy(payload).into_owned();
                    if let Some(socket) = state.socket.as_mut() {
                        socket.closed(code, reason);
                    }
                    state.take_waiters()
                }
                Kind::Disconnect => {
                    state.gone = true;
                    state.timed_out |= descriptor.aux == STOP_OVERTIME;
                    state.take_waiters()
                }
                Kind::Credit => std::mem::take(&mut state.send_waiters),
                _ => return Err(broken(indrik_ring::Violation::Kind)),
            }
        };
        if descriptor.kind == Kind::Disconnect && descriptor.aux == STOP_OVERTIME {
            // Cancelled first: what it waits for must not seem to have come.
            exchange.get().give_up(py)?;
            return wake(py, waiters);
        }
        wake(py, waiters)?;
        let left = matches!(descriptor.kind, Kind::Disconnect | Kind::WebSocketClosed);
        match this.gone.as_ref().filter(|_| left) {
            Some(gone) => gone.call1(py, (exchange,)).map(drop),
            None => Ok(()),
        }
    }

    /// The exchange that a descriptor is about; none if it has ended meanwhile.
    fn exchange<'py>(
        &self,
        py: Python<'py>,
        descriptor: &Descriptor,
    ) -> PyResult<Option<Bound<'py, Exchange>>> {
        let live = self.service.live.get()?;
        let found = live.exchanges.get(usize::from(descriptor.slot)).and_then(Option::as_ref);
        Ok(found
            .filter(|exchange| exchange.get().generation == descriptor.generation)
            .map(|exchange| exchange.bind(py).clone()))
    }

    /// A new request or WebSocket.
    fn begin(
        slf: &Bound<'_, Self>,
        descriptor: &Descriptor,
        payload: &[u8],
        spares: bool,
    ) -> PyResult<()> {
        let this = slf.get();
        let py = slf.py();
        if !this.channel().slots.start(descriptor.slot, descriptor.generation) {
            return Ok(());
        }
        let Some((head, behind)) = descriptor.split_head(payload) else {
            return Err(bad_request());
        };
        let first = first_piece(py, this.channel(), descriptor, behind)?;
        // A copy: the application runs below, and a turn of the loop inside it gives the ring's memory back.
        let mut copy = std::mem::take(&mut this.core.get()?.head);
        copy.clear();
        copy.extend_from_slice(head);
        let begun = Self::begin_with(slf, descriptor, &copy, first, spares);
        this.core.get()?.head = copy;
        begun
    }

    fn begin_with(
        slf: &Bound<'_, Self>,
        descriptor: &Descriptor,
        head: &[u8],
        first: Option<Py<PyBytes>>,
        spares: bool,
    ) -> PyResult<()> {
        let this = slf.get();
        let py = slf.py();
        let flags = descriptor.flags;
        let head = RequestHead::decode(head).map_err(|_| bad_request())?;
        let websocket = flags.has(Flags::WEBSOCKET);
        this.channel().count_request();
        let watched = match &this.service.around {
            Some(hooks) if !websocket => Some(Watched::new(py, hooks, &head, None)?),
            _ => None,
        };
        let scope = this.scopes.get()?.make(py, &head, websocket)?;
        let route = ChosenRoute::begin(py, &this.service.channel, descriptor)?;
        if let Some(correlation) = &this.service.correlation {
            let called = correlation.begin(py, &head)?;
            correlation.tell_scope(&called, &scope)?;
        }
        let mut body = RequestBody {
            streams: flags.has(Flags::BODY_STREAM),
            complete: flags.has(Flags::END) || !flags.has(Flags::BODY_STREAM),
            waits: flags.has(Flags::BODY_WAITS),
            ..RequestBody::default()
        };
        body.pieces.extend(first);
        let state = ExchangeState {
            scope: Some(scope.clone().unbind()),
            body,
            response: Response {
                is_head: is_head(head.method),
                version: head.version,
                ..Response::default()
            },
            socket: websocket.then(|| Box::new(Socket::new(subprotocols(head.headers)))),
            watched: watched.map(Box::new),
            ..ExchangeState::default()
        };
        // When the step before it ended: one look at the clock for both.
        let began = this.core.get()?.last_step;
        let exchange = Bound::new(
            py,
            Exchange {
                server: Arc::clone(&this.service),
                slot: descriptor.slot,
                generation: descriptor.generation,
                began,
                route,
                state: LoopCell::new(state),
            },
        )?;
        {
            let mut live = this.service.live.get()?;
            let place = live.exchanges.get_mut(usize::from(descriptor.slot));
            *place.ok_or_else(bad_request)? = Some(exchange.clone().unbind());
            live.in_flight += 1;
        }
        if this.service.around.is_some()
            && let Err(error) = exchange.get().before(py)
        {
            exchange.get().finish(py, Some(&error))?;
        } else if spares {
            this.run_as_spare(py, &exchange, scope)?;
        } else {
            this.run_as_task(py, &exchange, scope)?;
        }
        let is_watched = this.core.get()?.probe_due.is_some();
        if !is_watched {
            Self::arm_probe(slf)?;
        }
        if let Some(correlation) = &this.service.correlation {
            correlation.end(py)?;
        }
        this.flush_if_due()
    }

    /// Runs the first step on the spot.
    fn run_as_spare<'py>(
        &self,
        py: Python<'py>,
        exchange: &Bound<'py, Exchange>,
        scope: Bound<'py, PyDict>,
    ) -> PyResult<()> {
        let spare = self.tasks.get()?.take(py)?;
        let context = copy_context(py)?;
        let arguments = (
            scope,
            exchange.getattr(intern!(py, "receive"))?,
            exchange.getattr(intern!(py, "send"))?,
        );
        self.tasks.get()?.enter(py, &spare)?;
        self.service.set_stepping(Some(exchange.get().as_step(exchange)));
        let (outcome, coroutine) = first_step(py, &context, self.app.bind(py), arguments, |made| {
            self.wrap.bind(py).call1((made,))
        });
        self.service.set_stepping(None);
        self.tasks.get()?.leave(py, &spare)?;
        let error = match (outcome, coroutine) {
            (Step::Yielded(waits_for), Some(coroutine)) => {
                exchange.get().release_last(py)?;
                exchange.get().note_task(&spare.task);
                exchange.get().state.get()?.task = Some(spare.task.clone_ref(py));
                let load = exchange.clone().unbind();
                spare.carrier.get().load(coroutine, context, Some(waits_for), load)?;
                self.tasks.get()?.register(py, &spare)?;
                return spare.run(py);
            }
            (Step::Raised(error), _) => Some(error),
            _ => None,
        };
        exchange.get().finish(py, error.as_ref())?;
        let touched = self.tasks.get()?.give_back(py, spare)?;
        if let Some(spare) = touched {
            spare.run(py)?;
        }
        Ok(())
    }

    /// Has [`Self::probe`] called soon: while requests run it is seen how late the loop turns.
    fn arm_probe(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        let probe = slf.getattr(intern!(py, "probe"))?;
        let event_loop = this.service.event_loop.bind(py);
        event_loop.call_method1(intern!(py, "call_later"), (PROBE_EVERY.as_secs_f64(), probe))?;
        this.core.get()?.probe_due = Some(Instant::now() + PROBE_EVERY);
        Ok(())
    }

    /// Makes an ordinary task.
    fn run_as_task<'py>(
        &self,
        py: Python<'py>,
        exchange: &Bound<'py, Exchange>,
        scope: Bound<'py, PyDict>,
    ) -> PyResult<()> {
        let (receive, send) =
            (exchange.getattr(intern!(py, "receive"))?, exchange.getattr(intern!(py, "send"))?);
        let coroutine = self.wrap.bind(py).call1((self.app.bind(py), scope, receive, send))?;
        let carrier = Carrier::new();
        carrier.load(coroutine, copy_context(py)?, None, exchange.clone().unbind())?;
        let carrier = Py::new(py, carrier)?;
        let task =
            self.service.event_loop.call_method1(py, intern!(py, "create_task"), (carrier,))?;
        exchange.get().note_task(&task);
        exchange.get().state.get()?.task = Some(task);
        Ok(())
    }

    /// Sends the responses so far on their way before another slow request makes them wait.
    fn flush_if_due(&self) -> PyResult<()> {
        let now = Instant::now();
        let mut core = self.core.get()?;
        let step = now.duration_since(core.last_step);
        core.last_step = now;
        core.slow = if step > SLOW_STEP { SLOW_STEP_MEMORY } else { core.slow.saturating_sub(1) };
        if core.slow != 0 || now.duration_since(core.last_flush) > FLUSH_AFTER {
            core.last_flush = now;
            self.channel().flush();
        }
        Ok(())
    }
}

#[cold]
fn bad_request() -> PyErr {
    PyRuntimeError::new_err("the front sent a request that cannot be read; this is a bug of Indrik")
}

fn option<'py, T: FromPyObjectOwned<'py>>(
    options: &Bound<'py, PyDict>,
    name: &str,
) -> PyResult<Option<T>> {
    match options.get_item(name)? {
        Some(value) if !value.is_none() => value.extract().map(Some).map_err(Into::into),
        _ => Ok(None),
    }
}

/// ASGI's `server` of every listener.
fn servers(options: &Bound<'_, PyDict>) -> PyResult<Vec<Py<PyAny>>> {
    let py = options.py();
    let Some(listeners) = option::<Bound<'_, PyAny>>(options, "listeners")? else {
        return Ok(Vec::new());
    };
    let mut servers = Vec::new();
    for listener in listeners.try_iter()? {
        let listener = listener?;
        let (host, port): (String, Option<u16>) =
            (listener.get_item(0)?.extract()?, listener.get_item(1)?.extract()?);
        let host = host.strip_prefix("unix:").unwrap_or(&host);
        servers.push((host, port).into_pyobject(py)?.into_any().unbind());
    }
    Ok(servers)
}
