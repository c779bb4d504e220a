"""The stand-in for the gunicorn package: names, fallback to the real package, settings, requests."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from indrik.facade.config import Config
from indrik.facade.glogging import SafeAtoms
from indrik.facade.http.message import Request, split_target
from indrik.facade.util import get_arity, load_class, parse_address

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "python"
WITHOUT_GUNICORN = f"import sys; sys.path = [{str(PACKAGE)!r}] + [p for p in sys.path if 'site-packages' not in p]\n"
INSTALL = "from indrik.facade import install; install(); install()\n"


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class TestImporting:
    def test_gunicorn_is_the_facade_whether_or_not_it_is_installed(self) -> None:
        check = "import gunicorn, indrik.facade; print(gunicorn is indrik.facade, gunicorn.__version__)"
        assert python(INSTALL + check) == "True 27.0.1"
        assert python(WITHOUT_GUNICORN + INSTALL + check) == "True 27.0.1"

    def test_both_names_of_a_module_are_one_module(self) -> None:
        check = "import gunicorn.glogging; import indrik.facade.glogging as ours; print(gunicorn.glogging is ours)"
        assert python(WITHOUT_GUNICORN + INSTALL + check) == "True"

    @pytest.mark.parametrize(
        "line",
        [
            "from gunicorn import SERVER_SOFTWARE, version_info",
            "from gunicorn.app.base import Application, BaseApplication",
            "from gunicorn.app.wsgiapp import WSGIApplication, run",
            "from gunicorn.glogging import CONFIG_DEFAULTS, Logger, SafeAtoms",
            "from gunicorn.arbiter import Arbiter",
            "from gunicorn.workers.base import Worker",
            "from gunicorn.workers.sync import SyncWorker",
            "from gunicorn.workers.gthread import ThreadWorker",
            "from gunicorn.workers.ggevent import GeventPyWSGIWorker, GeventWorker",
            "from gunicorn.workers.geventlet import EventletWorker",
            "from gunicorn.workers.gtornado import TornadoWorker",
            "from gunicorn.workers.gasgi import ASGIWorker",
            "from gunicorn.workers.base_async import AsyncWorker",
            "from gunicorn.config import Config, Setting, validate_bool, validate_string",
            "from gunicorn.errors import AppImportError, ConfigError, HaltServer",
            "from gunicorn.http.errors import InvalidRequestLine, NoMoreData",
            "from gunicorn.http.message import Request",
            "from gunicorn.http.wsgi import Response",
            "from gunicorn.instrument.statsd import Statsd",
            "from gunicorn.util import getcwd, import_app, load_class, parse_address",
        ],
    )
    def test_what_configurations_and_applications_import_is_there(self, line: str) -> None:
        python(WITHOUT_GUNICORN + INSTALL + line)

    def test_what_is_missing_comes_from_the_real_package(self) -> None:
        pytest.importorskip("gunicorn")
        code = INSTALL + "from gunicorn.util import daemonize; from gunicorn.http import body; print(body.__name__)"
        assert python(code) == "gunicorn.http.body"

    def test_what_is_missing_everywhere_is_said_to_be(self) -> None:
        code = WITHOUT_GUNICORN + INSTALL + "try: import gunicorn.dirty\nexcept ImportError as error: print(error)"
        assert python(code) == "indrik has no stand-in for the module 'gunicorn.dirty', and gunicorn is not installed"
        code = INSTALL + "import gunicorn\ntry: gunicorn.nonsense\nexcept AttributeError as error: print(error)"
        assert "indrik's stand-in lacks it" in python(WITHOUT_GUNICORN + code)

    def test_installing_the_finder_imports_nothing_of_weight(self) -> None:
        code = (
            "import __future__, sys; before = set(sys.modules)\n" + INSTALL + "print(sorted(set(sys.modules) - before))"
        )
        assert python(WITHOUT_GUNICORN + code) == "['indrik', 'indrik.facade', 'indrik.facade._finder']"


class TestConfig:
    def test_it_has_the_settings_that_gunicorn_has(self) -> None:
        table = (REPOSITORY / "settings.toml").read_text()
        rows = [row for row in table.split("[[setting]]") if "\ngunicorn = true" in row]
        names = {found.group(1) for row in rows if (found := re.search(r'^name = "(\w+)"', row, re.MULTILINE))}
        assert set(Config().settings) == names

    def test_it_agrees_with_gunicorn_about_defaults_options_and_order_of_arguments(self) -> None:
        pytest.importorskip("gunicorn")
        code = dedent(
            """
            import json
            from gunicorn.config import Config
            cfg = Config()
            hooks = [name for name, setting in cfg.settings.items() if callable(setting.default)]
            print(json.dumps({
                name: [setting.cli or [], None if name in hooks else setting.value, setting.section]
                for name, setting in cfg.settings.items() if name != "control_socket"
            }, default=str, sort_keys=True))
            """
        )
        theirs, ours = python(code), python(INSTALL + code)
        assert ours == theirs.replace('"Dirty Arbiter Hooks"', '"Server Hooks"')

    def test_values_are_checked(self) -> None:
        cfg = Config()
        cfg.set("workers", "0x10")
        assert cfg.workers == 16
        with pytest.raises(ValueError, match="positive"):
            cfg.set("workers", -1)
        with pytest.raises(AttributeError, match="Invalid access"):
            cfg.workers = 3
        with pytest.raises(AttributeError, match="No configuration setting for: nonsense"):
            cfg.set("nonsense", 1)
        cfg.set("post_request", lambda worker, req: None)
        assert get_arity(cfg.post_request) == 4

    def test_the_command_line_is_parsed_as_gunicorn_does(self) -> None:
        found = Config().parser().parse_args(["-w", "3", "--bind", "a:1", "-b", "b:2", "--worker-cl", "gthread", "app"])
        assert (found.workers, found.bind, found.worker_class, found.args) == (3, ["a:1", "b:2"], "gthread", ["app"])


class TestUtil:
    @pytest.mark.parametrize(
        ("text", "address"),
        [
            ("unix:/tmp/a", "/tmp/a"),
            ("unix:///tmp/a", "/tmp/a"),
            ("fd://3", 3),
            ("HOST:80", ("host", 80)),
            ("tcp://host", ("host", 8000)),
            ("[::1]:90", ("::1", 90)),
            ("[::1]", ("::1", 8000)),
            (":90", ("0.0.0.0", 90)),
            ("", ("0.0.0.0", 8000)),
        ],
    )
    def test_addresses_are_taken_apart(self, text: str, address: object) -> None:
        assert parse_address(text) == address

    def test_worker_classes_are_found_by_their_short_names(self) -> None:
        assert load_class("gthread").indrik_kind == "gthread"
        with pytest.raises(RuntimeError, match="nonsense"):
            load_class("nonsense")


class TestRequests:
    @pytest.mark.parametrize(
        ("target", "parts"),
        [
            ("/a?b=c#d", ("/a", "b=c", "d")),
            ("http://host/a?b", ("/a", "b", "")),
            ("//a//b", ("//a//b", "", "")),
            ("*", ("*", "", "")),
        ],
    )
    def test_a_target_is_taken_apart(self, target: str, parts: tuple[str, str, str]) -> None:
        assert split_target(target) == parts

    @pytest.mark.parametrize(
        ("version", "headers", "closes"),
        [
            (11, [], False),
            (10, [], True),
            (11, [("CONNECTION", "close")], True),
            (10, [("CONNECTION", "Keep-Alive")], False),
        ],
    )
    def test_whether_a_connection_is_to_be_closed(
        self, version: int, headers: list[tuple[str, str]], closes: bool
    ) -> None:
        request = Request.received("GET", "/", version, headers, ("127.0.0.1", 1), "http", None)
        assert request.should_close() is closes

    def test_missing_atoms_are_hyphens_and_quotes_cannot_end_a_field(self) -> None:
        atoms = SafeAtoms({"a": 'x"y', "{host}i": "h"})
        assert (atoms["a"], atoms["{Host}i"], atoms["nothing"]) == ('x\\"y', "h", "-")


class TestArbiter:
    LOOK = dedent(
        """
        from gunicorn.app.base import BaseApplication
        from gunicorn.arbiter import Arbiter

        class App(BaseApplication):
            def load_config(self):
                self.cfg.set("workers", 3)
                self.cfg.set("bind", "127.0.0.1:8123")
                self.cfg.set("proc_name", "shop")
                self.cfg.set("raw_env", ["SHOP=open"])
                self.cfg.set("logger_class", "recorder.Logger")

            def load(self):
                raise AssertionError

        class Own(Arbiter):
            def __init__(self, app):
                super().__init__(app)
                print(self.num_workers, self.address, self.timeout, self.proc_name, self.worker_class.__name__)
                print(type(self.log).__module__, self.log.cfg is self.cfg, self.app is app, self.cfg is app.cfg)
                print(sorted(set(vars(self)) & GIVEN), self.worker_age, self.systemd, self.master_name)
                print(self.WORKERS, self.LISTENERS, self.pidfile, self.reexec_pid, self.master_pid, self._stats)
                print(sorted(self.SIG_NAMES.items()), os.environ["SHOP"], "SERVER_SOFTWARE" in os.environ)

        Own(App())
        """
    )
    RECORDER = (
        "import os, sys, types; GIVEN = {'SIG_QUEUE', 'START_CTX', 'dirty_arbiter', 'dirty_arbiter_pid', 'pidfile'}\n"
        "sys.modules['recorder'] = recorder = types.ModuleType('recorder')\n"
        "class Logger:\n    def __init__(self, cfg): self.cfg = cfg\n    debug = lambda self, *_: None\n"
        "recorder.Logger = Logger; Logger.__module__ = 'recorder'\n"
    )

    def test_it_has_after_init_what_gunicorn_s_has(self) -> None:
        ours = python(INSTALL + self.RECORDER + self.LOOK)
        assert ours.splitlines()[0] == "3 [('127.0.0.1', 8123)] 30 shop SyncWorker"
        assert ours == python(self.RECORDER + self.LOOK)

    def test_a_program_s_arbiter_makes_no_logger_that_nobody_asks_for(self) -> None:
        look = (
            self.LOOK.partition("class Own")[0].replace("recorder.Logger", "not.there")
            + "Arbiter(App()); print('made')"
        )
        assert python(INSTALL + look) == "made"
