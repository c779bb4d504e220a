"""WebSockets of WSGI applications, with the real libraries: Flask-SocketIO and Flask-Sock, and the bare socket."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import sys
from collections.abc import Iterable
from typing import Any

from flask import Flask, request
from flask_sock import Sock
from flask_socketio import SocketIO
from gates import mark, wait_at_gate

app = Flask(__name__)
sock = Sock(app)
socketio = SocketIO(app, async_mode=os.environ.get("TEST_ASYNC_MODE", "threading"), cors_allowed_origins="*")


@app.route("/pid")
def pid() -> str:
    return str(os.getpid())


@app.route("/library")
def library() -> str:
    return json.dumps({"mode": socketio.async_mode, "gevent": "gevent" in sys.modules})


@socketio.on("echo")
def echo(data: Any) -> Any:
    return data


@socketio.on("shout")
def shout(data: str) -> None:
    socketio.emit("heard", data.upper(), to=request.sid)  # type: ignore[attr-defined]


@socketio.on("disconnect")
def gone(*_reason: Any) -> None:
    if marks := os.environ.get("TEST_MARKS"):
        mark(marks, "disconnected")


@sock.route("/echo")
def sock_echo(ws: Any) -> None:
    while True:
        ws.send(ws.receive())


@sock.route("/once")
def sock_once(ws: Any) -> None:
    """Says something and returns: the connection is closed by the library."""
    ws.send(f"hello {request.args.get('name')}")


@sock.route("/raises")
def sock_raises(ws: Any) -> None:
    ws.send("before")
    raise RuntimeError("raised in a socket of WSGI")


@app.route("/plain")
def plain() -> str:
    """No WebSocket, whatever is asked for."""
    return "plain"


def bare(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """The socket itself: what it does is in the path."""
    what = environ["PATH_INFO"]
    end: Any = environ.get("gunicorn.socket")
    if what == "/has":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(end is not None).encode()]
    if what == "/silent":
        return []
    if what == "/refuses":
        end.sendall(b"HTTP/1.1 418 Short And Stout\r\nX-A: b\r\nContent-Length: 3\r\n\r\ntea")
        raise StopIteration
    if what == "/garbage":
        end.sendall(b"this is no answer\r\n\r\n")
        raise StopIteration
    key = environ["HTTP_SEC_WEBSOCKET_KEY"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key).digest()).decode() if what != "/wrong-key" else "wrong"
    head = f"HTTP/1.1 101 Own\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    # In pieces, and the first bytes of what follows with the last one.
    end.sendall(head[:20].encode())
    end.sendall(head[20:].encode() + b"at once ")
    if what == "/echo-bytes":
        while data := end.recv(65536):
            end.sendall(data)
    if what == "/closes-and-goes-on":
        end.close()
        wait_at_gate(environ["QUERY_STRING"])
    if what.endswith("-beside-a-child"):
        child = os.fork()
        while child == 0:
            signal.pause()
        mark(os.environ["TEST_MARKS"], f"child {child}")
    if what == "/closes-beside-a-child":
        end.close()
    if what.startswith("/flood"):
        block, sent = b"x" * 65536, 0
        try:
            while True:
                sent += end.send(block)
                mark(os.environ["TEST_MARKS"], str(sent))
        except OSError:
            mark(os.environ["TEST_MARKS"], "send raised")
    if what == "/until-end":
        while end.recv(65536):
            pass
        mark(os.environ["TEST_MARKS"], "the end")
        end.sendall(b"last words")
    raise StopIteration
