"""What the end-to-end tests share: a server to start, a wire client, gates to hold requests at."""
