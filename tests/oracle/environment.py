"""What the suites need: Gunicorn's source distribution, frameworks in an environment of their own, servers."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SERVERS = ["gunicorn", "indrik"]
GUNICORN = "gunicorn==27.0.1"
# The frameworks are the suites' own list; bounds keep what was tried.
PACKAGES = [
    "gunicorn[http2]==27.0.1",
    "blacksheep>=2,<3",
    "channels>=4,<5",
    "django>=5,<5.3",
    "fastapi>=0.110,<1",
    "gevent>=24.10.1,<27",
    "httptools>=0.6,<1",
    "httpx[http2]>=0.27,<1",
    "litestar>=2.7,<3",
    "pytest-asyncio>=0.23,<2",
    "pytest-timeout>=2.3,<3",
    "pytest>=8,<10",
    "python-multipart>=0.0.9,<1",
    "quart>=0.19,<1",
    "setproctitle>=1.3,<2",
    "starlette>=0.37,<2",
    "uvloop>=0.20,<1",
    "websockets>=13,<18",
]
START_SECONDS = 30.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.05


class Environment:
    """The work directory: `gunicorn-27.0.1/` (the source distribution), `venv/`, one directory per run."""

    def __init__(self, work: Path, nginx: str) -> None:
        self.work = work.resolve()
        self.venv = self.work / "venv"
        self.python = self.venv / "bin" / "python"
        self.nginx = shutil.which(nginx)

    def prepare(self) -> None:
        """Download and install whatever is not there yet; Indrik is taken from this checkout."""
        self.work.mkdir(parents=True, exist_ok=True)
        if not (self.venv / ".ready").exists():
            print("installing the frameworks", flush=True)
            subprocess.run([sys.executable, "-m", "venv", "--clear", self.venv], check=True)
            self.pip("install", *PACKAGES)
            (self.venv / ".ready").touch()
        if not self.sources().exists():
            print(f"downloading {GUNICORN}", flush=True)
            self.pip("download", "--no-deps", "--no-binary", ":all:", "--dest", str(self.work), GUNICORN)
            with tarfile.open(self.work / "gunicorn-27.0.1.tar.gz") as archive:
                archive.extractall(self.work, filter="data")

        # Some tests set PYTHONPATH themselves, so Indrik must be found without it.
        (packages,) = self.venv.glob("lib/python3*/site-packages")
        (packages / "indrik.pth").write_text(f"{REPOSITORY / 'python'}\n")

    def pip(self, *arguments: str) -> None:
        command = [self.python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
        subprocess.run(command, check=True)

    def sources(self) -> Path:
        return self.work / "gunicorn-27.0.1"

    def command(self, server: str) -> list[str]:
        """How this server is started; arguments of `gunicorn` follow."""
        return [str(self.python), "-m", server]

    def variables(self, server: str, *paths: Path) -> dict[str, str]:
        """The environment of servers and tests."""
        inherited = {name: value for name, value in os.environ.items() if name != "GUNICORN_CMD_ARGS"}
        return inherited | {
            "ORACLE_COMMAND": " ".join(self.command(server)),
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "PYTHONDONTWRITEBYTECODE": "1",
        }


class Running:
    """One process of a suite: started, awaited on its port, stopped."""

    def __init__(self, command: list[str], port: int, cwd: Path, variables: dict[str, str]) -> None:
        self.log = cwd / f"server-{port}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=cwd, env=variables, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + START_SECONDS
        pause = threading.Event()
        while not connectable(port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise SystemExit(f"{' '.join(command)} did not start:\n{self.log.read_text()[-4000:]}")
            pause.wait(POLL_SECONDS)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def connectable(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Ports that are free now, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
