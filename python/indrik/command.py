"""The command as it was typed, and the process that it starts: alone, though other code ran before.

What is put around the command (``opentelemetry-instrument``, ``ddtrace-run``, ``python -m debugpy``, any
``sitecustomize``) has run when `__main__` begins, and may have started threads. Neither does the supervisor want
them, nor do they stay out of its way; they belong into the zygote and its workers, whose interpreters run all of
it again. So the process becomes another program in its place, with the same number.
"""

from __future__ import annotations

import os
import sys

_AGAIN = (
    "import sys; sys.path[:1] == [''] and sys.path.pop(0); sys.path.append(sys.argv[1]); "
    "from indrik.__main__ import main_alone; sys.exit(main_alone(sys.argv[2:]))"
)
"""What the interpreter runs in its place. That it is called otherwise ends the matter: threads that are here
again come from what is loaded into any program, and the supervisor can live with them."""

_SEARCH_PATH = "PYTHONPATH"
_WITH_VALUE = "WX"
"""Options of one letter that take a value, in the same word or the next one."""
_WITH_LONG_VALUE = "--check-hash-based-pycs"
_NOT_FOR_OTHERS = "ix"
"""What concerns the program that was typed only: to ask for more afterwards, to skip its first line."""


class Command:
    """What the supervisor is to know of how it was started; read by `_native.main`."""

    def __init__(self, argv: list[str], line: list[str], file: str) -> None:
        self.argv = argv
        """``sys.argv``: the program and what follows it."""
        self.line = line
        """``sys.orig_argv``: the interpreter, its options, the program, what follows it."""
        self.file = file
        """``__main__.__file__``, or nothing."""
        self.python = sys.executable
        self.python_options = interpreter_options(line)

    def packed(self) -> list[str]:
        """As arguments, for `unpacked`."""
        return [self.file, str(len(self.argv)), *self.argv, *self.line]


def typed() -> Command:
    """The command that started this process."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    return Command(list(sys.argv), list(sys.orig_argv), file or "")


def unpacked(words: list[str]) -> Command:
    """The command that another process has packed."""
    count = 2 + int(words[1])
    return Command(words[2:count], words[count:], words[0])


def show(command: Command) -> None:
    """Has this process's code see the command."""
    sys.argv[:] = command.argv
    sys.orig_argv[:] = command.line
    if command.file:
        sys.modules["__main__"].__file__ = command.file


def restore_search_path() -> None:
    """Gives ``PYTHONPATH`` the value that it was typed with: opentelemetry takes itself out of it, and would not be
    in the workers."""
    value = search_path_as_typed()
    if value is not None:
        os.environ[_SEARCH_PATH] = value


def search_path_as_typed() -> str | None:
    """``PYTHONPATH`` as this process was given it; None if it was not, or if that cannot be told."""
    try:
        with open("/proc/self/environ", "rb") as file:
            given = file.read()
    except OSError:
        return None
    prefix = _SEARCH_PATH.encode() + b"="
    for entry in given.split(b"\0"):
        if entry.startswith(prefix):
            return os.fsdecode(entry[len(prefix) :])
    return None


def is_alone() -> bool:
    """Whether this process has one thread."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return True


def begin_again(command: Command) -> None:
    """Becomes the same command without what ran before it. Returns only if that cannot be done."""
    import _signal

    # Debuggers replace the function in `os`, to be in the next program as well.
    import posix

    # A profiler's timers would go on, and their signals end a program that does not know them.
    for timer in (_signal.ITIMER_REAL, _signal.ITIMER_VIRTUAL, _signal.ITIMER_PROF):
        _signal.setitimer(timer, 0)
    sys.stdout.flush()
    sys.stderr.flush()
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    words = [sys.executable, *command.python_options, "-S", "-c", _AGAIN, package, *command.packed()]
    try:
        posix.execve(sys.executable, words, os.environ)
    except OSError:
        # Too long a command line, or no interpreter to be found: then with the threads.
        return


def interpreter_options(line: list[str]) -> list[str]:
    """The interpreter's own options in a command line, without what names the program."""
    options: list[str] = []
    words = iter(line[1:])
    for word in words:
        if word == _WITH_LONG_VALUE:
            options += [word, next(words, "")]
            continue
        if len(word) < 2 or word[0] != "-" or word[1] == "-":
            break
        letters, value, program = _split(word[1:])
        letters = "".join(letter for letter in letters if letter not in _NOT_FOR_OTHERS)
        if letters:
            options.append("-" + letters + value)
            if letters[-1] in _WITH_VALUE and not value:
                options.append(next(words, ""))
        if program:
            break
    return options


def _split(letters: str) -> tuple[str, str, bool]:
    """Letters of options, the value of the last one if it is in the same word, and whether the program follows."""
    for position, letter in enumerate(letters):
        if letter in "cm":
            return letters[:position], "", True
        if letter in _WITH_VALUE:
            return letters[: position + 1], letters[position + 1 :], False
    return letters, "", False
