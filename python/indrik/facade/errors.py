"""Exceptions of Gunicorn that configurations and applications catch or raise."""

from __future__ import annotations


class HaltServer(BaseException):
    """Ends the server with a reason and an exit code."""

    def __init__(self, reason: str, exit_status: int = 1) -> None:
        super().__init__(reason, exit_status)
        self.reason = reason
        self.exit_status = exit_status

    def __str__(self) -> str:
        return f"<HaltServer {self.reason!r} {self.exit_status}>"


class ConfigError(Exception):
    """The configuration is wrong."""


class AppImportError(Exception):
    """The application was not found."""
