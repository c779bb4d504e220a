"""Opens many keep-alive connections, makes one request on each, and then leaves them idle.

`python3 idle_client.py PORT CONNECTIONS` prints how many got their answer, then, for each line on its standard
input, how many of them are still open. It ends with its standard input.
"""

from __future__ import annotations

import resource
import selectors
import socket
import sys
import time

# One source address has about 28,000 ports; several keep us clear of those that wait in TIME_WAIT.
CONNECTIONS_PER_ADDRESS = 2_500
# So many at once as a server's backlog holds.
BATCH = 250
TIMEOUT_S = 60.0
REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
ANSWER_END = b"Hello, World!"


def main() -> None:
    port, wanted = int(sys.argv[1]), int(sys.argv[2])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted + 100:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, wanted + 100), hard))
    sockets: list[socket.socket] = []
    deadline = time.monotonic() + TIMEOUT_S
    while len(sockets) < wanted and time.monotonic() < deadline:
        served = open_batch(port, len(sockets), min(BATCH, wanted - len(sockets)), deadline)
        if not served:
            break
        sockets += served
    print(len(sockets), flush=True)
    for _line in sys.stdin:
        print(sum(map(is_open, sockets)), flush=True)


def open_batch(port: int, already: int, count: int, deadline: float) -> list[socket.socket]:
    """Opens `count` connections at once and returns those that were answered."""
    selector = selectors.DefaultSelector()
    for number in range(already, already + count):
        connection = socket.socket()
        connection.bind((f"127.0.0.{2 + number // CONNECTIONS_PER_ADDRESS}", 0))
        connection.settimeout(max(0.1, deadline - time.monotonic()))
        try:
            connection.connect(("127.0.0.1", port))
            connection.sendall(REQUEST)
        except OSError as error:
            print(f"idle client: connection {number}: {error}", file=sys.stderr)
            connection.close()
            continue
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ, bytearray())
    served = []
    while selector.get_map() and time.monotonic() < deadline:
        for key, _events in selector.select(1.0):
            if receive(key.fileobj, key.data) is False:
                continue
            selector.unregister(key.fileobj)
            if key.data.endswith(ANSWER_END):
                served.append(key.fileobj)
            else:
                key.fileobj.close()
    selector.close()
    return served


def receive(connection: socket.socket, buffer: bytearray) -> bool:
    """True when the answer is whole or the connection is over."""
    try:
        chunk = connection.recv(65_536)
    except BlockingIOError:
        return False
    except OSError:
        return True
    buffer += chunk
    return not chunk or buffer.endswith(ANSWER_END)


def is_open(connection: socket.socket) -> bool:
    """Open means: nothing to read. An idle connection that has something has been closed or reset."""
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


if __name__ == "__main__":
    main()
