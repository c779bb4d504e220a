"""Stands in for the package of this name: see ``indrik.stand_in``. Its modules are those of ``indrik.facade``."""

from __future__ import annotations

from indrik import facade
from indrik.facade import NAME, SERVER, SERVER_SOFTWARE, SOFTWARE, __version__, version_info

__all__ = ["NAME", "SERVER", "SERVER_SOFTWARE", "SOFTWARE", "__version__", "version_info"]

facade.install()


def __getattr__(name: str) -> object:
    return getattr(facade, name)
