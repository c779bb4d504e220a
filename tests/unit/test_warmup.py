"""What is told of exceptions while a worker is warmed up (indrik/warmup.py)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from indrik import logs
from indrik.warmup import Witness


class Told:
    def __init__(self) -> None:
        self.served = 0
        self.messages: list[dict[str, Any]] = []
        self.witness = Witness(2, lambda: self.served, self.messages.append)

    def log_an_exception(self) -> None:
        try:
            raise ValueError("cold")
        except ValueError:
            logging.getLogger("an.application").exception("it went wrong")


@pytest.fixture
def told() -> Iterator[Told]:
    told = Told()
    yield told
    told.witness.stop()


def test_an_exception_that_the_application_logs_is_told_with_its_traceback(told):
    told.witness.listen()
    told.served = 1
    told.log_an_exception()
    (message,) = told.messages
    assert message["event"] == "warm_up_error"
    assert "ValueError: cold" in message["traceback"] and __file__ in message["traceback"]


def test_after_the_warm_up_nothing_is_told_and_logging_is_as_it_was(told):
    before = logging.getLogRecordFactory()
    told.witness.listen()
    logs.watch_errors(told.witness.saw)
    told.served = 3
    told.log_an_exception()
    assert told.messages == []
    assert logging.getLogRecordFactory() is before
    assert logs._saw is None


def test_a_record_without_an_exception_is_none_of_its_business(told):
    told.witness.listen()
    logging.getLogger("an.application").error("only a line")
    assert told.messages == []
