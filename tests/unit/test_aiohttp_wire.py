"""The bytes between our transport and aiohttp's protocol (indrik/aiohttp_wire.py)."""

from __future__ import annotations

from typing import Any

import pytest

from indrik.aiohttp_wire import Answer, Frames, request_bytes

Message = dict[str, Any]


def read(data: bytes, size: int, **options: bool) -> tuple[list[Message], Answer]:
    """Feeds an answer in pieces of `size` bytes; bodies are joined, as their borders depend on that."""
    answer = Answer(**{"is_head": False, **options})
    messages: list[Message] = []
    for at in range(0, len(data), size):
        for message in answer.feed(data[at : at + size]):
            if messages and message["type"].endswith(".body") and messages[-1]["type"] == message["type"]:
                message["body"] = messages.pop()["body"] + message["body"]
            messages.append(message)
    return messages, answer


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: 1\r\n\r\n",
    ],
    ids=["length", "chunks", "after an interim one", "chunks with extras"],
)
def test_an_answer_is_the_same_however_it_is_cut(answer: bytes, size: int) -> None:
    messages, reader = read(answer, size)
    head = {name: value for name, value in messages[0]["headers"] if name != b"content-length"}
    assert (messages[0]["status"], head) == (200, {b"x-a": b"1"})
    assert messages[1:] == [{"type": "http.response.body", "body": b"hello", "more_body": False}]
    assert reader.complete


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(("status", "is_head"), [(204, False), (304, False), (200, True)])
def test_an_answer_without_a_body_is_complete_with_its_head(status: int, is_head: bool, size: int) -> None:
    data = b"HTTP/1.1 %d X\r\nContent-Length: 5\r\n\r\n" % status
    messages, reader = read(data, size, is_head=is_head)
    assert messages[0]["status"] == status
    assert messages[1:] == [{"type": "http.response.body", "body": b"", "more_body": False}]
    assert reader.complete


def test_an_answer_that_breaks_off_is_an_error_and_one_that_the_end_closes_is_not() -> None:
    _, cut = read(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", 100)
    with pytest.raises(ConnectionResetError):
        list(cut.end())
    _, closed = read(b"HTTP/1.0 200 OK\r\n\r\nhel", 100)
    assert [message["more_body"] for message in closed.end()] == [False]


def test_a_switch_to_a_websocket_leaves_the_frames_behind_it() -> None:
    answer = Answer(is_head=False, is_websocket=True)
    head = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: chat\r\nX-A: 1\r\n\r\n"
    messages = list(answer.feed(head + b"\x81\x02hi"))
    assert messages == [{"type": "websocket.accept", "subprotocol": "chat", "headers": [(b"x-a", b"1")]}]
    assert answer.switched and answer.rest == b"\x81\x02hi"


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536, 100_000])
def test_messages_of_every_length_survive_the_frames(length: int) -> None:
    sent = Frames().message("x" * length)
    # What a client writes is masked with zeros, so only the bit of the mask and the mask itself differ.
    head = {True: 2, length > 125: 4, length > 65535: 10}[True]
    unmasked = bytes([sent[0], sent[1] & 0x7F]) + sent[2:head] + sent[head + 4 :]
    frames = Frames()
    got = [message for at in range(0, len(unmasked), 999) for message, _ in frames.feed(unmasked[at : at + 999])]
    assert got == [{"type": "websocket.send", "text": "x" * length}]


def test_pings_are_answered_closes_are_passed_on_and_fragments_are_joined() -> None:
    frames = Frames()
    assert list(frames.feed(b"\x89\x01p")) == [(None, b"\x8a\x81\0\0\0\0p")]
    assert list(frames.feed(b"\x02\x01a\x89\x00\x80\x01b"))[1:] == [({"type": "websocket.send", "bytes": b"ab"}, b"")]
    ((message, reply),) = frames.feed(b"\x88\x05\x0f\xa0bye")
    assert message == {"type": "websocket.close", "code": 4000, "reason": "bye"}
    assert reply == b"\x88\x85\0\0\0\0\x0f\xa0bye"
    assert frames.closed


def test_a_request_keeps_its_framing_and_loses_what_belongs_to_the_connection() -> None:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"x=1",
        "headers": [
            (b"host", b"h"),
            (b"connection", b"close"),
            (b"expect", b"100-continue"),
            (b"content-length", b"3"),
        ],
    }
    assert request_bytes(scope) == ("length", b"POST /a%20b?x=1 HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\n")
    scope["headers"] = [(b"transfer-encoding", b"chunked")]
    assert request_bytes(scope) == ("chunked", b"POST /a%20b?x=1 HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n")
    scope["headers"] = []
    assert request_bytes(scope)[0] == "none"
