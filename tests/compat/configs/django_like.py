"""Imported once, forked often: connections of the master must not be used in the workers."""

import connections

bind = "127.0.0.1:8001"
preload_app = True
workers = 2
threads = 2
timeout = 120
accesslog = "-"
access_log_format = '%({x-forwarded-for}i)s "%(r)s" %(s)s %(L)s'
pidfile = "shop.pid"
raw_env = ["DJANGO_SETTINGS_MODULE=shop.settings"]


def pre_fork(server, worker):
    connections.close_all()


def post_fork(server, worker):
    connections.open_new()
