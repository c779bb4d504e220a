"""Applications that embed the server."""
