"""The children of a worker: what the application forks inherits handlers and descriptors that are the worker's alone.

A signal to such a child (`Process.terminate`, the end of a `multiprocessing.Pool`) is for the child, and what it
writes is not for the supervisor. Where Python forks, a child lets go of both before anything else runs in it;
where a library in C forks, the handlers see that they are not at home.
"""

from __future__ import annotations

import faulthandler
import os
from _thread import get_ident

from indrik import logs

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any
else:
    import _signal as signal

_HANDLED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGTTIN", "SIGTTOU", "SIGUSR1", "SIGABRT", "SIGURG", "SIGWINCH")
"""Signals that a zygote or a worker may have a handler for."""

_shown: tuple[int, ...] = ()
_descriptors: list[int] = []
_masks: dict[int, Any] = {}
"""Of threads that fork at this moment: which signals they held back before."""
_home = 0
_is_registered = False


def disown(descriptors: list[int], shown: tuple[int, ...]) -> None:
    """From now on children let go of these descriptors, of our handlers, and of the signals at which this process
    shows its stacks."""
    global _descriptors, _shown, _home, _is_registered
    _descriptors, _shown, _home = descriptors, shown, os.getpid()
    if not _is_registered:
        _is_registered = True
        os.register_at_fork(before=_hold_signals, after_in_parent=_release_signals, after_in_child=_let_go)


def stop() -> None:
    """This process is no worker any more: what it forks is the server's own."""
    global _home
    _home = 0


def is_home() -> bool:
    """Whether this process is the worker or zygote itself, and not what the application forked from it."""
    return _home != 0


def is_foreign(number: int) -> bool:
    """To be asked by a handler of ours: in a child, which then gets what the signal does by default."""
    if os.getpid() == _home:
        return False
    signal.signal(number, _default(number))
    os.kill(os.getpid(), number)
    return True


def _hold_signals() -> None:
    """A signal that reaches a child before it has let go of our handlers would be lost: it waits until then."""
    if _home:
        held = {getattr(signal, name) for name in _HANDLED}
        _masks[get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, held)


def _release_signals() -> None:
    mask = _masks.pop(get_ident(), None)
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _let_go() -> None:
    global _home
    if _home:
        _home = 0
        _reset_handlers()
        _release_signals()
        _forget_descriptors()


def _reset_handlers() -> None:
    for name in _HANDLED:
        number = getattr(signal, name)
        handler = signal.getsignal(number)
        if str(getattr(handler, "__module__", None)).split(".")[0] == "indrik":
            signal.signal(number, _default(number))
    for number in _shown:
        faulthandler.unregister(number)
    logs.leave_worker()


def _forget_descriptors() -> None:
    try:
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        # It keeps them, and does not use them.
        return
    for fd in _descriptors:
        # Not closed: whoever still has the number in a variable would use somebody else's file.
        os.dup2(nothing, fd, inheritable=False)
    os.close(nothing)


def _default(number: int) -> Any:
    return signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
