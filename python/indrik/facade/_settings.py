"""Gunicorn's settings as its ``Config`` has them: names, options, defaults, and how values are checked.

``settings.toml`` is what Indrik itself goes by. A test compares the two, so that none is missing here.
"""

from __future__ import annotations

from typing import Any

Row = tuple[str, tuple[str, ...], str, Any]
"""Name, options of the command line, kind (see `config`), default."""

SECURE_SCHEME_HEADERS = {"X-FORWARDED-PROTOCOL": "ssl", "X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"}
ACCESS_FORMAT = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
LOOPBACK = "127.0.0.1,::1"

HOOKS: dict[str, tuple[int, ...]] = {
    "on_starting": (1,),
    "on_reload": (1,),
    "when_ready": (1,),
    "pre_fork": (2,),
    "post_fork": (2,),
    "post_worker_init": (1,),
    "worker_int": (1,),
    "worker_abort": (1,),
    "pre_exec": (1,),
    "pre_request": (2,),
    "post_request": (4, 3, 2),
    "child_exit": (2,),
    "worker_exit": (2,),
    "nworkers_changed": (3,),
    "on_exit": (1,),
    "ssl_context": (2,),
    "on_dirty_starting": (1,),
    "dirty_post_fork": (2,),
    "dirty_worker_init": (1,),
    "dirty_worker_exit": (2,),
}
"""Every hook and how many positional parameters it may have."""

OWN_HOOKS: dict[str, tuple[int, ...]] = {"pre_stop": (1,)}
"""The hooks that Gunicorn does not have."""

SECTIONS: dict[str, tuple[Row, ...]] = {
    "Config File": (
        ("config", ("-c", "--config"), "text", "./gunicorn.conf.py"),
        ("wsgi_app", (), "text", None),
    ),
    "Server Socket": (
        ("bind", ("-b", "--bind"), "list", ["127.0.0.1:8000"]),
        ("backlog", ("--backlog",), "int", 2048),
    ),
    "Worker Processes": (
        ("workers", ("-w", "--workers"), "int", 1),
        ("worker_class", ("-k", "--worker-class"), "class", "sync"),
        ("threads", ("--threads",), "int", 1),
        ("worker_connections", ("--worker-connections",), "int", 1000),
        ("max_requests", ("--max-requests",), "int", 0),
        ("max_requests_jitter", ("--max-requests-jitter",), "int", 0),
        ("timeout", ("-t", "--timeout"), "int", 30),
        ("graceful_timeout", ("--graceful-timeout",), "int", 30),
        ("keepalive", ("--keep-alive",), "int", 2),
        ("asgi_loop", ("--asgi-loop",), "text", "auto"),
        ("asgi_lifespan", ("--asgi-lifespan",), "text", "auto"),
        ("asgi_disconnect_grace_period", ("--asgi-disconnect-grace-period",), "int", 3),
        ("websocket_max_message_size", ("--websocket-max-message-size",), "int", 16777216),
        ("http_parser", ("--http-parser",), "text", "auto"),
    ),
    "Security": (
        ("limit_request_line", ("--limit-request-line",), "int", 4094),
        ("limit_request_fields", ("--limit-request-fields",), "int", 100),
        ("limit_request_field_size", ("--limit-request-field_size",), "int", 8190),
    ),
    "Debugging": (
        ("reload", ("--reload",), "flag", False),
        ("reload_engine", ("--reload-engine",), "text", "auto"),
        ("reload_extra_files", ("--reload-extra-file",), "list", []),
        ("spew", ("--spew",), "flag", False),
        ("check_config", ("--check-config",), "flag", False),
        ("print_config", ("--print-config",), "flag", False),
    ),
    "Server Mechanics": (
        ("preload_app", ("--preload",), "flag", False),
        ("sendfile", ("--no-sendfile",), "flag_off", None),
        ("reuse_port", ("--reuse-port",), "flag", False),
        ("chdir", ("--chdir",), "text", None),
        ("daemon", ("-D", "--daemon"), "flag", False),
        ("raw_env", ("-e", "--env"), "list", []),
        ("pidfile", ("-p", "--pid"), "text", None),
        ("worker_tmp_dir", ("--worker-tmp-dir",), "text", None),
        ("user", ("-u", "--user"), "user", None),
        ("group", ("-g", "--group"), "group", None),
        ("umask", ("-m", "--umask"), "octal", 0),
        ("initgroups", ("--initgroups",), "flag", False),
        ("tmp_upload_dir", (), "text", None),
        ("secure_scheme_headers", (), "dict", SECURE_SCHEME_HEADERS),
        ("forwarded_allow_ips", ("--forwarded-allow-ips",), "commas", LOOPBACK),
        ("pythonpath", ("--pythonpath",), "text", None),
        ("paste", ("--paste", "--paster"), "text", None),
        ("proxy_protocol", ("--proxy-protocol",), "proxy", "off"),
        ("proxy_allow_ips", ("--proxy-allow-from",), "commas", LOOPBACK),
        ("protocol", ("--protocol",), "text", "http"),
        ("uwsgi_allow_ips", ("--uwsgi-allow-from",), "commas", LOOPBACK),
        ("raw_paste_global_conf", ("--paste-global",), "list", []),
        ("permit_obsolete_folding", ("--permit-obsolete-folding",), "flag", False),
        ("strip_header_spaces", ("--strip-header-spaces",), "flag", False),
        ("permit_unconventional_http_method", ("--permit-unconventional-http-method",), "flag", False),
        ("permit_unconventional_http_version", ("--permit-unconventional-http-version",), "flag", False),
        ("casefold_http_method", ("--casefold-http-method",), "flag", False),
        ("forwarder_headers", ("--forwarder-headers",), "commas", "SCRIPT_NAME,PATH_INFO"),
        ("header_map", ("--header-map",), "text", "drop"),
        ("root_path", ("--root-path",), "text", ""),
    ),
    "Logging": (
        ("accesslog", ("--access-logfile",), "text", None),
        ("disable_redirect_access_to_syslog", ("--disable-redirect-access-to-syslog",), "flag", False),
        ("access_log_format", ("--access-logformat",), "text", ACCESS_FORMAT),
        ("errorlog", ("--error-logfile", "--log-file"), "text", "-"),
        ("loglevel", ("--log-level",), "text", "info"),
        ("capture_output", ("--capture-output",), "flag", False),
        ("logger_class", ("--logger-class",), "class", "gunicorn.glogging.Logger"),
        ("logconfig", ("--log-config",), "text", None),
        ("logconfig_dict", (), "dict", {}),
        ("logconfig_json", ("--log-config-json",), "text", None),
        ("syslog_addr", ("--log-syslog-to",), "text", "udp://localhost:514"),
        ("syslog", ("--log-syslog",), "flag", False),
        ("syslog_prefix", ("--log-syslog-prefix",), "text", None),
        ("syslog_facility", ("--log-syslog-facility",), "text", "user"),
        ("enable_stdio_inheritance", ("-R", "--enable-stdio-inheritance"), "flag", False),
        ("statsd_host", ("--statsd-host",), "statsd", None),
        ("dogstatsd_tags", ("--dogstatsd-tags",), "text", ""),
        ("statsd_prefix", ("--statsd-prefix",), "text", ""),
        ("enable_backlog_metric", ("--enable-backlog-metric",), "flag", False),
    ),
    "Process Naming": (
        ("proc_name", ("-n", "--name"), "text", None),
        ("default_proc_name", (), "text", "gunicorn"),
    ),
    "SSL": (
        ("keyfile", ("--keyfile",), "text", None),
        ("certfile", ("--certfile",), "text", None),
        ("ssl_version", ("--ssl-version",), "any", 2),
        ("cert_reqs", ("--cert-reqs",), "int", 0),
        ("ca_certs", ("--ca-certs",), "text", None),
        ("suppress_ragged_eofs", ("--suppress-ragged-eofs",), "flag", True),
        ("do_handshake_on_connect", ("--do-handshake-on-connect",), "flag", False),
        ("ciphers", ("--ciphers",), "text", None),
    ),
    "HTTP/2": (
        ("http_protocols", ("--http-protocols",), "commas", "h1"),
        ("http2_cleartext", ("--http2-cleartext",), "text", "off"),
        ("http2_max_concurrent_streams", ("--http2-max-concurrent-streams",), "int", 100),
        ("http2_initial_window_size", ("--http2-initial-window-size",), "int", 65535),
        ("http2_max_frame_size", ("--http2-max-frame-size",), "int", 16384),
        ("http2_max_header_list_size", ("--http2-max-header-list-size",), "int", 65536),
    ),
    "Dirty Arbiters": (
        ("dirty_apps", ("--dirty-app",), "list", []),
        ("dirty_workers", ("--dirty-workers",), "int", 0),
        ("dirty_timeout", ("--dirty-timeout",), "int", 300),
        ("dirty_threads", ("--dirty-threads",), "int", 1),
        ("dirty_graceful_timeout", ("--dirty-graceful-timeout",), "int", 30),
    ),
    "Control": (
        ("control_socket", ("--control-socket",), "text", None),
        ("control_socket_mode", ("--control-socket-mode",), "octal", 0o600),
        ("control_socket_disable", ("--no-control-socket",), "flag", False),
    ),
    "Server Hooks": tuple((name, (), "hook", None) for name in HOOKS),
}
"""Every setting, in Gunicorn's sections."""

DEFAULT_FROM_ENVIRONMENT = {"workers": "WEB_CONCURRENCY", "forwarded_allow_ips": "FORWARDED_ALLOW_IPS"}
"""Settings whose default an environment variable gives."""
