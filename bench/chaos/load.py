"""A running load client, and what it found."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from array import array
from dataclasses import dataclass
from pathlib import Path

from .client import Options

STOP_LIMIT_S = 60.0

Window = tuple[float, float]


@dataclass(frozen=True)
class Result:
    """What came of a load. Times are those of `time.monotonic`, the same in all processes."""

    ok: int
    by_kind: dict[str, int]
    failures: list[tuple[float, str, str, str]]
    reconnects: int
    seconds: float
    moments: array
    times: array
    versions: array
    pids: array

    @property
    def failed(self) -> int:
        return sum(self.by_kind.values())

    def failed_but(self, *kinds: str) -> int:
        return sum(count for kind, count in self.by_kind.items() if kind not in kinds)

    def shown(self) -> str:
        return ", ".join(f"{count} {kind}" for kind, count in self.by_kind.items()) or "none"

    def p99_ms(self, windows: list[Window]) -> float:
        """Of the answers that came within one of the windows."""
        found = []
        for begin, end in windows:
            found += [took for at, took in zip(self.moments, self.times, strict=True) if begin <= at <= end]
        if not found:
            return float("nan")
        found.sort()
        return found[min(len(found) - 1, len(found) * 99 // 100)] * 1e3

    def rate(self, window: Window) -> float:
        begin, end = window
        return sum(1 for at in self.moments if begin <= at <= end) / (end - begin)


class Load:
    """`client.py` as a process, from its start to its counts."""

    def __init__(self, port: int, **options: object) -> None:
        self._samples = Path(tempfile.mkstemp(prefix="chaos-", suffix=".samples")[1])
        chosen = Options(port=port, samples=str(self._samples), **options)  # type: ignore[arg-type]
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("client.py")), json.dumps(dataclasses.asdict(chosen))],
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait(self, seconds: float) -> Result:
        """Until it has sent all it was to send."""
        return self._collect(seconds)

    def stop(self) -> Result:
        """Sends nothing more; what is under way is still awaited."""
        if self._process.poll() is None:
            self._process.terminate()
        return self._collect(STOP_LIMIT_S)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()
        self._samples.unlink(missing_ok=True)

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _collect(self, seconds: float) -> Result:
        try:
            output, _ = self._process.communicate(timeout=seconds)
            told = json.loads(output)
        except (subprocess.TimeoutExpired, json.JSONDecodeError):
            self.kill()
            return Result(
                0, {"the load client did not report": 1}, [], 0, 0.0, array("d"), array("d"), array("q"), array("q")
            )
        moments, times, versions, pids = array("d"), array("d"), array("q"), array("q")
        raw = self._samples.read_bytes()
        self._samples.unlink(missing_ok=True)
        part = len(raw) // 4
        for column, place in ((moments, 0), (times, 1), (versions, 2), (pids, 3)):
            column.frombytes(raw[place * part : (place + 1) * part])
        failures = [tuple(failure) for failure in told["failures"]]
        return Result(
            told["ok"], told["by_kind"], failures, told["reconnects"], told["seconds"], moments, times, versions, pids
        )


def window(seconds: float) -> Window:
    """Lets so much time pass; the window it was."""
    begin = time.monotonic()
    time.sleep(seconds)
    return begin, time.monotonic()
