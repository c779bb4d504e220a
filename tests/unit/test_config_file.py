"""``indrik.config_file``: Python that assigns settings becomes plain data with lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from indrik import config_file


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Writes a configuration file and reads it."""

    def read(source: str, name: str = "gunicorn.conf.py") -> dict[str, Any]:
        (tmp_path / name).write_text(source, encoding="utf-8")
        return config_file.read(None if name == config_file.DEFAULT_NAME else name, str(tmp_path))

    return read


def test_without_a_file_there_are_no_values(tmp_path: Path) -> None:
    assert config_file.read(None, str(tmp_path)) == {"path": None, "values": {}, "lines": {}, "used": []}


def test_values_come_with_the_line_of_their_last_assignment(read: Any) -> None:
    found = read("workers = 1\nif True:\n    workers = 2\nbind: list = ['a']\na, (b, *c) = 1, (2, 3)\n")
    assert found["path"] == "gunicorn.conf.py"
    assert found["values"] == {"workers": 2, "bind": ["a"], "a": 1, "b": 2, "c": [3]}
    assert found["lines"] == {"workers": 3, "bind": 4, "a": 5, "b": 5, "c": 5}


def test_functions_and_classes_are_marked_by_name(read: Any) -> None:
    found = read("from json import JSONDecoder as worker_class\ndef post_fork(server, worker): pass\n")
    assert found["values"] == {
        "worker_class": {"__callable__": "json.decoder.JSONDecoder"},
        "post_fork": {"__callable__": "post_fork"},
    }
    assert found["lines"] == {"post_fork": 2}


def test_a_function_may_return_the_class(read: Any) -> None:
    source = "from json import JSONDecoder\ndef worker_class(): return JSONDecoder\ndef logger_class(): 1 / 0\n"
    values = read(source)["values"]
    assert values["worker_class"] == {"__callable__": "json.decoder.JSONDecoder"}
    assert config_file.latest()["worker_class"].__name__ == "JSONDecoder"
    assert "ZeroDivisionError" in values["logger_class"]["__wrong__"]


def test_names_the_file_reads_are_told(read: Any) -> None:
    found = read("level = 'info'\nloglevel = level\ncount = 1\ndef post_fork(s, w): print(count)\n")
    assert found["used"] == ["count", "level"]


def test_modules_and_private_names_are_left_out(read: Any) -> None:
    assert read("import os\n_secret = 1\n")["values"] == {}


def test_paths_tuples_and_sets_become_text_and_lists(read: Any) -> None:
    source = "from pathlib import PurePosixPath as _P\nchdir = _P('/srv')\nbind = ('b', 'a')\nx = {'b', 'a'}\n"
    assert read(source)["values"] == {"chdir": "/srv", "bind": ["b", "a"], "x": ["a", "b"]}


@pytest.mark.parametrize(
    "expression",
    [
        "object()",
        "float('nan')",
        "{1: 2}",
        "'\\udc80'",
        "b'x'",
        "(lambda r: r.append(r) or r)([])[0]",
    ],
)
def test_what_json_cannot_hold_is_marked(read: Any, expression: str) -> None:
    value = read(f"x = {expression}\n")["values"]["x"]
    json.dumps(value, allow_nan=False).encode()
    while isinstance(value, list):
        value = value[0]
    assert list(value) == ["__object__"]


def test_data_too_large_for_the_packet_is_marked_and_settings_are_kept(read: Any) -> None:
    values = read("table = ['x' * 1000] * 100\nworkers = 4\n")["values"]
    assert values == {"table": {"__object__": "list too large for a setting"}, "workers": 4}


def test_the_file_sees_its_own_path_and_module_name(read: Any, tmp_path: Path) -> None:
    values = read("a = __file__\nb = __name__\n")["values"]
    assert values == {"a": str(tmp_path / "gunicorn.conf.py"), "b": "__config__"}


def test_a_failing_file_names_its_line_and_shows_only_its_own_frames(read: Any) -> None:
    with pytest.raises(config_file.ConfigFileError) as caught:
        read("def f():\n    return nothing\nx = f()\n")
    error = caught.value
    assert error.message == "the configuration file failed: NameError: name 'nothing' is not defined"
    assert (error.file, error.line) == ("gunicorn.conf.py", 2)
    assert "config_file.py" not in error.traceback


@pytest.mark.parametrize(
    ("source", "message", "line"),
    [
        ("x = 1\ny = = 2\n", "the configuration file failed: SyntaxError: invalid syntax", 2),
        (
            "raise SystemExit(3)\n",
            "the configuration file failed: it ended the program with SystemExit: 3",
            1,
        ),
    ],
)
def test_other_failures_are_told_the_same_way(read: Any, source: str, message: str, line: int) -> None:
    with pytest.raises(config_file.ConfigFileError) as caught:
        read(source)
    assert (caught.value.message, caught.value.line) == (message, line)


@pytest.mark.parametrize("name", ["file:gone.py", "gone.py"])
def test_a_named_file_must_exist(tmp_path: Path, name: str) -> None:
    with pytest.raises(config_file.ConfigFileError, match="does not exist"):
        config_file.read(name, str(tmp_path))


def test_a_file_with_the_file_prefix_is_read(read: Any, tmp_path: Path) -> None:
    read("workers = 5\n", "other.py")
    assert config_file.read("file:other.py", str(tmp_path))["values"] == {"workers": 5}


def test_a_module_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings_of_test.py").write_text("\nworkers = 6\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = config_file.read("python:settings_of_test")
    assert found == {
        "path": "python:settings_of_test",
        "values": {"workers": 6},
        "lines": {"workers": 2},
        "used": [],
    }


def test_a_second_read_sees_the_changed_file(read: Any) -> None:
    assert read("workers = 1\n")["values"] == {"workers": 1}
    assert read("workers = 2\n")["values"] == {"workers": 2}
