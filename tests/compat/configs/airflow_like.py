"""Named as `python:` module on the command line; a monitor counts titles and scales with TTIN and TTOU."""

import os
from types import FrameType  # noqa: F401  (modules import what they do not use)

import setproctitle


def on_starting(server):
    server.log.info("starting for %s", os.environ.get("COMPONENT", "webserver"))


def post_worker_init(_worker):
    setproctitle.setproctitle("[ready] " + setproctitle.getproctitle())
