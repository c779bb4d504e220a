"""Django's own connections, which are no pool: one for each thread or task, by the alias of the database."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from indrik.pools import Pool, is_watched, shown

if TYPE_CHECKING:
    from types import ModuleType

_open: dict[str, WeakSet[Any]] = {}
"""By alias, those that are open. Those of a thread that has ended are gone without a word."""
_numbers: dict[str, Pool] = {}


def enter_base(module: ModuleType) -> None:
    """``django.db.backends.base.base``."""
    kind: Any = vars(module)["BaseDatabaseWrapper"]
    if is_watched(kind, "connect"):
        return
    # Databases have their own `_close`, which does not come by here.
    connect, close = kind.connect, kind.close

    @wraps(connect)
    def opened(self: Any, *arguments: Any, **named: Any) -> Any:
        result = connect(self, *arguments, **named)
        shown(_note, self)
        return result

    @wraps(close)
    def closed(self: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return close(self, *arguments, **named)
        finally:
            shown(_note, self)

    kind.connect, kind.close = opened, closed


def _note(wrapper: Any) -> None:
    alias = str(wrapper.alias)
    known = _open.setdefault(alias, WeakSet())
    # By what is open, not by how often: a connection that was lost is opened anew.
    # What was closed within a transaction is still there, and good for nothing.
    if wrapper.connection is not None and not wrapper.closed_in_transaction:
        known.add(wrapper)
    else:
        known.discard(wrapper)
    numbers = _numbers.get(alias)
    if numbers is None:
        numbers = _numbers.setdefault(alias, Pool("django", alias))
    numbers.show(len(known), 0, len(known))
