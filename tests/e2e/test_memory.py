"""What the front holds for its clients is bounded, whatever they send or do not read."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.control import ctl
from support.server import Server, poll
from support.wire import Wire

pytestmark = pytest.mark.indrik_only

MIB = 1024 * 1024
UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)
# What a client sends at full speed, by name: frames with a mask of zeros.
TINY = {
    "ping": b"\x89\x80\0\0\0\0",
    "ping of 125 bytes": b"\x89\xfd\0\0\0\0" + b"p" * 125,
    "pong": b"\x8a\x80\0\0\0\0",
    "empty text": b"\x81\x80\0\0\0\0",
    "text of a byte": b"\x81\x81\0\0\0\0x",
    "fragments": b"\x01\x80\0\0\0\0" + b"\0\x80\0\0\0\0" * 30 + b"\x80\x80\0\0\0\0",
}
FLOOD_BYTES = 24 * MIB


@pytest.fixture(scope="module")
def server(start_shared) -> Server:
    return start_shared("memory_app:app", "--workers", "1", interface="asgi")


@pytest.fixture
def opened(server) -> Iterator[Callable[..., socket.socket]]:
    """Open sockets to a server; all are closed at the end of the test."""
    with contextlib.ExitStack() as stack:

        def opened(path: str, *headers: str, to: Server = server, reads: bool = False) -> socket.socket:
            connection = socket.socket()
            stack.callback(connection.close)
            if not reads:
                # As little as possible lies in the kernel.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(20)
            connection.connect(to.address)
            lines = [f"GET {path} HTTP/1.1", "Host: x", *headers]
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            if headers:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += connection.recv(1)
                assert b" 101 " in head
            return connection

        yield opened


def anonymous(server: Server) -> int:
    """The front's memory without files, bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return (int(fields["RssAnon"].split()[0]) + int(fields["RssShmem"].split()[0])) * 1024


def flood(connection: socket.socket, frame: bytes, total: int, look: Callable[[], None]) -> int:
    """Send as fast as it is taken, until `total` or until nothing is taken for a second; what was sent."""
    block = frame * (256 * 1024 // len(frame) + 1)
    connection.settimeout(1)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < total:
            connection.sendall(block)
            sent += len(block)
            look()
    return sent


class Peak:
    """The most that the front grows by."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.before = anonymous(server)
        self.grown = 0

    def look(self) -> None:
        self.grown = max(self.grown, anonymous(self.server) - self.before)

    def look_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds

        def is_over() -> bool:
            self.look()
            return time.monotonic() >= until

        poll(is_over, "the time to pass", seconds + 10)


def memory(server: Server) -> dict[str, Any]:
    return ctl(server, "show", "stats")["front_memory"]


def all_returned(server: Server) -> None:
    """Wait until nothing is held but what open connections cost."""
    poll(lambda: memory(server)["held_bytes"] < 1 * MIB, "the front to hold nothing", 20)


def is_served(server: Server) -> None:
    with Wire(socket.create_connection(server.address)) as wire:
        assert wire.get("/").body == b"here"


class TestTinyFrames:
    @pytest.mark.parametrize("name", TINY)
    @pytest.mark.parametrize("path", ["/counts", "/ignores"])
    def test_a_flood_does_not_make_the_front_grow(self, server, opened, name, path):
        connection = opened(path, *UPGRADE)
        if path == "/ignores":
            connection.sendall(b"\x81\x85\0\0\0\0begin")
        peak = Peak(server)
        flood(connection, TINY[name], FLOOD_BYTES, peak.look)
        assert peak.grown < 24 * MIB
        is_served(server)
        connection.close()
        all_returned(server)

    def test_messages_of_a_flood_all_arrive(self, opened):
        connection = opened("/counts", *UPGRADE, reads=True)
        count = 20_000
        connection.sendall(TINY["empty text"] * count + b"\x81\x88\0\0\0\0how many")
        assert connection.recv(100) == b"\x81\x05" + str(count).encode()


class TestUnread:
    def test_large_messages_to_clients_that_do_not_read_wait_in_the_application(self, server, opened):
        peak = Peak(server)
        sockets = [opened("/large", *UPGRADE) for _ in range(6)]
        peak.look_for(2)
        assert peak.grown < 48 * MIB
        is_served(server)
        assert len(sockets) == 6

    def test_a_large_message_arrives_whole_when_it_is_read(self, opened):
        connection = opened("/large", *UPGRADE, reads=True)
        received, last = 0, False
        with connection.makefile("rb") as file:
            while not last:
                first, size = file.read(2)
                length = {126: 2, 127: 8}.get(size, 0)
                size = int.from_bytes(file.read(length)) if length else size
                assert set(file.read(size)) <= {0}
                received, last = received + size, bool(first & 0x80)
        assert received == 64 * MIB

    def test_empty_messages_to_a_client_that_does_not_read_wait_in_the_application(self, server, opened):
        peak = Peak(server)
        before = server.workers()
        connection = opened("/empty", *UPGRADE)
        peak.look_for(2)
        assert peak.grown < 24 * MIB
        assert server.workers() == before, "the worker keeps to its window"
        is_served(server)
        assert connection.fileno() > 0

    def test_a_stream_that_is_not_read_holds_its_window_and_no_more(self, server, opened):
        all_returned(server)
        peak = Peak(server)
        count = 100
        sockets = [opened("/endless") for _ in range(count)]
        peak.look_for(2)
        assert memory(server)["held_bytes"] < count * (256 + 64) * 1024
        assert peak.grown < count * (256 + 64) * 1024
        is_served(server)
        assert len(sockets) == count


class TestTheTotal:
    def test_the_largest_is_cut_and_named_and_the_others_are_served(self, start, opened):
        limits = ("--front-memory-max", "16MiB", "--websocket-max-message-size", "64MiB")
        server = start("memory_app:app", "--workers", "1", *limits, interface="asgi")
        honest = opened("/counts", *UPGRADE, to=server)
        large = opened("/counts", *UPGRADE, to=server)
        # The start of one message of 64 MiB.
        large.sendall(b"\x82\xff" + (64 * MIB).to_bytes(8) + bytes(4))
        peak = Peak(server)
        with contextlib.suppress(OSError):
            while True:
                large.sendall(bytes(MIB))
                peak.look()
        server.wait_for_log(r"Cut what held the most memory of the front \(front_memory_max = 16.0 MiB is used up\)")
        # What has come of the message is copied as it grows.
        assert peak.grown < 64 * MIB
        assert memory(server)["connections_cut"] == 1
        honest.sendall(b"\x81\x88\0\0\0\0how many")
        assert honest.recv(100) == b"\x81\x010"
        is_served(server)

    def test_a_connection_has_a_limit_of_its_own(self, start, opened):
        server = start("memory_app:app", "--workers", "1", "--connection-memory-max", "2MiB", interface="asgi")
        large = opened("/counts", *UPGRADE, to=server)
        large.sendall(b"\x82\xff" + (8 * MIB).to_bytes(8) + bytes(4))
        with contextlib.suppress(OSError):
            for _ in range(8):
                large.sendall(bytes(MIB))
            large.recv(1)
        server.wait_for_log(r"connection_memory_max = 2.0 MiB\): ip=127.0.0.1 with [2-9]")
        is_served(server)

    def test_large_heads_count_while_their_requests_are_under_way(self, start):
        """What the process takes for them is in the account, not a part of it."""
        server = start("memory_app:app", "--workers", "1", interface="asgi")
        before = anonymous(server)
        fields = "".join(f"X-{number}: {'x' * 7000}\r\n" for number in range(11))
        request = f"GET /stays HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode()
        with contextlib.ExitStack() as stack:
            for _ in range(150):
                client = stack.enter_context(socket.create_connection(server.address))
                client.sendall(request)
            poll(lambda: ctl(server, "show", "stats")["requests_in_flight"] == 150, "all to be under way", 20)
            grown = anonymous(server) - before
            assert grown < 1.3 * memory(server)["held_bytes"] + 8 * MIB

    def test_large_heads_that_come_all_at_once_stay_within_the_total(self, start):
        """Four times as much as may be held, by clients of which each has little."""
        limit = 32 * MIB
        server = start("memory_app:app", "--workers", "1", "--front-memory-max", "32MiB", interface="asgi")
        peak = Peak(server)
        fields = "".join(f"X-{number}: {'x' * 7000}\r\n" for number in range(11))
        request = f"GET /stays HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode()
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in range(500)]
            for client in clients:
                client.settimeout(0.2)
                with contextlib.suppress(OSError):
                    client.sendall(request)
            server.wait_for_log(r"front_memory_max = 32.0 MiB is used up")
            peak.look_for(1)
            # The allocator keeps what it may use again.
            assert peak.grown < 1.25 * limit + 32 * MIB
            assert memory(server)["peak_bytes"] < 1.25 * limit
        all_returned(server)

    def test_many_clients_that_flood_and_never_read_stay_within_the_total(self, start, opened):
        server = start("memory_app:app", "--workers", "1", "--front-memory-max", "32MiB", interface="asgi")
        # The application waits for ever.
        server.clean_stop = False
        peak = Peak(server)
        sockets = [opened(path, *UPGRADE, to=server) for path in ("/large", "/ignores") * 60]
        for connection in sockets:
            connection.setblocking(False)
        block = memoryview(TINY["ping of 125 bytes"] * 500)
        sent = dict.fromkeys(sockets, 0)
        until = time.monotonic() + 4
        while time.monotonic() < until:
            for connection in sockets:
                with contextlib.suppress(OSError):
                    # A frame that was sent in part goes on where it was.
                    sent[connection] = (sent[connection] + connection.send(block[sent[connection] :])) % len(block)
            peak.look()
        assert peak.grown < 2 * 32 * MIB
        is_served(server)
