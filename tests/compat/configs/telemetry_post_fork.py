"""Tracing whose exporter thread must be started after the fork, or it would not exist in the worker."""

import telemetry

workers = 2
preload_app = True


def post_fork(server, worker):
    server.log.info("Worker spawned (pid: %s)", worker.pid)
    telemetry.start(service="shop", instance=f"{worker.age}")
