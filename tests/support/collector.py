"""A collector of OpenTelemetry's, for tests: it works, is slow, refuses, or answers nonsense."""

from __future__ import annotations

import gzip
import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .server import poll

Attributes = dict[str, Any]


@dataclass
class Span:
    """A span as it was told, with its resource."""

    raw: dict[str, Any]
    resource: Attributes

    @property
    def attributes(self) -> Attributes:
        return attributes(self.raw["attributes"])

    @property
    def took_us(self) -> int:
        return (int(self.raw["endTimeUnixNano"]) - int(self.raw["startTimeUnixNano"])) // 1000

    def event(self, name: str) -> int:
        """When it was, in microseconds from the beginning."""
        (found,) = [event for event in self.raw["events"] if event["name"] == name]
        return (int(found["timeUnixNano"]) - int(self.raw["startTimeUnixNano"])) // 1000


@dataclass
class Asked:
    """A request that came."""

    path: str
    headers: dict[str, str]
    body: bytes

    def message(self) -> bytes:
        """The body, unpacked."""
        return gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body


@dataclass
class Collector:
    """`answers`: status, headers and body of the next answers, the last one for all that follow. `gate`: it answers
    while that is set."""

    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=lambda: [(200, {}, b"{}")])
    gate: threading.Event = field(default_factory=threading.Event)
    tls: ssl.SSLContext | None = None

    def __enter__(self) -> Collector:
        self.gate.set()
        self.asked: list[Asked] = []
        self.spans: list[Span] = []
        self.lock = threading.Lock()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, headers, answer = collector.take(Asked(self.path, headers, body))
                collector.gate.wait()
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                except OSError:
                    # Whoever asked has not waited.
                    pass

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        if self.tls is not None:
            self.http.socket = self.tls.wrap_socket(self.http.socket, server_side=True)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self.http.shutdown()
        self.http.server_close()

    @property
    def url(self) -> str:
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://localhost:{self.http.server_address[1]}"

    def take(self, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        with self.lock:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            self.asked.append(asked)
            # Libraries of applications speak protobuf.
            if answer[0] == 200 and asked.headers["content-type"] == "application/json":
                self.spans += spans(asked)
            return answer

    def wait_for_spans(self, count: int, seconds: float = 15.0) -> list[Span]:
        poll(lambda: len(self.spans) >= count, f"{count} spans", seconds)
        return self.spans

    def wait_for(self, path: str, seconds: float = 15.0) -> Span:
        """The span of the request for this path."""

        def found() -> list[Span]:
            with self.lock:
                return [span for span in self.spans if span.attributes["url.path"] == path]

        poll(found, f"the span of {path}", seconds)
        (span,) = found()
        return span


def attributes(listed: list[dict[str, Any]]) -> Attributes:
    values = {}
    for attribute in listed:
        ((kind, value),) = attribute["value"].items()
        values[attribute["key"]] = int(value) if kind == "intValue" else value
    return values


def spans(asked: Asked) -> list[Span]:
    found = []
    for resource in json.loads(asked.message())["resourceSpans"]:
        of = attributes(resource["resource"]["attributes"])
        found += [Span(raw, of) for scope in resource["scopeSpans"] for raw in scope["spans"]]
    return found
