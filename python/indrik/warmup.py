"""What goes wrong in the application while a worker is warmed up, for the supervisor to tell operators.

Only loaded where the settings have a warm-up. Frameworks answer 500 and log the exception, by Python's
``logging`` or through the server; both are looked at, until the worker has served its warm-up.
"""

from __future__ import annotations

import sys

from indrik import logs
from indrik.messages import cut, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    import socket
    from collections.abc import Callable
    from typing import Any


def watch(requests: int, served: Callable[[], int], control: socket.socket) -> None:
    """Sends the traceback of each exception that is logged during so many requests."""
    witness = Witness(requests, served, lambda message: send(control, message))
    logs.watch_errors(witness.saw)
    if "logging" in sys.modules:
        witness.listen()


class Witness:
    """Sees exceptions until the warm-up is over."""

    def __init__(self, requests: int, served: Callable[[], int], tell: Callable[[dict[str, Any]], None]) -> None:
        self._requests = requests
        self._served = served
        self._tell = tell
        self._factory: Callable[..., logging.LogRecord] | None = None
        self._factory_before: Callable[..., logging.LogRecord] | None = None

    def listen(self) -> None:
        """Also to what the application gives to ``logging``. Where records are made, and not in a
        handler: with one more of those, ``logging`` would treat the others differently."""
        import logging

        before, saw = logging.getLogRecordFactory(), self.saw

        def make(*arguments: Any, **keywords: Any) -> logging.LogRecord:
            record = before(*arguments, **keywords)
            if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
                saw(record.exc_info[1])
            return record

        self._factory, self._factory_before = make, before
        logging.setLogRecordFactory(make)

    def saw(self, error: BaseException) -> None:
        """An exception was logged."""
        if self._served() > self._requests:
            self.stop()
            return
        import traceback

        lines = traceback.format_exception(type(error), error, error.__traceback__)
        text = "".join(lines).encode("utf-8", "backslashreplace").decode()
        self._tell({"event": "warm_up_error", "traceback": cut(text)})

    def stop(self) -> None:
        """Looks no more."""
        logs.watch_errors(None)
        if self._factory is not None and self._factory_before is not None:
            import logging

            if logging.getLogRecordFactory() is self._factory:
                logging.setLogRecordFactory(self._factory_before)
            self._factory = None
