"""Clients that keep a server busy and look at every answer."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from support.server import Server, poll
from support.wire import Wire

Kind = TypeVar("Kind", bound="Clients")


class Clients:
    """Threads that keep a server busy from the beginning of a `with` to its end."""

    def __init__(self, server: Server, connect: Callable[..., Wire], runs: list[Callable[[], None]]) -> None:
        self.server, self.connect = server, connect
        self.served = 0
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=run) for run in runs]

    def __enter__(self: Kind) -> Kind:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in self.threads)

    def has_failed(self) -> bool:
        """Whether to wait for more is in vain."""
        raise NotImplementedError

    def goes_on(self, requests: int) -> None:
        """Wait until that many more requests were served."""
        target = self.served + requests
        poll(lambda: self.served >= target or self.has_failed(), f"{requests} more requests", 30)


class Load(Clients):
    """GETs from several threads until stopped; keeps every answer that was not a 200 (with `text`).

    A client connects again when an answer says so; `fresh`: for each request."""

    def __init__(
        self,
        server: Server,
        connect: Callable[..., Wire],
        clients: int = 8,
        target: str = "/pid",
        text: str | None = None,
        fresh: bool = False,
    ) -> None:
        super().__init__(server, connect, [partial(self.run, client) for client in range(clients)])
        self.target, self.text = target, text
        self.fields = ("Connection: close",) if fresh else ()
        self.of_each = [0] * clients
        self.failures: list[str] = []

    def has_failed(self) -> bool:
        return bool(self.failures)

    def everyone_goes_on(self, requests: int) -> None:
        """Wait until each client got that many more answers: no one is left waiting."""
        targets = [served + requests for served in self.of_each]
        poll(
            lambda: self.has_failed() or all(map(int.__ge__, self.of_each, targets)),
            f"{requests} more requests of each client",
            30,
        )

    def run(self, client: int) -> None:
        wire = self.connect(self.server, 30)
        while not self.stopping.is_set():
            try:
                answer = wire.get(self.target, *self.fields)
            except (OSError, EOFError) as error:
                self.failures.append(repr(error))
                return
            if answer.status != 200 or self.text not in (None, answer.text):
                self.failures.append(f"{answer.status} {answer.text[:100]}")
            self.served += 1
            self.of_each[client] += 1
            if answer.header("connection") == "close":
                wire.socket.close()
                wire = self.connect(self.server, 30)


class Checked(Clients):
    """Clients that look at every answer until stopped: GETs (unless `posts_only`) and POSTs, small and large.

    The application gives a POST its body back, and `/echo` its target. What is wrong (the answer to something else)
    is told from what failed: a client whose request failed connects again."""

    def __init__(self, server: Server, connect: Callable[..., Wire], clients: int, *, posts_only: bool = False) -> None:
        super().__init__(server, connect, [partial(self.run, number) for number in range(clients)])
        self.posts_only = posts_only
        self.wrong: list[str] = []
        self.failed: list[str] = []

    def has_failed(self) -> bool:
        return bool(self.wrong)

    def run(self, client: int) -> None:
        wire: Wire | None = None
        for number in itertools.count():
            if self.stopping.is_set():
                return
            try:
                wire = wire or self.connect(self.server, 30)
                self.look(wire, client, number)
            except (OSError, EOFError) as error:
                self.failed.append(f"client {client}: {error!r}")
                wire = None

    def look(self, wire: Wire, client: int, number: int) -> None:
        if self.posts_only or number % 4 == 3:
            body = f"{client}-{number} ".encode() * (20_000 if number % 3 == 0 else 10)
            answer, wanted = wire.get("/", method="POST", body=body), body
        else:
            target = f"/echo?{client}-{number}"
            answer, wanted = wire.get(target), target.encode()
        if answer.status != 200:
            self.failed.append(f"client {client}: {answer.status} {answer.text[:60]}")
        elif answer.body != wanted:
            self.wrong.append(f"client {client}: {answer.text[:60]!r} instead of {wanted[:60]!r}")
        self.served += 1

    def goes_on(self, requests: int) -> None:
        """Wait until that many more requests were served, none of them wrong."""
        super().goes_on(requests)
        assert self.wrong == []
