"""An ASGI application under Gunicorn, the way FastAPI's documentation used to say."""

worker_class = "uvicorn_worker.UvicornWorker"
workers = 2
keepalive = 5
graceful_timeout = 10
loglevel = "info"
