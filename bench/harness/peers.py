"""The venv of the peers: `.bench-venv`, made from `bench/requirements.txt`, and the versions found in it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent
ROOT = BENCH.parent
VENV = ROOT / ".bench-venv"
INDRIK = ROOT / ".venv" / "bin" / "indrik"
INDRIK_PYTHON = ROOT / ".venv" / "bin" / "python"
APPS = BENCH / "apps"

_VERSIONS_SHOWN = (
    "gunicorn", "granian", "uvicorn", "bjoern", "fastpysgi", "uvloop", "httptools", "flask", "django", "fastapi",
)  # fmt: skip


def ensure() -> None:
    """Installs the peers unless exactly these requirements are installed already."""
    requirements = BENCH / "requirements.txt"
    stamp = VENV / "requirements.sha256"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    print("bench: installing the peers into .bench-venv", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    if subprocess.run([*pip, "-r", str(requirements)], check=False).returncode != 0:
        raise SystemExit("bench: pip could not install bench/requirements.txt (see above)")
    stamp.write_text(digest)


def site_packages() -> Path:
    """Where the frameworks lie; Indrik's workers import them from here, so that all servers run the same code."""
    return VENV / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def versions() -> dict[str, str]:
    """Name → version of every server and framework, Indrik's first if it is installed."""
    found = {}
    if INDRIK.exists():
        found["indrik"] = _run(
            [str(INDRIK_PYTHON), "-c", "from importlib.metadata import version; print(version('indrik'))"]
        )
    code = "import sys; from importlib.metadata import version\nfor n in sys.argv[1:]: print(n, version(n))"
    for line in _run([str(VENV / "bin" / "python"), "-c", code, *_VERSIONS_SHOWN]).splitlines():
        name, _, number = line.partition(" ")
        found[name] = number
    return found


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
