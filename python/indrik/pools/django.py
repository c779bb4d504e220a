"""Django's own connections, which are no pool: one for each thread or task, by the alias of the database."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from indrik.pools import Pool, shown

if TYPE_CHECKING:
    from types import ModuleType

_open: dict[str, set[int]] = {}
_numbers: dict[str, Pool] = {}


def enter_base(module: ModuleType) -> None:
    """``django.db.backends.base.base``."""
    kind: Any = vars(module)["BaseDatabaseWrapper"]
    connect, close = kind.connect, kind._close

    @wraps(connect)
    def opened(self: Any, *arguments: Any, **named: Any) -> Any:
        result = connect(self, *arguments, **named)
        shown(lambda wrapper: _note(wrapper, True), self)
        return result

    @wraps(close)
    def closed(self: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return close(self, *arguments, **named)
        finally:
            shown(lambda wrapper: _note(wrapper, False), self)

    kind.connect, kind._close = opened, closed


def _note(wrapper: Any, is_open: bool) -> None:
    alias = str(wrapper.alias)
    known = _open.setdefault(alias, set())
    # By what is open, not by how often: a connection that was lost is opened anew.
    if is_open:
        known.add(id(wrapper))
    else:
        known.discard(id(wrapper))
    numbers = _numbers.get(alias)
    if numbers is None:
        numbers = _numbers.setdefault(alias, Pool("django", alias))
    numbers.show(len(known), 0, len(known))
