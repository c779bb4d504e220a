"""The database is brought up to date once, before there is a worker."""

import os
import sqlite3

workers = 2


def on_starting(server):
    server.log.info("migrating")
    with sqlite3.connect(os.environ["DATABASE"]) as database:
        database.execute("create table if not exists migrations (name text primary key)")
        database.execute("insert or ignore into migrations values ('0001')")
