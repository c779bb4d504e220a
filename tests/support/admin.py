"""Ask a server's admin listener, over TCP or a Unix socket, as hostile as need be."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.server import free_port, poll

ANSWER_SECONDS = 10.0


@dataclass
class Answered:
    """One answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Admin:
    """The admin listener at a port of 127.0.0.1, or at a socket's path."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.port = free_port()

    @property
    def option(self) -> tuple[str, str]:
        """What the server is started with."""
        return ("--admin-bind", f"unix:{self.path}" if self.path else f"127.0.0.1:{self.port}")

    def connect(self) -> socket.socket:
        if self.path:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(str(self.path))
            return connection
        return socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_SECONDS)

    def ask(
        self,
        target: str,
        method: str = "GET",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> Answered:
        """One request on a connection of its own; `body` that is no bytes is sent as JSON."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
        connection.sock = self.connect()
        try:
            connection.request(method, target, body, sent)
            answer = connection.getresponse()
            return Answered(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def raw(self, request: bytes) -> bytes:
        """What is answered to these bytes, which make the server close the connection."""
        with self.connect() as connection:
            try:
                connection.sendall(request)
            except OSError:
                pass  # It was refused before it was complete.
            answer = b""
            try:
                while piece := connection.recv(65536):
                    answer += piece
            except ConnectionResetError:
                pass
            return answer

    def json(self, target: str) -> Any:
        answered = self.ask(target)
        assert answered.status == 200, answered
        return answered.json

    def act(self, action: str, *arguments: str | int, token: str | None = None) -> Answered:
        """Have the server do something, with the confirmation that it wants."""
        line = " ".join([action, *map(str, arguments)])
        body = {"arguments": list(arguments), "confirm": line}
        return self.ask(f"/api/{action}", "POST", body, token=token)

    def events(self) -> list[Any]:
        return list(self.json("/events?format=json")["events"])

    def wait_for_event(self, kind: str, after: int = 0) -> Any:
        """Wait until the chronicle has such an entry."""

        def found() -> list[Any]:
            return [event for event in self.events() if event["kind"] == kind and event["number"] > after]

        poll(lambda: bool(found()), f"an event {kind}")
        return found()[0]

    @contextmanager
    def stream(
        self, headers: Mapping[str, str] | None = None, path: str = "/events"
    ) -> Iterator[Iterator[dict[str, str]]]:
        """The events as they come: each with its fields."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
        connection.sock = self.connect()
        try:
            connection.request("GET", path, headers=dict(headers or {}))
            answer = connection.getresponse()
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "text/event-stream"

            def each() -> Iterator[dict[str, str]]:
                fields: dict[str, str] = {}
                while line := answer.readline().decode().rstrip("\n") + "\n":
                    name, _, value = line.rstrip("\n").partition(": ")
                    if name:
                        fields[name] = value
                    elif "id" in fields:
                        yield fields
                        fields = {}

            yield each()
        finally:
            connection.close()
