"""Every scenario of the benches as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .load import Request
from .machine import Cores
from .measure import Check, Plain, Sample, Window
from .servers import Kind
from .special import Idle, Mixed, Rest

HELLO = b"Hello, World!"
JSON_COMPACT = b'{"message":"Hello, World!"}'
TEN_K = 10_240
ONE_M = 1_048_576
HUNDRED_M = 100 * ONE_M


@dataclass(frozen=True)
class Scenario:
    """`decides` is the metric by which servers are compared: of `cpu_us`, `p50_us`, `p99_us` and memory less is more,
    of `rps` more is more. `columns` are shown in the report beside it."""

    name: str
    title: str
    interface: str
    measure: Callable[[Kind, Cores, Window], Sample]
    decides: str = "cpu_us"
    columns: tuple[str, ...] = ("rps", "cpu_us", "p50_us", "p99_us", "pss_mib")
    # Servers that cannot do it at all.
    without: tuple[str, ...] = ()


def _get(app: str, expected: bytes, connections: int = 64, **options: bool) -> Plain:
    return Plain(app, Request(connections=connections), Check(expected), **options)


def _post(app: str, size: int) -> Plain:
    return Plain(
        app,
        Request(connections=64, method="POST", body_bytes=size),
        Check(str(size).encode(), method="POST", body=b"x" * size),
    )


def _wire(app: str, kind: str, size: int, connections: int, expected: bytes) -> Plain:
    """What `wire_client.py` does; the check is of an ordinary request to the same application."""
    request = Request(connections=connections, wire=kind, body_bytes=size)
    if kind == "upload":
        return Plain(app, request, Check(b"5", method="POST", body=b"hello"))
    return Plain(app, request, Check(expected, path="/hello"))


ALL: list[Scenario] = [
    Scenario("wsgi_hello", "WSGI hello, 64 connections, 1 worker", "wsgi", _get("wsgi:hello", HELLO)),
    Scenario("asgi_hello", "ASGI hello on uvloop, 64 connections, 1 worker", "asgi", _get("asgi:hello", HELLO)),
    Scenario(
        "wsgi_hello_shared",
        "WSGI hello, both cores shared with wrk",
        "wsgi",
        _get("wsgi:hello", HELLO, pinned=False),
        decides="rps",
    ),
    Scenario("flask_json", "Flask `jsonify`", "wsgi", _get("flask_app:app", JSON_COMPACT + b"\n")),
    Scenario(
        "django", "Django `JsonResponse`", "wsgi", _get("django_app:application", b'{"message": "Hello, World!"}')
    ),
    Scenario("fastapi", "FastAPI on uvloop", "asgi", _get("fastapi_app:app", JSON_COMPACT)),
    Scenario(
        "latency_1conn",
        "WSGI hello, 1 connection, no pinning",
        "wsgi",
        _get("wsgi:hello", HELLO, connections=1, pinned=False),
        decides="p50_us",
    ),
    Scenario(
        "latency_1conn_same_core",
        "WSGI hello, 1 connection, server and wrk on one core",
        "wsgi",
        _get("wsgi:hello", HELLO, connections=1, same_core=True),
        decides="p50_us",
    ),
    Scenario("post_10k", "WSGI, request body of 10 KB", "wsgi", _post("wsgi:post", TEN_K)),
    Scenario("post_1m", "WSGI, request body of 1 MB", "wsgi", _post("wsgi:post", ONE_M)),
    Scenario("get_10k", "WSGI, response body of 10 KB", "wsgi", _get("wsgi:get_10k", b"x" * TEN_K)),
    Scenario("get_1m", "WSGI, response body of 1 MB", "wsgi", _get("wsgi:get_1m", b"x" * ONE_M)),
    Scenario("asgi_post_10k", "ASGI, request body of 10 KB", "asgi", _post("asgi:post", TEN_K)),
    Scenario("asgi_post_1m", "ASGI, request body of 1 MB", "asgi", _post("asgi:post", ONE_M)),
    Scenario("asgi_get_10k", "ASGI, response body of 10 KB", "asgi", _get("asgi:get_10k", b"x" * TEN_K)),
    Scenario("asgi_get_1m", "ASGI, response body of 1 MB", "asgi", _get("asgi:get_1m", b"x" * ONE_M)),
    Scenario("upload_100m", "WSGI, upload of 100 MB", "wsgi", _wire("wsgi:upload", "upload", HUNDRED_M, 2, b"")),
    Scenario(
        "download_100m", "WSGI, download of 100 MB", "wsgi", _wire("wsgi:download", "download", HUNDRED_M, 2, HELLO)
    ),
    Scenario("asgi_upload_100m", "ASGI, upload of 100 MB", "asgi", _wire("asgi:upload", "upload", HUNDRED_M, 2, b"")),
    Scenario(
        "asgi_download_100m",
        "ASGI, download of 100 MB",
        "asgi",
        _wire("asgi:download", "download", HUNDRED_M, 2, HELLO),
    ),
    *(
        Scenario(
            f"echo_{size}",
            f"WebSocket, echo of {size} bytes, 16 connections",
            "websocket",
            _wire("asgi:socket", "echo", size, 16, HELLO),
        )
        for size in (64, 4096, 65_536)
    ),
    Scenario(
        "mixed",
        "4 sync workers, 2 connections on a 200 ms request beside 16 on a 1 ms one (shown: the fast ones)",
        "wsgi",
        Mixed(),
        decides="p99_us",
        columns=("rps", "p50_us", "p99_us", "slow_rps", "cpu_us"),
    ),
    Scenario(
        "idle_10000",
        "10,000 idle keep-alive connections, hello beside them",
        "wsgi",
        Idle(),
        decides="cpu_us",
        columns=("rps", "rps_without_idle", "throughput_kept", "rps_kept", "cpu_us", "idle_memory_mib", "idle_alive"),
        # It closes each connection after the answer.
        without=("gunicorn-sync",),
    ),
    Scenario(
        "churn",
        "WSGI hello, a new connection for each request",
        "wsgi",
        Plain("wsgi:hello", Request(connections=64, close=True), Check(HELLO)),
    ),
    Scenario(
        "rest",
        "Memory at rest, hello, 1 worker",
        "wsgi",
        Rest(),
        decides="pss_mib",
        columns=("pss_mib", "supervisor_mib", "zygote_mib", "worker_mib", "bare_app_mib", "overhead_mib", "processes"),
    ),
    Scenario(
        "rest_flask",
        "Memory at rest, Flask, 1 worker",
        "wsgi",
        Rest("flask_app:app"),
        decides="pss_mib",
        columns=("pss_mib", "supervisor_mib", "zygote_mib", "worker_mib", "bare_app_mib", "overhead_mib", "processes"),
    ),
]


def named(names: list[str] | None) -> list[Scenario]:
    if not names:
        return ALL
    known = {scenario.name: scenario for scenario in ALL}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"bench: no scenario {', '.join(unknown)}; there are: {', '.join(known)}")
    return [known[name] for name in names]
