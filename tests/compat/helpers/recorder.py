"""Imported by configurations and applications under test: leave a line for the test to read."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

# Gunicorn looks at the number of positional parameters, so each wrapper has exactly its hook's.
ARITY = {
    "on_starting": 1,
    "on_reload": 1,
    "when_ready": 1,
    "nworkers_changed": 3,
    "pre_fork": 2,
    "post_fork": 2,
    "post_worker_init": 1,
    "pre_request": 2,
    "post_request": 4,
    "worker_int": 1,
    "worker_abort": 1,
    "worker_exit": 2,
    "child_exit": 2,
    "pre_exec": 1,
    "on_exit": 1,
}


def record(*words: object) -> None:
    """Append one line, in one write, so that processes do not mix theirs."""
    line = " ".join(str(word) for word in (os.getpid(), *words)) + "\n"
    descriptor = os.open(os.environ["RECORDS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def record_all_hooks(names: dict[str, Any]) -> None:
    """Put a recording function around every hook that `names` (a configuration's globals) may set."""
    for hook, arity in ARITY.items():
        names[hook] = around(hook, arity, names.get(hook))


def around(hook: str, arity: int, inner: Callable[..., Any] | None) -> Callable[..., Any]:
    def called(*arguments: Any) -> None:
        record(hook)
        if inner is not None:
            inner(*arguments[: inner.__code__.co_argcount])

    if arity == 1:
        return lambda a: called(a)
    if arity == 2:
        return lambda a, b: called(a, b)
    if arity == 3:
        return lambda a, b, c: called(a, b, c)
    return lambda a, b, c, d: called(a, b, c, d)
