"""An answer is complete when its bytes are: what the application does after that is done to the end."""

from __future__ import annotations

import pytest
from support.server import Server, poll
from support.wire import Wire

TASKS = 200


@pytest.fixture
def started(start, tmp_path):
    def started(app: str) -> tuple[Server, object]:
        path = tmp_path / "marks"
        path.touch()
        server = start(app, "--workers", "1", interface="asgi", environment={"TEST_MARKS": str(path)})
        return server, lambda: path.read_text().splitlines()

    return started


def ask_and_leave(server: Server, method: str, target: str) -> None:
    """Take every byte of the answer, and be gone in the same moment."""
    with Wire(server.connect()) as wire:
        wire.get(target, method=method)


@pytest.mark.parametrize("app", ["bare", "wrapped"])
@pytest.mark.parametrize("path", ["plain", "streamed", "chunked", "bodiless"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_background_task_runs_though_its_client_left_with_the_answer(started, app, path, method):
    server, marks = started(f"background_app:{app}")
    for number in range(TASKS):
        ask_and_leave(server, method, f"/{path}?what={number}")
    poll(lambda: len(marks()) >= TASKS, f"{TASKS} background tasks")
    assert sorted(marks(), key=int) == [str(number) for number in range(TASKS)]
    assert "Exception" not in server.log()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_between_the_last_byte_and_the_word_that_it_was_the_last_nothing_is_raised(started, gate, method):
    """`receive` says nothing of a client that has its answer; it does when the application has said the end."""
    server, marks = started("background_app:early")
    ask_and_leave(server, method, f"/?{gate.path}")
    gate.arrived()
    gate.release()
    poll(marks, "the end of the request")
    assert marks() == ["pending http.disconnect"]
    assert "Exception" not in server.log()
