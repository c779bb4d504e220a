"""Looking into a worker while it serves: stacks, profiles, what its memory is made of.

The supervisor writes an order to the worker's socket and sends it SIGWINCH. The signal's handler, in the main thread,
has `_native.Helper` start a real thread, which obeys the orders, answers in pieces and ends. Nothing here uses what a
library may have patched (`threading`, `time`, `socket`), and nothing runs while nobody looks.
"""

from __future__ import annotations

import os
import sys

from indrik import children
from indrik.lean import _native
from indrik.messages import as_json, cut, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
    from collections.abc import Callable, Iterable
    from types import FrameType
    from typing import Any
else:
    import _signal as signal
    import _socket as socket

LOOK = signal.SIGWINCH
"""It is ignored where nobody looks, also by what the application starts."""
WAITING_MAX = 1_000
"""Tasks or greenlets that are looked at."""
ANSWER_CHARS_MAX = 4_000_000
"""Of an answer; what is left out is said."""
GROUPS_MAX = 200
"""Different places where tasks or greenlets wait."""
NAMED_MAX = 5
"""Tasks of a group that are named."""
SWITCH_SECONDS = 0.0005
SWITCH_SECONDS_ALONE = 0.0001
"""While a profile is made; see `_switch_interval`."""
TRACED_FRAMES = 10
"""Frames that `tracemalloc` keeps of each allocation."""
TOP = 20
"""Places that are shown of what it has found."""

_PIECE_CHARS = 10_000
_PIECES_AT_ONCE = 6
_PAUSE_SECONDS = 0.05
_MESSAGE_BYTES_MAX = 64 * 1024

_loop: Any = None
_lifespan: Any = None
_greenlets: dict[int, tuple[int, Any]] = {}


def begin(channel: Any, control: socket.socket) -> Inside:
    """From now on this worker can be looked into."""
    look = Inside(channel, control)
    signal.signal(LOOK, look.wake)
    return look


def watch_loop(loop: Any, lifespan: Any) -> None:
    """Requests are tasks of this event loop. The task of the lifespan waits all the time, and is in no profile."""
    global _loop, _lifespan
    _loop, _lifespan = loop, lifespan


def watch_greenlets(running: dict[int, tuple[int, Any]]) -> None:
    """Requests are greenlets: by slot, with which use of the slot it is."""
    global _greenlets
    _greenlets = running


class Inside:
    """One worker, as who looks into it sees it."""

    def __init__(self, channel: Any, control: socket.socket) -> None:
        self._channel = channel
        self._control = control
        self._main = channel.main_thread()
        self._helper = _native.Helper(self._serve)
        self._profiles: int | None = None
        self._is_stopped = False
        self._baseline: Any = None

    def wake(self, number: int, _frame: FrameType | None) -> None:
        """The handler of the signal that says that there is an order."""
        if children.is_foreign(number):
            return
        try:
            self._helper.start()
        except OSError as error:
            self._say({"number": 0, "why": f"cannot start a thread to look into the worker: {error}"})

    def stop(self) -> None:
        """Ends what runs, and waits for that."""
        self._helper.stop()

    def _serve(self) -> None:
        """Obeys all orders that are there. On the helper's thread."""
        while (order := self._order()) is not None:
            self._obey(order)

    def _order(self) -> dict[str, Any] | None:
        """The next order. What else comes on the socket is for somebody else, and stays."""
        try:
            data = self._control.recv(_MESSAGE_BYTES_MAX, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            order = read(data) if data else None
            if not isinstance(order, dict) or "inside" not in order:
                return None
            self._control.recv(_MESSAGE_BYTES_MAX, socket.MSG_DONTWAIT)
            return order
        except OSError:
            return None

    def _obey(self, order: dict[str, Any]) -> None:
        number, what = order["number"], order["inside"]
        if what == "stop":
            self._is_stopped = self._is_stopped or number == self._profiles
            return
        if what == "profile" and self._profiles is not None:
            self._say({"number": number, "why": "a profile of this worker is under way"})
            return
        self._say({"number": number, "begins": True})
        try:
            text = self._answer(what, number, order)
        except Exception as error:
            self._say({"number": number, "why": f"{type(error).__name__}: {cut(str(error))}"})
        else:
            self._say_all(number, text)

    def _answer(self, what: str, number: int, order: dict[str, Any]) -> str:
        if what == "stacks":
            return as_json(self._stacks())
        if what == "profile":
            return self._profile(number, order)
        return as_json(self._trace(order["word"]))

    def _say_all(self, number: int, text: str) -> None:
        """In pieces, slowly enough for a supervisor that hears others as well."""
        left_out = max(0, len(text) - ANSWER_CHARS_MAX)
        text = text[:ANSWER_CHARS_MAX]
        for count, at in enumerate(range(0, len(text), _PIECE_CHARS)):
            if count % _PIECES_AT_ONCE == _PIECES_AT_ONCE - 1 and not self._helper.pause(_PAUSE_SECONDS):
                return
            self._say({"number": number, "piece": text[at : at + _PIECE_CHARS]})
        self._say({"number": number, "left_out": left_out})

    def _say(self, message: dict[str, Any]) -> None:
        data = as_json({"event": "inside"} | message).encode()
        while True:
            try:
                self._control.send(data, socket.MSG_DONTWAIT)
                return
            except BlockingIOError:
                if not self._helper.pause(_PAUSE_SECONDS):
                    return
            except OSError:
                return

    # --- stacks

    def _stacks(self) -> dict[str, Any]:
        names = {self._main: "MainThread"} | _thread_names()
        threads = [
            {"name": names.get(ident, "(started by a library)"), "ident": ident, "frames": frames, "request": of}
            for ident, frames, of in _native.thread_stacks(self._channel)
        ]
        owners = dict(_native.owners(self._channel))
        tasks = [(_native.await_stack(task.get_coro()), task.get_name(), owners.get(id(task))) for task in _tasks()]
        greenlets = list(_greenlet_stacks())
        return {"threads": threads, "tasks": _grouped(tasks), "greenlets": _grouped(greenlets)}

    # --- profiles

    def _profile(self, number: int, order: dict[str, Any]) -> str:
        package = os.path.dirname(os.path.abspath(__file__))
        sampler = _native.Sampler(self._channel, order["mode"] == "cpu", package)
        self._profiles, self._is_stopped = number, False
        interval = sys.getswitchinterval()
        try:
            sys.setswitchinterval(_switch_interval())
            times = (float(order["seconds"]), float(order["rate"]))
            sampler.run(self._helper, times, self._goes_on, _waiting)
        finally:
            sys.setswitchinterval(interval)
            self._profiles = None
        samples, lines = sampler.result()
        return "\n".join([str(samples), *sorted(lines), ""])

    def _goes_on(self) -> bool:
        """Whether the profile under way is still wanted; obeys what else is asked meanwhile."""
        while not self._is_stopped and (order := self._order()) is not None:
            self._obey(order)
        return not self._is_stopped

    # --- memory

    def _trace(self, word: str) -> dict[str, Any]:
        import tracemalloc

        if word == "start":
            self._baseline = None
            tracemalloc.start(TRACED_FRAMES)
            self._baseline = tracemalloc.take_snapshot()
        elif word == "stop":
            self._baseline = None
            tracemalloc.stop()
        elif not tracemalloc.is_tracing():
            raise RuntimeError("nothing is traced here: begin with trace start")
        else:
            return {"tracing": True, "memory": list(tracemalloc.get_traced_memory()), **self._top(tracemalloc)}
        return {"tracing": tracemalloc.is_tracing()}

    def _top(self, tracemalloc: Any) -> dict[str, Any]:
        """What has grown since the beginning, by line and by traceback."""
        ours = tracemalloc.Filter(False, tracemalloc.__file__)
        now = tracemalloc.take_snapshot().filter_traces([ours])
        before = self._baseline or tracemalloc.Snapshot((), TRACED_FRAMES)
        found = {}
        for key in ("lineno", "traceback"):
            grown = [it for it in now.compare_to(before, key) if it.size_diff > 0]
            grown.sort(key=lambda it: it.size_diff, reverse=True)
            found[key] = [
                {"bytes": it.size_diff, "blocks": it.count_diff, "total": it.size, "frames": _traced(it.traceback)}
                for it in grown[:TOP]
            ]
        return found


def _traced(traceback: Iterable[Any]) -> list[str]:
    """From the innermost, as stacks are."""
    return [f"{frame.filename}:{frame.lineno}" for frame in reversed(list(traceback))]


def _thread_names() -> dict[int, str]:
    """As `threading` knows them; where that is patched, these are greenlets."""
    threading = sys.modules.get("threading")
    active = dict(getattr(threading, "_active", {}))
    return {ident: str(getattr(thread, "_name", "")) for ident, thread in active.items()}


def _tasks() -> list[Any]:
    """Tasks that wait. The one that runs is on its thread's stack."""
    loop = _loop
    if loop is None or "asyncio" not in sys.modules:
        return []
    asyncio = sys.modules["asyncio"]
    current = asyncio.current_task(loop)
    return [task for task in asyncio.all_tasks(loop) if task is not current][:WAITING_MAX]


def _waiting() -> tuple[list[tuple[int, Any]], dict[int, tuple[int, Any]]]:
    """For the sampler: tasks and greenlets."""
    tasks = [(id(task), task.get_coro()) for task in _tasks() if task is not _lifespan]
    return tasks, {slot: it for slot, it in list(_greenlets.items())[:WAITING_MAX] if not _is_dead(it[1])}


def _switch_interval() -> float:
    """How soon a thread gives the interpreter's lock away that somebody waits for. Who looks must not wait until a
    short request is over. Where threads fight for the lock, they should not do so too often."""
    return SWITCH_SECONDS_ALONE if len(sys._current_frames()) <= 2 else SWITCH_SECONDS


def _is_dead(greenlet: Any) -> bool:
    return bool(getattr(greenlet, "dead", True))


def _greenlet_stacks() -> Iterable[tuple[list[str], str, tuple[int, int] | None]]:
    """Of greenlets that wait, whoever made them."""
    module = sys.modules.get("greenlet")
    if module is None:
        return
    import gc

    # A list first: who goes through one that grows may not end.
    owners = {id(it): (slot, generation) for slot, (generation, it) in list(_greenlets.items())}
    count = 0
    for it in gc.get_objects():
        if isinstance(it, module.greenlet) and not it.dead and it.gr_frame is not None:
            yield _native.frame_stack(it.gr_frame), type(it).__name__, owners.get(id(it))
            count += 1
            if count == WAITING_MAX:
                return


def _grouped(waiting: Iterable[tuple[list[str], str, tuple[int, int] | None]]) -> list[dict[str, Any]]:
    """Those that wait at the same place together, the largest groups first."""
    groups: dict[tuple[str, ...], dict[str, Any]] = {}
    for frames, name, of in waiting:
        new = {"count": 0, "frames": frames, "names": [], "requests": []}
        group = groups.setdefault(tuple(frames), new)
        group["count"] += 1
        if len(group["names"]) < NAMED_MAX:
            group["names"].append(name)
        if of is not None and len(group["requests"]) < NAMED_MAX:
            group["requests"].append(of)
    by_size: Callable[[dict[str, Any]], int] = lambda group: group["count"]  # noqa: E731
    return sorted(groups.values(), key=by_size, reverse=True)[:GROUPS_MAX]
