"""Applications that a PasteDeploy file describes: ``--paste FILE`` or ``FILE#NAME``."""

from __future__ import annotations

import os
import re
from typing import Any

from indrik import paths
from indrik.loader import LoadError, boot_error

_EQUALS_SIGN = re.compile(r"(?<!\\)=")


def load(uri: str, global_conf: list[str]) -> Any:
    """Returns the application; raises :class:`LoadError`. ``global_conf`` has ``NAME=VALUE`` texts."""
    try:
        from paste.deploy import loadapp
    except ImportError as error:
        raise LoadError(
            "boot", f"the setting paste needs the package PasteDeploy: {error}", "pip install PasteDeploy"
        ) from None
    defaults = dict(map(_pair, global_conf))
    try:
        paths.must_be_file(uri.partition("#")[0])
        return loadapp(f"config:{uri}", relative_to=os.getcwd(), global_conf=defaults)
    except Exception as error:
        raise boot_error(f"loading {uri!r} with PasteDeploy", error) from None


def _pair(text: str) -> tuple[str, str]:
    """``NAME=VALUE``; an equals sign of the name is written with a backslash."""
    name, equals, value = text.partition("=") if "\\" not in text else _split(text)
    if not equals:
        raise LoadError("boot", f"raw_paste_global_conf: {text!r} is not NAME=VALUE", "write it as debug=true")
    return name.replace("\\=", "="), value.replace("\\=", "=")


def _split(text: str) -> tuple[str, str, str]:
    found = _EQUALS_SIGN.search(text)
    return (text[: found.start()], "=", text[found.end() :]) if found else (text, "", "")
