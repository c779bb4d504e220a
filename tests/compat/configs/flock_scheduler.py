"""One worker of all runs the scheduler: whoever gets the lock first."""

import fcntl
import os
import threading

workers = 3
lock_file = None


def run_scheduler(stop, log):
    log.info("scheduler runs in %s", os.getpid())
    stop.wait()


def post_fork(server, worker):
    global lock_file
    lock_file = open(os.environ["SCHEDULER_LOCK"], "w")
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    worker.stop_scheduler = threading.Event()
    arguments = (worker.stop_scheduler, server.log)
    worker.scheduler = threading.Thread(target=run_scheduler, args=arguments, daemon=True)
    worker.scheduler.start()


def worker_exit(server, worker):
    if hasattr(worker, "scheduler"):
        worker.stop_scheduler.set()
        worker.scheduler.join()
        worker.log.info("scheduler ended")
