"""``python -m gunicorn``: the ``indrik`` command."""

from __future__ import annotations

import sys

from indrik.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
