"""The fault harness: what must hold while a server is reloaded, recycled, killed, stuck, upgraded and stopped."""
