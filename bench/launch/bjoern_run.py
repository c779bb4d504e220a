"""Runs an application under bjoern, which has no command of its own: `bjoern_run.py MODULE:NAME PORT WORKERS`.

With several workers each one is forked before it listens and binds the port with SO_REUSEPORT, the way bjoern's
documentation recommends.
"""

from __future__ import annotations

import importlib
import os
import sys

import bjoern

BACKLOG = 2048


def main() -> None:
    target, port, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    sys.path.insert(0, os.getcwd())
    module, _, name = target.partition(":")
    app = getattr(importlib.import_module(module), name)
    for _ in range(workers - 1):
        if os.fork() == 0:
            break
    bjoern.run(app, "127.0.0.1", port, reuse_port=workers > 1, listen_backlog=BACKLOG)


if __name__ == "__main__":
    main()
