"""What `indrik.logs` decides without a server."""

from __future__ import annotations

import pytest

from indrik import logs

PATTERNS = ["/health", "/static/*", "*.png", "/a/*/b/*"]


@pytest.mark.parametrize("path", ["/health", "/static/", "/static/x/y", "/x/y.png", "/a/1/b/2", "/a//b/"])
def test_a_star_stands_for_anything(path: str) -> None:
    assert logs.Exclude(PATTERNS).covers(path)


@pytest.mark.parametrize("path", ["/", "/healthz", "/health/", "/static", "/x.png/", "/a/b/", "/a/1/b"])
def test_other_paths_are_not_covered(path: str) -> None:
    assert not logs.Exclude(PATTERNS).covers(path)
    assert not logs.Exclude([]).covers(path)


@pytest.mark.parametrize(
    ("config", "python"),
    [
        ({}, False),
        ({"logger_class": {"name": "gunicorn.glogging.Logger", "object": False}}, False),
        ({"logger_class": {"name": "gunicorn.glogging.Logger", "object": True}}, True),
        ({"logger_class": {"name": "mine.Logger", "object": False}}, True),
        ({"logconfig": "logging.ini"}, True),
        ({"logconfig_dict": {}}, False),
        ({"logconfig_dict": {"version": 1}}, True),
        ({"logconfig_json": "logging.json"}, True),
    ],
)
def test_python_writes_the_logs_when_a_setting_asks_for_it(config: dict[str, object], python: bool) -> None:
    assert logs.in_python(config) == python
