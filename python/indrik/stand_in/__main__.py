"""``python -m indrik.stand_in`` prints the directory, before what ``PYTHONPATH`` has already."""

from __future__ import annotations

import os

from indrik.stand_in import DIRECTORY


def main() -> None:
    """Prints the value for the variable."""
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != DIRECTORY]
    print(os.pathsep.join([DIRECTORY, *paths]))


if __name__ == "__main__":
    main()
