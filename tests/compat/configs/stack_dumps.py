"""Stacks of all threads when a worker is interrupted; words for everything else that happens."""

import sys
import threading
import traceback

workers = 1
timeout = 30


def post_fork(server, worker):
    server.log.info("Worker spawned (pid: %s)", worker.pid)


def pre_exec(server):
    server.log.info("Forked child, re-executing.")


def when_ready(server):
    server.log.info("Server is ready. Spawning workers")


def worker_int(worker):
    worker.log.info("worker received INT or QUIT signal")
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, stack in sys._current_frames().items():
        lines = [f"stack of {names.get(ident, '')}({ident})"]
        lines += [f"{name}:{number} in {function}" for name, number, function, _ in traceback.extract_stack(stack)]
        worker.log.info("\n".join(lines))


def worker_abort(worker):
    worker.log.info("worker received SIGABRT signal")
