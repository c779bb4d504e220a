"""Metrics on a port of their own, served by a thread of the master."""

import os

from prometheus_client import start_http_server

bind = "127.0.0.1:8000"
workers = 2
threads = 2


def when_ready(server):
    port = int(os.environ["METRICS_PORT"])
    server.log.info("metrics at port %d", port)
    start_http_server(port, addr="127.0.0.1")
