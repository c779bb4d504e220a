"""Workers that leak are replaced before it hurts."""

workers = 1
max_requests = 3
max_requests_jitter = 0
graceful_timeout = 20


def worker_exit(server, worker):
    worker.log.info("worker %s goes after %s requests", worker.age, worker.nr)
