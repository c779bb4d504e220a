"""A hook that is only there in production."""

import os


def notify(server):
    server.log.info("in production")


workers = 1
when_ready = notify if os.environ.get("PRODUCTION") else None
post_fork = None
