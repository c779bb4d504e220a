"""The file that comes with the product: an address and numbers."""

# The bind address and port
bind = "127.0.0.1:8001"

# Number of workers and threads to spawn
workers = 3
threads = 3

# Timeout (in seconds) for a request to complete
timeout = 120

# The maximum number of requests a worker can handle before being respawned
max_requests = 5000
max_requests_jitter = 500
