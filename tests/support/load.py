"""Clients that keep a server busy and look at every answer."""

from __future__ import annotations

import threading
from collections.abc import Callable

from support.server import Server, poll
from support.wire import Wire


class Load:
    """GETs from several threads until stopped; keeps every answer that was not a 200 (with `text`).

    A client connects again when an answer says so."""

    def __init__(
        self,
        server: Server,
        connect: Callable[..., Wire],
        clients: int = 8,
        target: str = "/pid",
        text: str | None = None,
    ) -> None:
        self.server, self.connect, self.target, self.text = server, connect, target, text
        self.stopping = threading.Event()
        self.failures: list[str] = []
        self.served = 0
        self.threads = [threading.Thread(target=self.run) for _ in range(clients)]

    def run(self) -> None:
        wire = self.connect(self.server, 30)
        while not self.stopping.is_set():
            try:
                answer = wire.get(self.target)
            except (OSError, EOFError) as error:
                self.failures.append(repr(error))
                return
            if answer.status != 200 or self.text not in (None, answer.text):
                self.failures.append(f"{answer.status} {answer.text[:100]}")
            self.served += 1
            if answer.header("connection") == "close":
                wire.socket.close()
                wire = self.connect(self.server, 30)

    def __enter__(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(30)

    def goes_on(self, requests: int) -> None:
        """Wait until that many more requests were served."""
        target = self.served + requests
        poll(lambda: self.served >= target or self.failures, f"{requests} more requests", 30)
