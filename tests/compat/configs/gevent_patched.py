"""Everything patched before anything is imported."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402

workers = int(os.environ.get("WORKERS", 1))
worker_class = "gevent"
worker_connections = 1000


def post_fork(server, worker):
    server.log.info("patched: %s", monkey.is_module_patched("socket"))
