"""As many workers as the usual formula says, within bounds."""

import multiprocessing
import os

workers_per_core = float(os.getenv("WORKERS_PER_CORE", "1"))
cores = multiprocessing.cpu_count()
workers = min(max(int(workers_per_core * cores) + 1, 2), int(os.getenv("MAX_WORKERS", "4")))
threads = 2
worker_class = "gthread"
keepalive = 65
loglevel = os.getenv("LOG_LEVEL", "info")
