"""What stands in for the ``gunicorn`` package, in configuration files and applications.

``import gunicorn`` in a zygote or a worker gives this package, whether or not Gunicorn is installed:
:func:`install` puts a finder in front of all others. Submodules that are missing here, and names that
a module here lacks, come from the real package where that is installed.

Outside of Indrik's processes, a program that embeds Gunicorn (``gunicorn.app.base.BaseApplication``)
calls :func:`install` before it imports ``gunicorn``, or is started by ``python -m indrik.facade``.
"""

from __future__ import annotations

from indrik.facade._finder import install as install
from indrik.facade._finder import original

version_info = (27, 0, 1)
"""The release whose behaviour is followed."""
__version__ = "27.0.1"
NAME = "gunicorn"
SOFTWARE = "gunicorn/27.0.1"
SERVER = NAME
"""The ``Server`` header, if a configuration file changes it; Indrik sends its own name otherwise."""
SERVER_SOFTWARE = SOFTWARE
"""``SERVER_SOFTWARE`` in the environ, if a configuration file changes it."""


def __getattr__(name: str) -> object:
    return original(__name__, name)
