"""Somebody else's server that takes messages by POST: it works, fails, is slow, talks nonsense, or is not there."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .server import poll


@dataclass
class Message:
    """A message that came."""

    path: str
    headers: dict[str, str]
    json: Any


@dataclass
class Webhook:
    """`statuses`: the next answers, then 200; 0 is an answer that is no HTTP. `gate`: it answers while that is set."""

    statuses: list[int] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    tls: ssl.SSLContext | None = None

    def __enter__(self) -> Webhook:
        self.gate.set()
        self.messages: list[Message] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status = webhook.statuses.pop(0) if webhook.statuses else 200
                webhook.messages.append(Message(self.path, headers, json.loads(body)))
                webhook.gate.wait()
                try:
                    if status == 0:
                        self.wfile.write(b"\x00\xff no HTTP at all\r\n\r\n")
                        return
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except OSError:
                    # Whoever asked has not waited.
                    pass

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        if self.tls is not None:
            self.http.socket = self.tls.wrap_socket(self.http.socket, server_side=True)
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self.http.shutdown()
        self.http.server_close()

    @property
    def url(self) -> str:
        scheme, host = ("http", "127.0.0.1") if self.tls is None else ("https", "localhost")
        return f"{scheme}://{host}:{self.port}/hooks/s3cret?channel=ops"

    def wait_for(self, count: int) -> list[Message]:
        poll(lambda: len(self.messages) >= count, f"{count} messages", 20)
        return self.messages

    def die(self) -> None:
        """Nobody listens there any more."""
        self.http.shutdown()
        self.http.server_close()
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", self.port)) != 0
