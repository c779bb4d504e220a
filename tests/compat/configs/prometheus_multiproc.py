"""Metrics of several processes: the client library keeps a file per process, the master clears up."""

import os
import shutil

from prometheus_client import multiprocess

workers = 2
metrics_directory = os.environ["PROMETHEUS_MULTIPROC_DIR"]


def on_starting(server):
    shutil.rmtree(metrics_directory, ignore_errors=True)
    os.makedirs(metrics_directory)


def child_exit(server, worker):
    multiprocess.mark_process_dead(worker.pid)
