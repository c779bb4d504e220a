"""Scanners need not know what serves here."""

import gunicorn

gunicorn.SERVER = "shop"
gunicorn.SERVER_SOFTWARE = "shop/1"

workers = 1
threads = 2
