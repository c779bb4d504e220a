"""Incidents on a running server: is their cause named in words, by whoever may be asked, and how soon? And what is said
while nothing is wrong?

Each server serves a mixed load all the time. It is left in peace first; then one incident after the other begins and
ends, some of them in pairs, and after each the server must be found well again.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..project import Project
from ..report import Rows
from ..subjects import NotApplicable, Options, Subject, free_port

NAMED_LIMIT_S = 5.0
# Asked again and again for so long, to say how late it was named if it was.
NAMED_WAIT_S = 20.0
RECOVERED_WAIT_S = 60.0
HEALTHY_S = 45.0
HEALTHY_FULL_S = 600.0
# What is usual is learned of what is half a minute old, and a worker may grow in its first minute.
SETTLE_S = 65.0
ASK_EVERY_S = 0.2
REQUEST_LIMIT_S = 60.0
WORKERS = 2


# --- a database


class Database:
    """Answers each line after a while, which can be changed."""

    def __init__(self) -> None:
        self.takes_s = 0.003
        outer = self

        class Connection(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                # Who asked may be dead by now.
                with contextlib.suppress(OSError):
                    for _ in self.rfile:
                        time.sleep(outer.takes_s)
                        self.wfile.write(b"row\n")

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Connection)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


# --- load


class Clients:
    """Threads that ask one after the other, until they are told to stop. Their failures are counted, not judged: what a
    sick server answers is what it is."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def ask(self, path: str, count: int, pause_s: float = 0.02, once: bool = False) -> Clients:
        for _ in range(count):
            thread = threading.Thread(target=self._run, args=(path, pause_s, once), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def ask_slowly(self, path: str, count: int) -> Clients:
        """Clients that read next to nothing of their answers."""
        for _ in range(count):
            thread = threading.Thread(target=self._hardly_read, args=(path,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(REQUEST_LIMIT_S)

    def _run(self, path: str, pause_s: float, once: bool) -> None:
        while not self._stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=REQUEST_LIMIT_S)
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection.request("GET", path)
                answer = connection.getresponse()
                while answer.read(65536) and not self._stop.is_set():
                    pass
            connection.close()
            if once:
                return
            self._stop.wait(pause_s)

    def _hardly_read(self, path: str) -> None:
        with socket.socket() as wire, contextlib.suppress(OSError):
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.connect(("127.0.0.1", self._port))
            wire.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            wire.settimeout(1)
            while not self._stop.wait(1.0):
                with contextlib.suppress(TimeoutError):
                    if not wire.recv(100):
                        return


@contextlib.contextmanager
def websocket(port: int) -> Iterator[None]:
    """One that is open and says something now and then: a long request that is as it should be."""
    with socket.socket() as wire:
        wire.connect(("127.0.0.1", port))
        wire.sendall(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        yield


# --- incidents


@dataclass
class Ward:
    """A server and what makes it sick."""

    server: Subject
    admin: int
    database: Database


Begin = Callable[[Ward, Clients], None]


def load_of(path: str, count: int, pause_s: float = 0.02, once: bool = False) -> Begin:
    def begin(ward: Ward, clients: Clients) -> None:
        clients.ask(path, count, pause_s, once)

    return begin


def slow_database(takes_s: float, count: int) -> Begin:
    def begin(ward: Ward, clients: Clients) -> None:
        ward.database.takes_s = takes_s
        clients.ask("/database/7", count)

    return begin


def slow_clients(path: str, count: int) -> Begin:
    def begin(ward: Ward, clients: Clients) -> None:
        clients.ask_slowly(path, count)

    return begin


@dataclass(frozen=True)
class Incident:
    name: str
    causes: tuple[str, ...]
    begins: tuple[Begin, ...]
    # Words of what must be told of it.
    words: tuple[str, ...] = ()


def pair(one: Incident, other: Incident) -> Incident:
    return Incident(f"{one.name} + {other.name}", one.causes + other.causes, one.begins + other.begins)


@dataclass(frozen=True)
class Kind:
    """A server with its class of workers, its load while it is well, and its incidents."""

    name: str
    app: str
    more: tuple[str, ...]
    healthy: tuple[tuple[str, int, float], ...]
    incidents: tuple[Incident, ...]
    websockets: int = 0


LEAK = Incident("leak, 1 MiB a request", ("leak",), (load_of("/leak", 2, 0.05),))
THREADS = (
    Incident("slow database (socket)", ("slow_backend",), (slow_database(6.0, 20),), ("/database",)),
    Incident("slow database (query, SQLAlchemy)", ("slow_backend",), (load_of("/query?takes=5", 20),), ("/query",)),
    Incident("exhausted pool", ("exhausted_pool",), (load_of("/pool?hold=3", 8),), ("sqlalchemy",)),
    Incident("kept GIL (C that sleeps)", ("kept_gil",), (load_of("/hold/gil?s=8", 1, once=True),), ("/hold/<how>",)),
    Incident("slow clients", ("slow_clients",), (slow_clients("/large?mib=64", 16),)),
    LEAK,
    Incident("crash loop (exit)", ("crash_loop",), (load_of("/crash/exit", 4, 0.3),)),
)
LOOP = (
    Incident("blocked loop (sleep)", ("blocked_loop",), (load_of("/blocks/sleep?s=6", 2, once=True),), ("/blocks",)),
    Incident("blocked loop (computes)", ("blocked_loop",), (load_of("/blocks/compute?s=7", 1, once=True),)),
    Incident("kept GIL (a thread's C)", ("kept_gil",), (load_of("/thread/gil?s=8", 1, once=True),)),
    Incident("slow database (await)", ("slow_backend",), (slow_database(4.0, 24),), ("/database",)),
    Incident("exhausted pool", ("exhausted_pool",), (load_of("/pool?hold=4", 20),), ("sqlalchemy",)),
    Incident("leak, 256 KiB a request", ("leak",), (load_of("/leak?kib=256", 6, 0.02),)),
    Incident("crash loop (SIGSEGV)", ("crash_loop",), (load_of("/crash/segv", 4, 0.3),)),
)
GREEN = (
    Incident("blocked loop (computes)", ("blocked_loop",), (load_of("/hold/compute?s=8", 2, once=True),), ("/hold",)),
    Incident("blocked loop (C that sleeps)", ("blocked_loop",), (load_of("/hold/gil?s=8", 2, once=True),)),
    Incident("slow database (socket)", ("slow_backend",), (slow_database(3.0, 30),), ("/database",)),
)
ONE = (
    Incident("full queue", ("full_queue",), (load_of("/burst", 60, 0.0),)),
    Incident("slow clients", ("slow_clients",), (slow_clients("/large?mib=48", 4),)),
    Incident("crash loop (abort)", ("crash_loop",), (load_of("/crash/abort", 4, 0.3),)),
)
WSGI_LOAD = (("/quick", 3, 0.02), ("/database/7", 2, 0.03), ("/query", 1, 0.05), ("/pool", 1, 0.05), ("/poll", 2, 1.0),
             ("/stream", 2, 0.5), ("/burst", 1, 0.2))  # fmt: skip
ASGI_LOAD = (*WSGI_LOAD[:2], *WSGI_LOAD[3:5], ("/stream", 4, 0.5), ("/poll", 20, 0.5), ("/burst", 1, 0.2))
SPOOLS = ("--response-spools-max", "0")
KINDS = (
    Kind("gthread", "sick_flask", ("--worker-class", "gthread", "--threads", "12", *SPOOLS), WSGI_LOAD, (
        *THREADS, pair(THREADS[0], LEAK), pair(THREADS[2], THREADS[4]),
    )),
    Kind("asgi", "sick_fastapi", (), ASGI_LOAD, (*LOOP, pair(LOOP[0], LOOP[5]), pair(LOOP[3], LOOP[4])), websockets=3),
    Kind("gevent", "sick_flask", ("--worker-class", "gevent"), WSGI_LOAD, GREEN),
    Kind("sync", "sick_flask", ("--worker-class", "sync", "--queue-requests-max", "40", *SPOOLS), WSGI_LOAD[:3], ONE),
)  # fmt: skip


# --- the run


def run(name: str, rows: Rows, full: bool) -> None:
    if name != "indrik":
        raise NotApplicable("says nothing of causes")
    # The limit of a bounded scenario has room for one kind.
    for kind in KINDS if full else KINDS[:1]:
        _run(kind, rows, full)


def _run(kind: Kind, rows: Rows, full: bool) -> None:
    database, admin = Database(), free_port()
    more = ("--admin-bind", f"127.0.0.1:{admin}", "--timeout", "0", *kind.more)
    environment = {"SICK_DATABASE": str(database.port)}
    options = Options(app=kind.app, workers=WORKERS, environment=environment, more=more)
    try:
        with Project() as project, Subject("indrik", options, project) as server, contextlib.ExitStack() as open_:
            ward = Ward(server, admin, database)
            for _ in range(kind.websockets):
                open_.enter_context(websocket(server.port))
            well = Clients(server.port)
            for path, count, pause_s in kind.healthy:
                well.ask(path, count, pause_s)
            open_.callback(well.stop)
            _healthy(kind, ward, rows, full)
            for incident in kind.incidents if full else kind.incidents[:3]:
                _one(kind, incident, ward, rows)
    finally:
        database.close()


def _healthy(kind: Kind, ward: Ward, rows: Rows, full: bool) -> None:
    """A mixed load with bursts, reloads and recycling in between."""
    began, said = time.monotonic(), {}
    is_long = full and bool(kind.websockets)
    lasts = max(HEALTHY_FULL_S if is_long else HEALTHY_S, SETTLE_S)
    turn = 0
    while time.monotonic() - began < lasts:
        turn += 1
        if turn % 40 == 10:
            threading.Thread(target=_burst, args=(ward.server.port,), daemon=True).start()
        if turn % 100 == 30:
            ward.server.indrik("recycle", "1")
        if turn % 150 == 90 and lasts - (time.monotonic() - began) > SETTLE_S:
            ward.server.reload()
        for finding in _by_admin(ward):
            said.setdefault(finding["cause"], f"{finding['what']} (at {time.monotonic() - began:.0f} s)")
        time.sleep(ASK_EVERY_S)
    rows.zero(f"{kind.name}: findings in {lasts:.0f} s of mixed load", len(said), "; ".join(said.values()))


def _burst(port: int) -> None:
    clients = Clients(port).ask("/quick", 40, once=True)
    clients.stop()


def _one(kind: Kind, incident: Incident, ward: Ward, rows: Rows) -> None:
    clients = Clients(ward.server.port)
    named: dict[str, dict[str, float]] = {"admin": {}, "status": {}}
    told: dict[str, str] = {}
    began = time.monotonic()
    try:
        for begin in incident.begins:
            begin(ward, clients)
        watcher = threading.Thread(
            target=_watch, args=(ward, incident, began, named["status"], _by_status), daemon=True
        )
        watcher.start()
        told = _watch(ward, incident, began, named["admin"], _by_admin)
        watcher.join(NAMED_WAIT_S)
    finally:
        ward.database.takes_s = 0.003
        threading.Thread(target=clients.stop, daemon=True).start()
    for cause in incident.causes:
        for who, times in named.items():
            late = times.get(cause, float("inf"))
            rows.at_most(f"{kind.name}, {incident.name}: {who} names {cause} within", NAMED_LIMIT_S, late, " s")
    for word in incident.words:
        words = " / ".join(told.values())
        rows.check(f"{kind.name}, {incident.name}: told with {word}", "yes", words, word in words)
    _recover(kind, incident, ward, rows)


def _recover(kind: Kind, incident: Incident, ward: Ward, rows: Rows) -> None:
    began = time.monotonic()
    ward.server.wait_for_workers(WORKERS)
    if "leak" in incident.causes:
        # What has leaked is there until its worker goes.
        ward.server.indrik("recycle", "all")
    while time.monotonic() - began < RECOVERED_WAIT_S:
        if not _by_admin(ward):
            break
        time.sleep(ASK_EVERY_S)
    rows.at_most(f"{kind.name}, {incident.name}: well again after", RECOVERED_WAIT_S, time.monotonic() - began, " s")
    if "leak" in incident.causes or "crash_loop" in incident.causes:
        time.sleep(SETTLE_S)


def _watch(
    ward: Ward, incident: Incident, began: float, times: dict[str, float], ask: Callable[[Ward], list[dict[str, str]]]
) -> dict[str, str]:
    told = {}
    while time.monotonic() - began < NAMED_WAIT_S and set(incident.causes) - set(times):
        for finding in ask(ward):
            cause = finding["cause"]
            times.setdefault(cause, time.monotonic() - began)
            if cause in incident.causes:
                told[cause] = finding["what"]
        time.sleep(ASK_EVERY_S)
    return told


def _by_admin(ward: Ward) -> list[dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", ward.admin, timeout=5)
    try:
        connection.request("GET", "/status")
        return json.loads(connection.getresponse().read())["findings"] or []
    except (OSError, ValueError, http.client.HTTPException):
        return []
    finally:
        connection.close()


def _by_status(ward: Ward) -> list[dict[str, str]]:
    _, text = ward.server.indrik("status", "--json")
    try:
        return json.loads(text[text.index("{") : text.rindex("}") + 1])["findings"]
    except ValueError:
        return []
