"""Every setting may come from a variable: GUNICORN_WORKERS, GUNICORN_TIMEOUT and so on, all strings."""

import os

for key, value in os.environ.items():
    if key.startswith("GUNICORN_") and key != "GUNICORN_CMD_ARGS":
        name = key.split("_", 1)[1].lower()
        locals()[name] = value
