"""The ``indrik`` command. Everything it does is in Rust."""

from __future__ import annotations

import sys


def main() -> int:
    """Runs the command and answers its exit code."""
    from indrik.lean import _native

    code: int = _native.main(sys.argv, sys.executable)
    return code


if __name__ == "__main__":
    sys.exit(main())
