"""A directory as a team has it: an application, a `gunicorn.conf.py`, and a server started in it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

from support.server import COMMAND, IS_ORACLE, TESTS, Server, poll

RUN_SECONDS = 30.0
HELPERS = TESTS / "compat" / "helpers"
DEFAULT_APP = """
import os

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {environ['PATH_INFO']}".encode()]

application = app
"""


# Answers what the environ says the server is.
SOFTWARE_APP = """
def app(environ, start_response):
    body = environ["SERVER_SOFTWARE"].encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
# Answers "hello"; raises for /raise.
ASGI_APP = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for answer in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{answer}.complete"})
        return
    if scope["path"] == "/raise":
        raise ValueError("on purpose")
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"5")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})
"""


class Finished(NamedTuple):
    """What a command that ended by itself left."""

    code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stderr + "\n" + self.stdout


class Project:
    """Files of one project. `app.py` is there and says `PID PATH`; everything can be overwritten.

    What configuration and application run can `import recorder` and call `recorder.record("words")`;
    the test reads it back with `recorded` and `wait_for_records`.
    """

    def __init__(self, directory: Path, start: Callable[..., Server]) -> None:
        self.directory = directory
        self.records = directory / "records.txt"
        self._start = start
        directory.mkdir(parents=True, exist_ok=True)
        self.write("app.py", DEFAULT_APP)

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
        return path

    def config(self, text: str) -> Path:
        """Write `gunicorn.conf.py`, which both servers find by themselves."""
        return self.write("gunicorn.conf.py", text)

    def start(self, *arguments: str, app: str = "app:app", **options: Any) -> Server:
        """Start the server in this directory and wait until it is up; stopped after the test."""
        environment = self.environment | (options.pop("environment", None) or {})
        return self._start(app, *arguments, cwd=self.directory, environment=environment, **options)

    def run(self, *arguments: str, environment: dict[str, str] | None = None) -> Finished:
        """Run the command in this directory until it ends by itself (--check-config, mistakes)."""
        options = ["--control-socket", str(self.directory / "control")] if IS_ORACLE else []
        done = subprocess.run(
            [*COMMAND, *options, *arguments],
            cwd=self.directory,
            env=os.environ | self.environment | (environment or {}),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=RUN_SECONDS,
            start_new_session=True,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    @property
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(HELPERS), "RECORDS": str(self.records)}

    def recorded(self) -> list[tuple[int, str]]:
        """What was recorded so far, in order: (pid, words)."""
        if not self.records.exists():
            return []
        lines = [line.partition(" ") for line in self.records.read_text().splitlines()]
        return [(int(pid), words) for pid, _, words in lines]

    def words(self) -> list[str]:
        return [words for _, words in self.recorded()]

    def wait_for_records(self, *wanted: str, seconds: float = 15.0) -> list[str]:
        """Wait until each of these words has been recorded (several times, if named so)."""
        missing = lambda: [word for word in set(wanted) if self.words().count(word) < wanted.count(word)]  # noqa: E731
        poll(lambda: not missing(), f"the records {sorted(set(wanted))} in {self.records}", seconds)
        return self.words()
