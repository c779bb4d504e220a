"""The machine the numbers come from: its kind for the report, and which core serves and which one loads."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

# 10,000 idle connections need as many descriptors in the server and in the client.
OPEN_FILES_WANTED = 65_536


@dataclass(frozen=True)
class Cores:
    """`server` and `load` are lists for taskset; `everything` is both."""

    server: str
    load: str
    everything: str


def pick_cores() -> Cores:
    """The first allowed CPU serves, the last one loads. With a single CPU both share it, and the report says so."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(str(allowed[0]), str(allowed[-1]), ",".join(dict.fromkeys((str(allowed[0]), str(allowed[-1])))))


def end_cleanly_on_sigterm() -> None:
    """Without it a harness that is told to end would leave the server it was measuring behind."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)


def raise_open_files() -> int:
    """Raises the limit of open files for us and all servers we start; returns what we got."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (max(OPEN_FILES_WANTED, hard), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return wanted
        except (ValueError, PermissionError):
            continue
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def describe(cores: Cores) -> list[str]:
    """Lines for the report. Neither host name nor path: a result file is published."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    # Only the version: what follows it names a distribution's or a provider's build.
    kernel = platform.release().partition("-")[0]
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    return [
        f"CPU: {model}, {os.cpu_count()} cores; server on core {cores.server}, load on core {cores.load}",
        f"memory: {memory_kib / 1024 / 1024:.0f} GiB; kernel {kernel} {platform.machine()}",
        f"CPython {platform.python_version()}, {_build_kind()}",
        f"load average at the start: {os.getloadavg()[0]:.2f}",
    ]


def require_tools() -> None:
    """Installs what is missing with apt when we are root, and says so; otherwise says what to install."""
    missing = [package for tool, package in _TOOLS if shutil.which(tool) is None]
    if not any(Path(p).exists() for p in ("/usr/include/ev.h", "/usr/local/include/ev.h")):
        missing.append("libev-dev")
    if not missing:
        return
    command = ["apt-get", "install", "-y", "-q", *missing]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SystemExit(f"bench: missing {', '.join(missing)}; install them, e.g. with: sudo {' '.join(command)}")
    print(f"bench: installing {', '.join(missing)} with apt", flush=True)
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench: `{' '.join(command)}` failed; run it by hand (perhaps `apt-get update` first)")


# (program looked for, Debian package that has it). libev's header is for bjoern, which is compiled.
_TOOLS = [("wrk", "wrk"), ("taskset", "util-linux"), ("cc", "gcc")]


def _build_kind() -> str:
    """A Python built without profile-guided optimisation makes every server slower, and the pure-C ones the least."""
    import sysconfig

    arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
    return f"built {'with' if '--enable-optimizations' in arguments else 'without'} --enable-optimizations"
