"""A worker class of one's own, to have one more thing done at the start."""

from gunicorn.workers.gthread import ThreadWorker


class TracingWorker(ThreadWorker):
    """Every worker of this kind says its name."""

    name = "tracing"


workers = 1
threads = 3
worker_class = TracingWorker
