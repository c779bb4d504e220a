"""Many streams of HTTP/2 connections: some are reset by the client, some are not read for a while, while generations
and workers go. Every answer that comes is checked."""

from __future__ import annotations

import hashlib
import importlib
import random
import signal
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from ..project import Project
from ..report import Rows
from ..subjects import NotApplicable, Options, Subject, send

CONNECTIONS = 8
STREAMS = 20
WORKERS, THREADS = 2, 8
# Of each, one after the other, with this pause before it.
CHANGES, CHANGES_FULL = 3, 30
PAUSE_S = 0.5
# Of a hundred streams.
RESET, UNREAD, POSTS, FILES = 10, 10, 25, 15
UNREAD_S = 0.3
LIMIT_S = 20.0
FILE_LINES = 8_192
BODY_BYTES_MAX = 12_000
REFUSED = 7


@dataclass
class Stream:
    """A request, and what has come of its answer."""

    wanted: bytes
    is_post: bool
    prefix: bool
    is_reset: bool
    # Nothing is given back of its window until then.
    unread_until: float
    status: int = 0
    body: bytes = b""
    owed: int = 0


def run(name: str, rows: Rows, full: bool) -> None:
    try:
        importlib.import_module("h2")
    except ImportError as error:
        raise NotApplicable("needs the package h2") from error
    options = Options(workers=WORKERS, gthread=THREADS, http2=True)
    with Project() as project, Subject(name, options, project) as server:
        server.wait_for_workers(WORKERS)
        stop = threading.Event()
        clients = [Client(server.port, seed, stop) for seed in range(CONNECTIONS)]
        threads = [threading.Thread(target=client.run) for client in clients]
        for thread in threads:
            thread.start()
        failed_reloads = deaths = 0
        for change in range(CHANGES_FULL if full else CHANGES):
            time.sleep(PAUSE_S)
            project.change(VERSION=change + 2)
            failed_reloads += server.reload()[0] != 0
            server.wait_for_workers(WORKERS)
            time.sleep(PAUSE_S)
            victim = min(server.ready_pids())
            send(victim, signal.SIGKILL)
            time.sleep(PAUSE_S)
            deaths += victim not in server.workers()
            server.wait_for_workers(WORKERS)
        stop.set()
        for thread in threads:
            thread.join()
    counts = sum((client.counts for client in clients), Counter[str]())
    failed = {what: count for what, count in counts.items() if what not in ("ok", "reset by the client", "POST 502")}
    words = ", ".join(f"{count} × {what}" for what, count in sorted(failed.items()))
    rows.zero("wrong or failed", sum(failed.values()), words, of=counts.total())
    rows.zero("reloads that failed", failed_reloads)
    rows.none("workers killed", deaths)
    rows.none("reset by the client", counts["reset by the client"])
    rows.none("POSTs that had begun at a worker that was killed", counts["POST 502"])


class Client:
    """One connection after another, each with as many streams as it may have."""

    def __init__(self, port: int, seed: int, stop: threading.Event) -> None:
        self.port, self.stop = port, stop
        self.chance = random.Random(seed)
        self.seed, self.number = seed, 0
        self.counts: Counter[str] = Counter()

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self.port), LIMIT_S) as connection:
                    self._serve(connection)
            except OSError as error:
                self.counts[f"connection: {type(error).__name__}"] += 1

    def _serve(self, connection: socket.socket) -> None:
        events = importlib.import_module("h2.events")
        talk = _connection(events)
        talk.initiate_connection()
        connection.settimeout(0.05)
        streams: dict[int, Stream] = {}
        last_progress = time.monotonic()
        goes = False
        while streams or not (goes or self.stop.is_set()):
            while len(streams) < STREAMS and not (goes or self.stop.is_set()):
                number = talk.get_next_available_stream_id()
                streams[number] = self._request(talk, number)
            self._give_back(talk, streams)
            connection.sendall(talk.data_to_send())
            try:
                data = connection.recv(65_536)
            except TimeoutError:
                if time.monotonic() - last_progress > LIMIT_S:
                    self.counts["no answer"] += len(streams)
                    return
                continue
            if not data:
                self.counts["closed before the answer"] += len(streams)
                return
            last_progress = time.monotonic()
            for event in talk.receive_data(data):
                if isinstance(event, events.ConnectionTerminated):
                    # What the server has not taken is asked for again, on the next connection.
                    untaken = [number for number in streams if number > (event.last_stream_id or 0)]
                    for number in untaken:
                        del streams[number]
                    if event.error_code:
                        self.counts[f"GOAWAY {event.error_code}"] += 1
                    goes = True
                self._take(talk, event, streams, events)

    def _request(self, talk: Any, number: int) -> Stream:
        self.number += 1
        mark = f"{self.seed}{self.number:09}"
        what = self.chance.randrange(100)
        head = [(":scheme", "http"), (":authority", "test")]
        is_reset = self.chance.randrange(100) < RESET
        until = time.monotonic() + UNREAD_S if self.chance.randrange(100) < UNREAD else 0.0
        room = min(talk.outbound_flow_control_window, BODY_BYTES_MAX)
        if what < POSTS and room > len(mark):
            body = (mark.encode() * (room // len(mark)))[: self.chance.randrange(len(mark), room + 1)]
            talk.send_headers(number, [(":method", "POST"), (":path", "/digest"), *head])
            talk.send_data(number, body, end_stream=True)
            stream = Stream(hashlib.sha256(body).hexdigest().encode(), True, False, is_reset, until)
        elif what < POSTS + FILES:
            talk.send_headers(number, [(":method", "GET"), (":path", f"/file?n={mark}"), *head], end_stream=True)
            stream = Stream(f"{mark:>31}\n".encode() * FILE_LINES, False, False, is_reset, until)
        else:
            talk.send_headers(number, [(":method", "GET"), (":path", f"/echo?n={mark}"), *head], end_stream=True)
            stream = Stream(mark.encode() + b" ", False, True, is_reset, until)
        return stream

    def _give_back(self, talk: Any, streams: dict[int, Stream]) -> None:
        now = time.monotonic()
        for number, stream in list(streams.items()):
            if stream.is_reset and stream.status and self.chance.randrange(4) == 0:
                if stream.owed:
                    talk.acknowledge_received_data(stream.owed, number)
                talk.reset_stream(number)
                del streams[number]
                self.counts["reset by the client"] += 1
            elif stream.owed and now >= stream.unread_until:
                talk.acknowledge_received_data(stream.owed, number)
                stream.owed = 0

    def _take(self, talk: Any, event: Any, streams: dict[int, Stream], events: Any) -> None:
        stream = streams.get(getattr(event, "stream_id", 0) or 0)
        if stream is None:
            return
        if isinstance(event, events.ResponseReceived):
            stream.status = int(dict(event.headers)[":status"])
        elif isinstance(event, events.DataReceived):
            stream.body += event.data
            stream.owed += event.flow_controlled_length
        elif isinstance(event, events.StreamReset):
            self._is_over(talk, streams, event.stream_id)
            if event.error_code != REFUSED:
                self.counts[f"reset by the server, {event.error_code}"] += 1
        elif isinstance(event, events.StreamEnded):
            self._is_over(talk, streams, event.stream_id)
            self.counts[self._judged(stream)] += 1

    def _is_over(self, talk: Any, streams: dict[int, Stream], number: int) -> None:
        """Its last bytes may have come with its end: the connection's window has them back all the same."""
        owed = streams.pop(number).owed
        if owed:
            talk.acknowledge_received_data(owed, number)

    def _judged(self, stream: Stream) -> str:
        method = "POST" if stream.is_post else "GET"
        if stream.status != 200:
            return f"{method} {stream.status}"
        right = stream.body.startswith(stream.wanted) if stream.prefix else stream.body == stream.wanted
        return "ok" if right else f"{method} wrong"


def _connection(events: Any) -> Any:
    """One that stays open after GOAWAY, as RFC 9113 section 6.8 asks for: what was taken is answered."""

    class Patient(importlib.import_module("h2.connection").H2Connection):  # type: ignore[misc]
        def _receive_goaway_frame(self, frame: Any) -> tuple[list[Any], list[Any]]:
            event = events.ConnectionTerminated()
            event.last_stream_id, event.error_code = frame.last_stream_id, frame.error_code
            return [], [event]

    return Patient(importlib.import_module("h2.config").H2Configuration(header_encoding="utf-8"))
