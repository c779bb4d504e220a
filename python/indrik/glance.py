"""Looking at objects of the application without running any of its code.

``isinstance`` asks an object for its ``__class__``, ``getattr`` runs properties, proxies and lazy modules: what is
looked at only to be told of must neither be changed by that nor fail with it. What is asked here are types as the
interpreter has them, and the dictionaries that objects really have.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_WRAPPERS_MAX = 10

_mro = type.__dict__["__mro__"].__get__
_class_attributes = type.__dict__["__dict__"].__get__
_module = type.__dict__["__module__"].__get__
_qualname = type.__dict__["__qualname__"].__get__

_SLOTS = (type(type.__dict__["__mro__"]), type(type.__dict__["__dict__"]))
"""What the interpreter itself makes for ``__dict__`` of objects. Anything else there is somebody's code."""

_FUNCTION = type(lambda: None)
_SLOT_WRAPPER = type(object.__dict__["__getattribute__"])
_METHOD = type((lambda _self: None).__get__(0))


def is_a(thing: Any, *types: type) -> bool:
    """Whether it is one of these by its real type: a proxy is a proxy."""
    return issubclass(type(thing), types)


def is_class(thing: Any) -> bool:
    return is_a(thing, type)


def bases(kind: type) -> tuple[type, ...]:
    """The class and those it is derived from, nearest first."""
    found: tuple[type, ...] = _mro(kind)
    return found


def attributes(thing: Any) -> dict[Any, Any]:
    """The object's own dictionary; empty if it has none, or shows another one than it has."""
    for kind in bases(type(thing)):
        slot = in_class(kind, "__dict__")
        if slot is not None:
            found: Any = slot.__get__(thing) if type(slot) in _SLOTS else None
            return found if is_a(found, dict) else {}
    return {}


def named(found: dict[Any, Any]) -> list[tuple[str, Any]]:
    """What a dictionary has under names."""
    return [(key, value) for key, value in list(dict.items(found)) if type(key) is str]


def in_class(kind: type, name: str) -> Any:
    """What a class itself has under a name, as it stands there; None if nothing."""
    return _class_attributes(kind).get(name)


def inherited(kind: type, name: str) -> Any:
    """What objects of a class have from it under a name, as it stands there; None if nothing."""
    return next((found for base in bases(kind) if (found := in_class(base, name)) is not None), None)


def module_of(kind: type) -> str:
    """Where a class is defined."""
    name = _module(kind)
    return name if type(name) is str else "?"


def type_name(kind: type) -> str:
    """A class by module and name."""
    return f"{module_of(kind)}.{_qualname(kind)}"


def place_of(thing: Any) -> str:
    """The module that a function, a class, or the class of anything else says it is from."""
    if is_class(thing):
        return module_of(thing)
    return _stated(thing, "__module__") or module_of(type(thing))


def name_of(thing: Any) -> str:
    """The name of a function or a class, or of the class of anything else."""
    if is_class(thing):
        return str(_qualname(thing))
    return _stated(thing, "__qualname__") or str(_qualname(type(thing)))


def _stated(thing: Any, name: str) -> str | None:
    if type(thing) is _METHOD:
        thing = thing.__func__
    slot = inherited(type(thing), name)
    found = slot.__get__(thing) if type(slot) in _SLOTS else attributes(thing).get(name)
    return found if type(found) is str else None


def is_lazy(thing: Any) -> bool:
    """Whether looking for attributes of it may run somebody's code."""
    kind = type(thing)
    finds = inherited(kind, "__getattribute__")
    return inherited(kind, "__getattr__") is not None or type(finds) is not _SLOT_WRAPPER


def function_of(thing: Any) -> Any:
    """The function in Python that a method or a ``functools.partial`` calls; None if it is none."""
    for _ in range(_WRAPPERS_MAX):
        if type(thing) is _FUNCTION:
            return thing
        if type(thing) is _METHOD:
            thing = thing.__func__
        elif type_name(type(thing)) == "functools.partial":
            thing = thing.func
        else:
            return None
    return None


def failure(error: BaseException) -> str:
    """What was raised, in words, also where its own text cannot be made."""
    kind = type(error).__name__
    try:
        return f"{kind}: {error}"
    except Exception as second:
        return f"{kind}, whose text cannot be made ({type(second).__name__})"
