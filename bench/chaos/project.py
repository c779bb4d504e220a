"""A directory of its own for one server: the application, the state that reloads change, the files it writes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

APPS = Path(__file__).with_name("apps")
SPIN_SOURCE = "#include <time.h>\nvoid spin(int s) { time_t end = time(0) + s; while (time(0) < end) { } }\n"
COMPILE_LIMIT_S = 60


class Project:
    """`with Project() as project:`; the directory is gone after the block."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="indrik-chaos-"))
        self.run_log = self.directory / "run.log"
        self.pid_file = self.directory / "server.pid"
        # A socket's path may have about a hundred bytes.
        self.control = self.directory / "ctl"
        for source in APPS.glob("*.py"):
            shutil.copy(source, self.directory)
        self._state: dict[str, object] = {"VERSION": 1, "IMPORT_S": 0.0, "LIFESPAN_FAILS": False, "WARM_STATUS": 200}
        self.change()

    def change(self, broken: str = "", **state: object) -> None:
        """Writes what the application's next import finds; `broken` is a line of Python put before it."""
        self._state |= state
        lines = [broken, *(f"{name} = {value!r}" for name, value in self._state.items())]
        new = self.directory / "state.new"
        new.write_text("\n".join(lines) + "\n")
        new.replace(self.directory / "state.py")

    def runs(self) -> Counter[str]:
        """How often each POST was begun."""
        return Counter(self.run_log.read_text().split()) if self.run_log.exists() else Counter()

    def environment(self) -> dict[str, str]:
        return {"CHAOS_RUN_LOG": str(self.run_log), "PYTHONDONTWRITEBYTECODE": "1"}

    def spin_library(self) -> Path | None:
        """A busy loop in C, if there is a compiler."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            return None
        source, library = self.directory / "spin.c", self.directory / "spin.so"
        source.write_text(SPIN_SOURCE)
        command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(source)]
        done = subprocess.run(command, capture_output=True, timeout=COMPILE_LIMIT_S, check=False)
        return library if done.returncode == 0 else None

    def members(self) -> list[int]:
        """Every process that runs in this directory: servers and workers, whoever their parent is by now."""
        found = []
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) != os.getpid():
                try:
                    if os.readlink(f"/proc/{name}/cwd") == str(self.directory):
                        found.append(int(name))
                except OSError:
                    continue
        return found

    def __enter__(self) -> Project:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
