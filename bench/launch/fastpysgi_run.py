"""Runs an application under FastPySGI: `fastpysgi_run.py MODULE:NAME PORT WORKERS [uvloop]`.

Its own command can set neither workers nor the event loop. TCP_NODELAY is set because every other server sets
it (bjoern excepted, which cannot).
"""

from __future__ import annotations

import importlib
import os
import sys

import fastpysgi


def main() -> None:
    target, port, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    sys.path.insert(0, os.getcwd())
    module, _, name = target.partition(":")
    app = getattr(importlib.import_module(module), name)
    if "uvloop" in sys.argv[4:]:
        import uvloop

        fastpysgi.server.loop = uvloop.new_event_loop()
    fastpysgi.server.tcp_nodelay = 1
    fastpysgi.run(app, "127.0.0.1", port, workers=workers)


if __name__ == "__main__":
    main()
