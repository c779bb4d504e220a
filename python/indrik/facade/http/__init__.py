"""Requests and responses as hooks see them."""

from __future__ import annotations

from indrik.facade._finder import original
from indrik.facade.http import errors as errors
from indrik.facade.http.message import Message as Message
from indrik.facade.http.message import Request as Request

__all__ = ["Message", "Request"]


def __getattr__(name: str) -> object:
    return original(__name__, name)
