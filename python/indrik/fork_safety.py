"""What a preloaded application has open that workers must not share, in words.

Loaded after the import of an application that is preloaded, before the first fork, and thrown away
again: no worker pays for it. Nothing is imported to look at it. What belongs to a library is known by
the name of its type; what no object of Python explains is found in /proc. Of what is looked at no code runs but
that of those libraries (`_ask`): the application's may need what is not there now.
"""

from __future__ import annotations

import gc
import os
import sys

from indrik import glance
from indrik.loader import LoadError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from typing import Any
else:
    import _socket as socket

FINDINGS_MAX = 20
"""More are counted, not told."""

OBJECTS_FOLLOWED_MAX = 200_000
"""So many objects are followed from the modules' globals to find who holds what was found."""

DEPTH_MAX = 5
"""Steps from a module's global to an object in it that is named by its place."""

CONTAINER_ITEMS_MAX = 1_000
"""Larger containers hold data, not connections; they are not followed."""

SQLITE = "sqlite3.Connection"

SQLITE_MAGIC = b"SQLite format 3\0"

MANUAL = "docs/manual/preload.md"

OPEN_LATER = "open it in the hook post_fork, or at the first request"
REDIS = "call connection_pool.disconnect() when it is loaded"
CLOSE_FIRST = "close it before the workers are forked, or drop it in the hook post_fork"

KINDS: dict[str, tuple[str, str]] = {
    "psycopg.Connection": ("a PostgreSQL connection", OPEN_LATER),
    "psycopg.AsyncConnection": ("a PostgreSQL connection", OPEN_LATER),
    "psycopg2.extensions.connection": ("a PostgreSQL connection", OPEN_LATER),
    "psycopg_pool.base.BasePool": (
        "a pool of PostgreSQL connections",
        "create it with open=False, open it in post_fork",
    ),
    "asyncpg.connection.Connection": ("a PostgreSQL connection", OPEN_LATER),
    "pymysql.connections.Connection": ("a MySQL connection", OPEN_LATER),
    "MySQLdb.connections.Connection": ("a MySQL connection", OPEN_LATER),
    "mysql.connector.abstracts.MySQLConnectionAbstract": ("a MySQL connection", OPEN_LATER),
    "oracledb.connection.Connection": ("an Oracle connection", OPEN_LATER),
    SQLITE: ("an SQLite connection", "SQLite forbids it across a fork; " + OPEN_LATER),
    "redis.connection.AbstractConnection": (
        "a Redis connection",
        "call connection_pool.disconnect() when it is loaded",
    ),
    "redis.connection.Connection": ("a Redis connection", REDIS),
    "pymongo.mongo_client.MongoClient": ("a MongoDB client", "create it with connect=False, or in post_fork"),
    "pymongo.synchronous.mongo_client.MongoClient": (
        "a MongoDB client",
        "create it with connect=False, or in post_fork",
    ),
    "sqlalchemy.pool.base.Pool": ("open connections of SQLAlchemy", "call engine.dispose() when it is loaded"),
    "kafka.producer.kafka.KafkaProducer": ("a Kafka producer", OPEN_LATER),
    "pika.connection.Connection": ("an AMQP connection", OPEN_LATER),
    "grpc._channel.Channel": ("a gRPC channel", OPEN_LATER),
    "asyncio.base_events.BaseEventLoop": ("an event loop", "create it where it runs: in the worker"),
    "uvloop.Loop": ("an event loop", "create it where it runs: in the worker"),
    "concurrent.futures.process.ProcessPoolExecutor": ("a pool of processes", OPEN_LATER),
    "multiprocessing.pool.Pool": ("a pool of processes", OPEN_LATER),
}
"""Types by module and name (an object of a subclass counts): what they are, and what to do."""

SERVICES = {
    3306: "MySQL",
    4222: "NATS",
    5432: "PostgreSQL",
    5672: "AMQP",
    6379: "Redis",
    9042: "Cassandra",
    9092: "Kafka",
    9200: "Elasticsearch",
    11211: "memcached",
    27017: "MongoDB",
}
"""Who usually listens there."""

FAMILIES = {socket.AF_INET: "TCP", socket.AF_INET6: "TCP", socket.AF_UNIX: "Unix"}

_LIBRARIES = {kind.partition(".")[0] for kind in KINDS} | {"gevent", "eventlet"} | sys.stdlib_module_names
"""Whose code may be run to ask an object something."""

# These end their threads themselves before a fork, and start them again when they are needed.
_FORK_AWARE = ("openblas",)

_PATCHERS = {"gevent.monkey", "eventlet.patcher"}


Before = tuple[set[str], set[str]]
"""The descriptors and the threads, by number, of the zygote before it ran anybody's code."""


class Finding:
    """One thing, where it is held, and what to do about it."""

    def __init__(self, what: str, advice: str, thing: Any = None, where: str = "") -> None:
        self.what = what
        self.advice = advice
        self.thing = thing
        self.where = where

    def __str__(self) -> str:
        where = f", {self.where}," if self.where else ""
        return f"fork safety: {self.what}{where} {self.advice}"


def check(before: Before, setting: str) -> list[str]:
    """What to say of the application, as the setting ``fork_safety`` has it; raises :class:`LoadError`
    if there is something and it is "error"."""
    try:
        told = look(before)
    except Exception as error:
        # It is advice: a server does not fail to start because of it.
        return [f"fork safety: what the application has open cannot be told: {glance.failure(error)}"]
    if not told:
        return []
    if setting == "error":
        raise LoadError(
            "boot",
            "fork_safety is error, and the application leaves open what workers must not share:\n  "
            + "\n  ".join(told),
            f"mend it ({MANUAL} has examples), or set fork_safety to warn",
        )
    return [*told, f'fork safety: {MANUAL} has examples; fork_safety = "off" ends these warnings']


def look(before: Before) -> list[str]:
    """What is not safe to fork, one line each; nothing if all is well."""
    found = _threads(before)
    explained: set[int] = set()
    databases: set[str] = set()
    for kind, thing in _objects():
        what, advice = KINDS[kind]
        if kind == SQLITE:
            files = _sqlite_files(thing)
            databases.update(files)
            what += f" to {', '.join(files)}"
            in_use = bool(files)
        else:
            in_use = _is_in_use(kind, thing)
        if in_use:
            found.append(
                Finding(f"{what} ({glance.type_name(type(thing))})", f"is open in the zygote; {advice}", thing)
            )
            explained |= _descriptors_of(thing)
    found += _open_descriptors(before, explained, databases)
    _locate(found)
    told = list(dict.fromkeys(map(str, found)))
    if len(told) > FINDINGS_MAX:
        told[FINDINGS_MAX:] = [f"fork safety: {len(told) - FINDINGS_MAX} more things like these are open in the zygote"]
    return told


# --- threads ---


def _threads(before: Before) -> list[Finding]:
    """Threads are not copied by a fork: in the workers they are gone, with the locks they held held."""
    if _PATCHERS & sys.modules.keys():
        # Those libraries look after theirs, and what is called a thread there is none.
        return []
    new = set(os.listdir("/proc/self/task")) - before[1] - {str(os.getpid())}
    found = []
    threading = sys.modules.get("threading")
    for thread in threading.enumerate() if threading is not None else []:
        number = str(_ask(thread, "native_id"))
        if number in new:
            new.discard(number)
            what = f"the thread {_ask(thread, 'name')!r} ({_target(thread)})"
            found.append(Finding(what, "runs in the zygote only; start it in the hook post_fork", thread))
    names = sorted(_read(f"/proc/self/task/{number}/comm").strip() for number in new)
    if names and not any(library in _read("/proc/self/maps") for library in _FORK_AWARE):
        what = f"{len(names)} threads that are not Python's ({', '.join(dict.fromkeys(names))})"
        advice = "run in the zygote only; a library in C has started them: use it first in the hook post_fork"
        found.append(Finding(what, advice))
    return found


def _target(thread: Any) -> str:
    """What it runs, and where that is written."""
    target = glance.attributes(thread).get("_target")
    if target is None:
        target = glance.inherited(type(thread), "run")
    function = glance.function_of(target)
    if function is None:
        return glance.type_name(type(target))
    code = function.__code__
    module = function.__module__ if type(function.__module__) is str else "?"
    return f"{module}.{function.__qualname__}, {code.co_filename}:{code.co_firstlineno}"


# --- objects of Python ---


def _objects() -> list[tuple[str, Any]]:
    """Every object of a kind in the table, with the kind. The heap is walked only if one of the
    libraries is loaded."""
    kinds: dict[int, str] = {}
    for loaded in _types_of_interest():
        kind = next((name for name in map(glance.type_name, glance.bases(loaded)) if name in KINDS), None)
        if kind is not None:
            # By number: a metaclass may define what its classes are equal to.
            kinds[id(loaded)] = kind
    if not kinds:
        return []
    return [(kinds[id(type(thing))], thing) for thing in gc.get_objects() if id(type(thing)) in kinds]


def _types_of_interest() -> Iterator[type]:
    """The types of the table that are loaded, and all below them."""
    waiting: list[type] = []
    for name in KINDS:
        module, _, attribute = name.rpartition(".")
        found: Any = glance.attributes(sys.modules.get(module)).get(attribute)
        if glance.is_class(found):
            waiting.append(found)
    seen: set[int] = set()
    while waiting:
        kind = waiting.pop()
        if id(kind) not in seen:
            seen.add(id(kind))
            waiting += type.__subclasses__(kind)
            yield kind


def _ask(thing: Any, name: str) -> Any:
    """An attribute of a library's object, as the library has it: what the application's subclasses make of it is
    not asked. None if there is none."""
    for kind in glance.bases(type(thing)):
        if glance.module_of(kind).partition(".")[0] in _LIBRARIES:
            found = glance.in_class(kind, name)
            if found is not None:
                bind = glance.inherited(type(found), "__get__")
                return found if bind is None else bind(found, thing, type(thing))
    return glance.attributes(thing).get(name)


def _is_in_use(kind: str, thing: Any) -> bool:
    """Whether it holds something of the system now: what is closed, or not opened yet, can be forked."""
    try:
        if kind == "sqlalchemy.pool.base.Pool":
            return any(_called(thing, name) for name in ("checkedin", "checkedout"))
        if kind.startswith("redis."):
            return _ask(thing, "_sock") is not None or _ask(thing, "_writer") is not None
        if kind.endswith(("EventLoop", "uvloop.Loop")):
            return not _ask(thing, "is_closed")()
        if kind == "psycopg_pool.base.BasePool":
            return not _ask(thing, "closed")
        if kind.startswith(("psycopg", "pymysql", "MySQLdb")):
            closed = _ask(thing, "closed")
            return _ask(thing, "open") not in (0, False) if closed is None else not closed
    except Exception:
        # It is somebody else's object: what it does not tell counts as yes.
        return True
    return True


def _called(thing: Any, name: str) -> int:
    method = _ask(thing, name)
    return int(method()) if callable(method) else 0


def _sqlite_files(connection: Any) -> list[str]:
    """The databases of a connection. None if it is closed or in memory: each worker has a copy of that."""
    try:
        if not any(_ask(connection, "text_factory") is plain for plain in (str, bytes)):
            # It would be called with the names. The open file is found as a descriptor.
            return []
        cursor = _ask(connection, "cursor")()
        cursor.row_factory = None
        rows = cursor.execute("PRAGMA database_list").fetchall()
        return [os.fsdecode(row[2]) for row in rows if row[2]]
    except Exception:
        # Closed, or of another thread: the same.
        return []


def _descriptors_of(thing: Any) -> set[int]:
    """Its descriptors, and those of the objects it holds."""
    found = set()
    for holder in (thing, *_followed(thing)):
        found |= _descriptor_of(holder)
        for inner in _followed(holder):
            found |= _descriptor_of(inner)
    return found


def _descriptor_of(thing: Any) -> set[int]:
    try:
        fileno = _ask(thing, "fileno")
        return {int(fileno())} if callable(fileno) else set()
    except Exception:
        # Closed, or no descriptor at all.
        return set()


# --- descriptors ---


def _open_descriptors(before: Before, explained: set[int], databases: set[str]) -> list[Finding]:
    """Sockets and databases that no object above explains."""
    found = []
    wrappers: dict[int, Any] | None = None
    for number, target in _descriptors().items():
        if str(number) in before[0] or number in explained:
            continue
        if target.startswith("socket:"):
            what = _socket_in_words(number)
        elif target.startswith("/") and target not in databases and _is_sqlite(number):
            what = f"the SQLite database {target}"
        else:
            continue
        if what is None:
            continue
        if wrappers is None:
            wrappers = _socket_objects()
        thing = wrappers.get(number)
        named = f" ({glance.type_name(type(thing))})" if thing is not None else ""
        found.append(
            Finding(what + named, f"is open in the zygote, and all workers would use it; {CLOSE_FIRST}", thing)
        )
    return found


def _socket_in_words(number: int) -> str | None:
    """None for what may be shared: datagrams (of statsd, of syslog), pairs within a process."""
    try:
        copy = socket.socket(fileno=os.dup(number))
    except OSError:
        return None
    try:
        if copy.family not in FAMILIES or copy.type != socket.SOCK_STREAM:
            return None
        kind = FAMILIES[copy.family]
        try:
            peer = copy.getpeername()
        except OSError:
            listens = copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            return f"a listening {kind} socket at {_address(copy.getsockname())}" if listens else None
        port = peer[1] if isinstance(peer, tuple) else 0
        service = f" ({SERVICES[port]})" if port in SERVICES else ""
        return f"a {kind} connection to {_address(peer)}{service}" if peer else None
    except OSError:
        return None
    finally:
        copy.close()


def _address(address: Any) -> str:
    if isinstance(address, tuple):
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"{host}:{address[1]}"
    return address.decode("utf-8", "backslashreplace") if isinstance(address, bytes) else str(address)


def _socket_objects() -> dict[int, Any]:
    found: dict[int, Any] = {}
    for thing in gc.get_objects():
        if glance.is_a(thing, socket.socket):
            found[socket.socket.fileno(thing)] = thing
    return found


def _is_sqlite(number: int) -> bool:
    try:
        return os.pread(number, len(SQLITE_MAGIC), 0) == SQLITE_MAGIC
    except OSError:
        return False


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            # That of the listing itself.
            continue
    return found


# --- where it is held ---


def _locate(findings: list[Finding]) -> None:
    """Names the module's global through which each thing is reached, and the module's file."""
    wanted = {id(finding.thing): finding for finding in findings if finding.thing is not None}
    followed = 0
    seen: set[int] = set()
    level: list[tuple[Any, str, Any]] = []
    for name, module in glance.named(sys.modules):
        root = name.partition(".")[0]
        if root in sys.stdlib_module_names or root == "indrik":
            continue
        level += [(value, f"{name}.{key}", module) for key, value in glance.named(glance.attributes(module))]
    for depth in range(DEPTH_MAX):
        below: list[tuple[Any, str, Any]] = []
        for value, path, module in level:
            if id(value) in seen or followed > OBJECTS_FOLLOWED_MAX:
                continue
            seen.add(id(value))
            followed += 1
            finding = wanted.pop(id(value), None)
            if finding is not None:
                file = glance.attributes(module).get("__file__")
                file = file if type(file) is str else "no file"
                finding.where = f"held by {path} ({file})"
            if not wanted:
                return
            # Below the first steps the path says less than its beginning.
            below += [(inner, path if depth else path + part, module) for inner, part in _parts(value)]
        level = below


def _parts(value: Any) -> Iterator[tuple[Any, str]]:
    if not glance.is_a(value, type, type(sys)):
        for name, inner in glance.named(glance.attributes(value))[:CONTAINER_ITEMS_MAX]:
            yield inner, f".{name}"
    for inner in _followed(value):
        yield inner, ""


def _followed(value: Any) -> list[Any]:
    """What an object refers to, if it is one that may hold a connection: no module, class or function."""
    if glance.is_a(value, str, bytes, int, float, type, type(sys), type(_read)) or not gc.is_tracked(value):
        return []
    container = next((kind for kind in (dict, list, tuple, set) if glance.is_a(value, kind)), None)
    if container is not None and container.__len__(value) > CONTAINER_ITEMS_MAX:
        return []
    return gc.get_referents(value)


def _read(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""
