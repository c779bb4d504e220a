"""Names that never did anything, as they stand in real files."""

WORKERS = 7
PRELOAD_APP = True
max_worker_connections = 500
worker_int_class = "gthread"
access_logfile = "-"
log_level = "debug"
keep_alive = 5
workers = 1


def helper():
    return workers
