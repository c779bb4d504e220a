"""The ``indrik`` command. Everything it does is in Rust."""

from __future__ import annotations

import sys

from indrik import command


def main() -> int:
    """Runs the command and returns its exit code."""
    typed = command.typed()
    command.restore_search_path()
    if not command.is_alone():
        command.begin_again(typed)
    return _run(typed)


def main_alone(words: list[str]) -> int:
    """As `main`, in the program that `main` has started in its place."""
    return _run(command.unpacked(words))


def _run(typed: command.Command) -> int:
    from indrik.lean import _native

    code: int = _native.main(typed)
    return code


if __name__ == "__main__":
    sys.exit(main())
