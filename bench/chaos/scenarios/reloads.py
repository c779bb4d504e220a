"""Reloads: of good code, again and again, and of code that does not boot."""

from __future__ import annotations

import time

from ..load import Load, Window, window
from ..project import Project
from ..report import Rows
from ..subjects import NotApplicable, Options, Subject, has_command, indrik_knows

CONNECTIONS = 64
IMPORT_S = 2.0
P99_RATIO_MAX = 3.0
WARM_UP_S = 1.0
# Between two reloads: the old generation drains, and the next one starts from rest.
GAP_S = 0.5
# A peer whose command does not say how it ended: so long is waited for what becomes of it.
BROKEN_WAIT_S = 3.0


def good(name: str, rows: Rows, full: bool) -> None:
    for app in ("flask", "fastapi"):
        _good(name, app, rows, reloads=50 if full else 4, before_s=10.0 if full else 4.0)


def _good(name: str, app: str, rows: Rows, reloads: int, before_s: float) -> None:
    with Project() as project:
        project.change(IMPORT_S=IMPORT_S)
        options = Options(app=app)
        with Subject(name, options, project) as server, Load(server.port, connections=CONNECTIONS) as load:
            window(WARM_UP_S)
            before = window(before_s)
            during: list[Window] = []
            refused = arrived = 0
            for version in range(2, reloads + 2):
                project.change(VERSION=version)
                began = time.monotonic()
                code, words = server.reload()
                refused += code != 0
                if code:
                    print(f"  reload {version}: exit code {code}: {words[-500:]}")
                if not server.wait_for_version(version):
                    print(f"  reload {version}: its code never answered: {server.log_tail()}")
                    break
                arrived += 1
                time.sleep(GAP_S)
                during.append((began, time.monotonic()))
            result = load.stop()
        rows.zero(f"{app}: failed requests", result.failed, result.shown(), of=result.ok + result.failed)
        rows.check(f"{app}: reloads that arrived", "all", f"{arrived} of {reloads}", arrived == reloads and not refused)
        _ratio(rows, f"{app}: p99", result.p99_ms([before]), result.p99_ms(during))


def _ratio(rows: Rows, what: str, before_ms: float, during_ms: float) -> None:
    ratio = during_ms / before_ms if before_ms else float("nan")
    rows.none(f"{what} before", f"{before_ms:.1f} ms")
    rows.none(f"{what} during", f"{during_ms:.1f} ms")
    rows.at_most(f"{what} during / before", P99_RATIO_MAX, ratio, " ×")


# --- broken code

# What is broken: the application it is broken in, what is changed, and what the answer must name.
BROKEN: dict[str, tuple[str, dict, str]] = {
    "import error": ("flask", {"broken": "import a_module_that_does_not_exist"}, "a_module_that_does_not_exist"),
    "syntax error": ("flask", {"broken": "def def"}, "SyntaxError"),
    "lifespan failure": ("fastapi", {"LIFESPAN_FAILS": True}, "the lifespan fails"),
    "warm-up 500": ("flask", {"WARM_STATUS": 500}, "500"),
}


def broken(name: str, rows: Rows, full: bool) -> None:
    for what in BROKEN:
        try:
            _broken(name, what, rows, reloads=20 if full else 2)
        except NotApplicable as reason:
            rows.none(f"{what}: failed requests", str(reason))


def _broken(name: str, what: str, rows: Rows, reloads: int) -> None:
    app, change, named = BROKEN[what]
    if what == "warm-up 500" and name == "indrik" and not indrik_knows("--warmup"):
        raise NotApplicable("this build has no --warmup")
    mended = {"broken": "", "LIFESPAN_FAILS": False, "WARM_STATUS": 200}
    with Project() as project:
        options = Options(app=app, warm_up="/warm" if what == "warm-up 500" else "")
        with Subject(name, options, project) as server, Load(server.port, connections=CONNECTIONS) as load:
            window(WARM_UP_S)
            still_old = said_so = 0
            for _ in range(reloads):
                project.change(VERSION=2, **change)
                code, words = server.reload()
                if not _tells(name):
                    time.sleep(BROKEN_WAIT_S)
                still_old += all(server.fetch(seconds=5).version == 1 for _ in range(4))
                said_so += code not in (0, -1) and named in words
                if not server.is_up():
                    break
            result = load.stop()
            project.change(**mended, VERSION=3)
            mends = server.is_up() and server.reload()[0] == 0 and server.wait_for_version(3, seconds=30)
        rows.zero(f"{what}: failed requests", result.failed, result.shown())
        rows.check(f"{what}: the old code still answers", "always", f"{still_old} of {reloads}", still_old == reloads)
        if name == "indrik":
            shown = f"{said_so} of {reloads}"
            rows.check(f"{what}: exit code not 0, with the traceback", "always", shown, said_so == reloads)
        rows.check(f"{what}: a reload of mended code arrives", "yes", "yes" if mends else "no", mends)


def _tells(name: str) -> bool:
    """Whether the command that reloads ends with the reload."""
    return name == "indrik" and has_command("reload")
