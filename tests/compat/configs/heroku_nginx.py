"""Behind an nginx of the same container, which waits for a file before it takes traffic."""

import os
from pathlib import Path

bind = "unix://" + os.environ["NGINX_SOCKET"]
forwarded_allow_ips = "*"
secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}
worker_class = "gthread"
threads = 4
timeout = 25
backlog = 512


def when_ready(server):
    Path(os.environ["APP_INITIALIZED"]).touch()
