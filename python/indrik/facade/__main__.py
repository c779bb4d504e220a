"""``python -m indrik.facade SCRIPT [ARGUMENT…]``: runs a program that embeds Gunicorn on Indrik.

The program need not be changed: ``gunicorn.app.base.BaseApplication`` and the like are Indrik's.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Runs the script as ``python SCRIPT`` would, with the facade in the place of ``gunicorn``."""
    from indrik.facade import install
    from indrik.facade._embed import run_script

    if len(sys.argv) < 2:
        sys.exit("usage: python -m indrik.facade SCRIPT [ARGUMENT ...]")
    install()
    del sys.argv[0]
    sys.path[:1] = [os.path.dirname(os.path.abspath(sys.argv[0]))]
    run_script(sys.argv[0])


if __name__ == "__main__":
    main()
