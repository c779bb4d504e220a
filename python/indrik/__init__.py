"""Indrik: an application server for Python web applications, written in Rust.

Start it with the ``indrik`` command or ``python -m indrik``. This package holds what runs in
Python: the zygote that forks workers, the workers, and what they need to load the application.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:

    def route(name: str) -> None:
        """Says which of the application's routes the current request takes: what the access log's `%(route)s` and the
        reports of crashed workers call it. Nothing happens outside requests."""

else:

    def __getattr__(name):
        # Not before somebody wants it: from then on each request is noted as the current one.
        if name != "route":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from indrik import route_names

        return route_names.route


class RequestTimeout(BaseException):
    """Raised in a request that ran longer than ``request_timeout``; its client has been answered 504.

    Like ``SystemExit`` no ``Exception``, so that what catches all errors does not go on with the request.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(arguments or ("the request ran longer than request_timeout",)))
