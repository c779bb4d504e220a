"""Indrik: an application server for Python web applications, written in Rust.

Start it with the ``indrik`` command or ``python -m indrik``. This package holds what runs in
Python: the zygote that forks workers, the workers, and what they need to load the application.
"""


class RequestTimeout(BaseException):
    """Raised in a request that ran longer than ``request_timeout``; its client has been answered 504.

    Like ``SystemExit`` no ``Exception``, so that what catches all errors does not go on with the request.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(arguments or ("the request ran longer than request_timeout",)))
