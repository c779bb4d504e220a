"""Where settings come from, what their values may be, and what a mistake leads to.

Most of it is asked through `--print-config`, which both servers have, in a directory of its own.
"""

from __future__ import annotations

import os
import py_compile
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.server import COMMAND, IS_ORACLE

APP = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'']\n"
VARIABLES = ("GUNICORN_CMD_ARGS", "WEB_CONCURRENCY", "PORT", "FORWARDED_ALLOW_IPS", "SENDFILE")
SECONDS = 30


@dataclass
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def settings(self) -> dict[str, str]:
        """What `--print-config` printed."""
        lines = (line.split(" = ", 1) for line in self.out.splitlines() if " = " in line)
        return {line[0].strip(): line[1] for line in lines}


class Directory:
    """A directory with an application, files and the command run in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write("main.py", APP)

    def write(self, name: str, text: str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run(self, *arguments: str, **env: str) -> Outcome:
        clean = {name: text for name, text in os.environ.items() if name not in VARIABLES}
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.path,
            env=clean | env,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def printed(self, *arguments: str, app: str = "main:app", **env: str) -> dict[str, str]:
        """Every setting's value as `--print-config` shows it."""
        outcome = self.run(*arguments, "--print-config", *([app] if app else []), **env)
        assert outcome.code == 0, outcome.err
        return outcome.settings

    def value(self, name: str, config: str) -> str:
        """What a configuration file makes of one setting."""
        self.write("gunicorn.conf.py", config)
        return self.printed()[name]

    def refused(self, *arguments: str, **env: str) -> Outcome:
        """The outcome of a start that must fail."""
        before = set(self.path.rglob("*"))
        outcome = self.run(*arguments, "main:app", **env)
        assert outcome.code != 0
        left = {path for path in set(self.path.rglob("*")) - before if "__pycache__" not in path.parts}
        assert not left, "a start that fails leaves nothing behind"
        return outcome


@pytest.fixture
def here(tmp_path: Path) -> Directory:
    return Directory(tmp_path)


class TestWhichFile:
    def test_the_directorys_own_file_is_read_without_being_named(self, here):
        assert here.value("backlog", "backlog = 11") == "11"

    def test_it_is_the_one_where_the_command_runs_not_the_one_of_chdir(self, here):
        here.write("gunicorn.conf.py", "backlog = 11\nchdir = 'there'")
        here.write("there/gunicorn.conf.py", "backlog = 12")
        here.write("there/main.py", APP)
        assert here.printed()["backlog"] == "11"
        assert here.printed("--chdir", "there")["backlog"] == "11"

    @pytest.mark.parametrize("name", ["other.py", "file:other.py", "python:other", "./other.py"])
    def test_a_named_file_is_read_instead(self, here, name):
        here.write("gunicorn.conf.py", "backlog = 11\nkeepalive = 12")
        here.write("other.py", "backlog = 21")
        settings = here.printed("-c", name)
        assert settings["backlog"] == "21"
        assert settings["keepalive"] != "12"

    def test_the_file_may_be_a_compiled_one(self, here):
        here.write("plain.py", "backlog = 21")
        py_compile.compile(here.path / "plain.py", cfile=here.path / "compiled.pyc", doraise=True)
        assert here.printed("-c", "compiled.pyc")["backlog"] == "21"

    @pytest.mark.indrik_only
    def test_a_file_that_is_not_what_it_is_called_is_named(self, here):
        (here.path / "compiled.pyc").write_bytes(b"nothing of the kind")
        done = here.refused("-c", "compiled.pyc")
        assert done.code == 1
        assert "the configuration file was not compiled by this Python" in done.err

    def test_a_module_may_be_dotted_and_lies_beside_the_application(self, here):
        here.write("conf/__init__.py", "")
        here.write("conf/live.py", "backlog = 21")
        assert here.printed("-c", "python:conf.live")["backlog"] == "21"

    def test_the_variable_with_a_command_line_may_name_it(self, here):
        here.write("gunicorn.conf.py", "backlog = 11")
        here.write("one.py", "backlog = 21")
        here.write("two.py", "backlog = 31")
        assert here.printed(GUNICORN_CMD_ARGS="-c one.py")["backlog"] == "21"
        assert here.printed("-c", "two.py", GUNICORN_CMD_ARGS="-c one.py")["backlog"] == "31"

    def test_a_file_without_the_ending_of_python_is_python_all_the_same(self, here):
        here.write("settings.txt", "backlog = 21")
        assert here.printed("-c", "settings.txt")["backlog"] == "21"

    def test_the_file_runs_in_a_module_of_its_own_name(self, here):
        assert here.value("proc_name", "proc_name = __name__ + str(__file__.endswith('.conf.py'))") == "__config__True"

    def test_the_file_may_import_what_lies_beside_it(self, here):
        here.write("helper.py", "number = 7")
        assert here.value("backlog", "from helper import number as backlog") == "7"


class TestWhoWins:
    def test_the_command_line_beats_the_variable_and_that_beats_the_file(self, here):
        here.write("gunicorn.conf.py", "backlog = 11\nthreads = 11\nmax_requests = 11")
        settings = here.printed("--backlog", "31", GUNICORN_CMD_ARGS="--backlog 21 --threads=21 --name 'a b'")
        assert (settings["backlog"], settings["threads"], settings["max_requests"]) == ("31", "21", "11")
        assert settings["proc_name"] == "a b"

    def test_variables_of_the_platform_take_the_place_of_defaults(self, here):
        env = {"WEB_CONCURRENCY": "3", "PORT": "5000", "FORWARDED_ALLOW_IPS": "10.0.0.0/8,::1"}
        settings = here.printed(**env)
        assert settings["workers"] == "3"
        assert settings["bind"] == "['0.0.0.0:5000']"
        assert settings["forwarded_allow_ips"] == "['10.0.0.0/8', '::1']"
        here.write("gunicorn.conf.py", "workers = 4\nbind = 'unix:sock'\nforwarded_allow_ips = '*'")
        settings = here.printed(**env)
        assert settings["workers"] == "4"
        assert "sock" in settings["bind"]
        assert settings["forwarded_allow_ips"] == "['*']"

    def test_a_list_of_the_command_line_replaces_that_of_the_file(self, here):
        here.write("gunicorn.conf.py", "bind = [':1', ':2']\nraw_env = ['A=1']")
        assert ":2" in here.printed()["bind"]
        settings = here.printed("-b", "127.0.0.1:3", "-b", "127.0.0.1:4")
        assert settings["bind"] == "['127.0.0.1:3', '127.0.0.1:4']"
        assert settings["raw_env"] == "['A=1']"

    def test_the_file_may_name_the_application_and_the_command_line_beats_it(self, here):
        here.write("gunicorn.conf.py", "wsgi_app = 'main:app'")
        assert here.printed(app="")["wsgi_app"] == "main:app"
        here.write("gunicorn.conf.py", "wsgi_app = 'nothing:app'")
        assert here.run("--check-config", "main:app").code == 0

    def test_the_environment_the_file_sees_is_that_of_the_command(self, here):
        assert here.value("backlog", "import os\nbacklog = int(os.environ.get('NUMBER', 5))") == "5"
        assert here.printed(NUMBER="9")["backlog"] == "9"


class TestCommandLine:
    @pytest.mark.parametrize(
        ("flags", "name", "value"),
        [
            (("--worker-cl", "gthread"), "worker_class", "gthread"),
            (("--worker-cl=gthread",), "worker_class", "gthread"),
            (("-w3",), "workers", "3"),
            (("-w", "3"), "workers", "3"),
            (("--limit-request-field_size", "99"), "limit_request_field_size", "99"),
            (("--log-f", "-"), "errorlog", "-"),
            (("--header", "refuse"), "header_map", "refuse"),
            (("--no-sendfile",), "sendfile", "False"),
            (("-m", "022"), "umask", "18"),
            (("-m", "0o22"), "umask", "18"),
            (("--control-socket-mode", "0660"), "control_socket_mode", "432"),
            (("-e", "A=1", "--env", "B=2 3"), "raw_env", "['A=1', 'B=2 3']"),
            (("--reload-extra-file", "main.py"), "reload_extra_files", "['main.py']"),
            (("--timeout", "5", "--timeout", "6"), "timeout", "6"),
        ],
    )
    def test_flags_are_spelt_as_argparse_lets_one(self, here, flags, name, value):
        assert here.printed(*flags)[name] == value

    def test_a_flag_with_an_optional_value_may_stand_at_the_end(self, here):
        assert here.printed(app="main:app")["proxy_protocol"] == "off"
        outcome = here.run("--print-config", "main:app", "--proxy-protocol")
        assert outcome.settings["proxy_protocol"] == "auto"
        assert here.printed("--proxy-protocol", "v2")["proxy_protocol"] == "v2"

    def test_words_after_the_application_are_passed_over(self, here):
        outcome = here.run("--check-config", "main:app", "other:app", "third")
        assert outcome.code == 0
        if not IS_ORACLE:
            assert "'other:app' on the command line has no effect" in outcome.err

    @pytest.mark.parametrize(
        ("flags", "named"),
        [
            (("--wokrers", "3"), "--wokrers"),
            (("--max-re", "3"), "--max-requests-jitter"),
            (("--backlog",), "--backlog"),
            (("--control-socket-disable",), "--control-socket-disable"),
        ],
    )
    def test_wrong_usage_ends_with_2_and_names_the_flag(self, here, flags, named):
        outcome = here.run("main:app", *flags)
        assert outcome.code == 2
        assert named in outcome.err

    def test_wrong_usage_in_the_variable_as_well(self, here):
        outcome = here.refused(GUNICORN_CMD_ARGS="--wokrers 3")
        assert outcome.code == 2
        assert "--wokrers" in outcome.err

    def test_an_open_quote_in_the_variable_is_a_wrong_setting(self, here):
        assert here.refused(GUNICORN_CMD_ARGS="--name 'a").code == 1

    @pytest.mark.parametrize("flag", ["-v", "--version"])
    def test_the_version_has_gunicorns_form(self, here, flag):
        outcome = here.run(flag)
        assert outcome.code == 0
        assert re.fullmatch(r"\w+ \(version \d+\.\d+\.\d+\)\n*", outcome.out)

    def test_the_help_ends_with_0(self, here):
        outcome = here.run("--help")
        assert outcome.code == 0
        assert "--worker-class" in outcome.out


class TestValues:
    @pytest.mark.parametrize(
        ("config", "name", "value"),
        [
            ("backlog = '0x10'", "backlog", "16"),
            ("backlog = '16'", "backlog", "16"),
            ("backlog = '1_000'", "backlog", "1000"),
            ("raw_env = ''", "raw_env", "[]"),
            ("reload_extra_files = False", "reload_extra_files", "[]"),
            ("keepalive = True", "keepalive", "1"),
            ("preload_app = 'true'", "preload_app", "True"),
            ("preload_app = ' False '", "preload_app", "False"),
            ("bind = 'localhost:99'", "bind", "['localhost:99']"),
            ("bind = ('localhost:99',)", "bind", "['localhost:99']"),
            ("raw_env = 'A=1'", "raw_env", "['A=1']"),
            ("raw_env = []", "raw_env", "[]"),
            ("pidfile = None", "pidfile", "None"),
            ("proxy_protocol = True", "proxy_protocol", "auto"),
            ("proxy_protocol = 'V1'", "proxy_protocol", "v1"),
            ("header_map = 'Refuse'", "header_map", "refuse"),
            ("http_protocols = 'h1'", "http_protocols", "['h1']"),
            ("secure_scheme_headers = {'X-SCHEME': 'https'}", "secure_scheme_headers", "{'X-SCHEME': 'https'}"),
            ("logconfig_dict = {'version': 1}", "logconfig_dict", "{'version': 1}"),
            ("accesslog = '-'", "accesslog", "-"),
            ("proc_name = '  name '", "proc_name", "name"),
            ("def post_fork(server, worker): pass", "post_fork", "<post_fork()>"),
            ("class H:\n def on_exit(self, s): pass\non_exit = H().on_exit", "on_exit", "<H.on_exit()>"),
        ],
    )
    def test_values_are_read_as_gunicorn_reads_them(self, here, config, name, value):
        here.write("main.py", APP + "def ready(server): pass\n")
        assert here.value(name, config) == value

    def test_a_hook_may_be_an_import_path(self, here):
        here.write("main.py", APP + "def ready(server): pass\n")
        assert "ready()" in here.value("when_ready", "when_ready = 'main.ready'")

    def test_names_match_to_the_letter(self, here):
        assert here.value("preload_app", "PRELOAD_APP = True\nPreload_App = True") == "False"

    def test_names_that_are_no_settings_are_the_files_own(self, here):
        assert here.value("backlog", "_x = 1\ncolour = object()\nimport json\nbacklog = 9") == "9"

    def test_a_function_may_return_the_worker_class(self, here):
        config = "import gunicorn.workers.gthread as g\ndef worker_class(): return g.ThreadWorker"
        assert "ThreadWorker" in here.value("worker_class", config)

    @pytest.mark.indrik_only
    @pytest.mark.parametrize(
        ("config", "name", "value"),
        [
            ("timeout = 30.7", "timeout", "30.7"),
            ("timeout = '500ms'", "timeout", "0.5"),
            ("post_fork = None", "post_fork", "None"),
            ("control_socket = None", "control_socket", "None"),
            ("forwarded_allow_ips = ['10.0.0.1']", "forwarded_allow_ips", "['10.0.0.1']"),
            ("http_protocols = ['h1']", "http_protocols", "['h1']"),
            ("from pathlib import Path\npidfile = Path('a')", "pidfile", "a"),
        ],
    )
    def test_values_that_end_gunicorn_and_are_clear_all_the_same(self, here, config, name, value):
        assert here.value(name, config) == value


class TestMistakes:
    """Exit code 1; the message names the setting (the file and line too, which Gunicorn leaves out)."""

    @pytest.mark.parametrize(
        ("config", "name"),
        [
            ("\nbacklog = 'many'", "backlog"),
            ("\nbacklog = 1.5", "backlog"),
            ("\nbacklog = -1", "backlog"),
            ("\nbacklog = None", "backlog"),
            ("\npreload_app = 'perhaps'", "preload_app"),
            ("\npreload_app = 1", "preload_app"),
            ("\nproc_name = 3", "proc_name"),
            ("\nbind = [3]", "bind"),
            ("\nlogconfig_dict = 'x'", "logconfig_dict"),
            ("\nheader_map = 'maybe'", "header_map"),
            ("\nreload_engine = 'magic'", "reload_engine"),
            ("\nproxy_protocol = 'v3'", "proxy_protocol"),
            ("\nforwarded_allow_ips = 'localhost'", "forwarded_allow_ips"),
            ("\nforwarded_allow_ips = '192.168.1.1/24'", "forwarded_allow_ips"),
            ("\nhttp2_max_frame_size = 1", "http2_max_frame_size"),
            ("\nasgi_loop = 'twisted'", "asgi_loop"),
            ("\nstatsd_host = 'host:port'", "statsd_host"),
            ("\ndef post_fork(server): pass", "post_fork"),
            ("\ndef post_request(worker): pass", "post_request"),
            ("\npost_fork = 3", "post_fork"),
            ("\npost_fork = 'no.such.module'", "post_fork"),
            ("\npost_fork = 'nothing'", "post_fork"),
        ],
    )
    def test_a_wrong_value_is_named_with_its_setting(self, here, config, name):
        here.write("gunicorn.conf.py", config)
        outcome = here.refused()
        assert outcome.code == 1
        assert name in outcome.err
        if not IS_ORACLE:
            assert "gunicorn.conf.py:2" in outcome.err
            assert "Traceback" not in outcome.err

    def test_a_wrong_value_of_a_flag_is_named_with_it(self, here):
        outcome = here.refused("--backlog", "many")
        assert outcome.code == (2 if IS_ORACLE else 1)
        assert "--backlog" in outcome.err
        assert "'many'" in outcome.err

    def test_a_missing_file_is_named(self, here):
        for name in ("nothing.py", "file:nothing.py"):
            outcome = here.refused("-c", name)
            assert outcome.code == 1
            assert "nothing.py" in outcome.err

    def test_a_missing_module_is_named(self, here):
        outcome = here.refused("-c", "python:nothing.here")
        assert outcome.code == 1
        assert "nothing" in outcome.err

    def test_a_syntax_error_is_shown_with_its_line(self, here):
        here.write("gunicorn.conf.py", "backlog = 1\nworkers = = 2\n")
        outcome = here.refused()
        assert outcome.code == 1
        assert re.search(r"gunicorn\.conf\.py\"?(, line |:)2", outcome.err)
        assert "SyntaxError" in outcome.err

    def test_an_exception_in_the_file_is_shown_with_its_line(self, here):
        here.write("gunicorn.conf.py", "backlog = 1\nbacklog = int('x')\n")
        outcome = here.refused()
        assert outcome.code == 1
        assert re.search(r"gunicorn\.conf\.py\"?(, line |:)2", outcome.err)
        assert "ValueError" in outcome.err

    def test_no_application_is_a_mistake(self, here):
        outcome = here.run("-w", "1")
        assert outcome.code == 1
        assert "pplication" in outcome.err

    def test_a_wrong_platform_variable_is_a_mistake(self, here):
        outcome = here.refused(WEB_CONCURRENCY="many")
        assert outcome.code == 1
        if not IS_ORACLE:
            assert "WEB_CONCURRENCY" in outcome.err

    @pytest.mark.indrik_only
    def test_all_mistakes_are_told_at_once_each_with_its_place_and_what_to_do(self, here):
        here.write("gunicorn.conf.py", "backlog = 'many'\nworkers = 0\n\ndef post_fork(server): pass\n")
        err = here.refused("--loglevel=inof".replace("loglevel", "log-level")).err
        for part in (
            "backlog: 'many' is not a whole number (gunicorn.conf.py:1)",
            "workers: '0' is too small (gunicorn.conf.py:2)",
            "post_fork: must have 2 parameters (server, worker), but post_fork has 1 (gunicorn.conf.py:4)",
            "loglevel: 'inof' is not a choice (--log-level)",
            "did you mean info?",
        ):
            assert part in err

    @pytest.mark.indrik_only
    def test_names_that_look_like_settings_are_told_with_the_right_one(self, here):
        here.write(
            "gunicorn.conf.py",
            "PRELOAD_APP = True\n"
            "max_worker_connections = 10\n"
            "worker_int_class = 'gevent'\n"
            "log_level = 'info'\n"
            "loglevel = log_level\n"
            "def post_forkk(server, worker): pass\n",
        )
        outcome = here.run("--check-config", "main:app")
        assert outcome.code == 0
        for line, name, meant in (
            (1, "PRELOAD_APP", "preload_app"),
            (2, "max_worker_connections", "worker_connections"),
            (3, "worker_int_class", "worker_class"),
            (6, "post_forkk", "post_fork"),
        ):
            assert (
                f"gunicorn.conf.py:{line}: {name} is not a setting and has no effect; did you mean {meant}?"
                in outcome.err
            )
        assert "log_level is not" not in outcome.err


class TestLookingWithoutServing:
    def test_check_config_loads_the_application(self, here):
        assert here.run("--check-config", "main:app").code == 0
        here.write("main.py", "raise KeyError('a secret')")
        outcome = here.run("--check-config", "main:app")
        assert outcome.code == 1
        assert "KeyError: 'a secret'" in outcome.err

    def test_check_config_of_a_missing_application_is_a_1(self, here):
        assert here.run("--check-config", "nothing:app").code == 1
        assert here.run("--check-config", "main:nothing").code == 1

    def test_the_file_may_ask_for_it(self, here):
        here.write("gunicorn.conf.py", "print_config = True\nbacklog = 7")
        outcome = here.run("main:app")
        assert outcome.code == 0
        assert outcome.settings["backlog"] == "7"

    @pytest.mark.parametrize("name", ["user", "group"])
    def test_a_user_or_group_nobody_knows_is_named(self, here, name):
        outcome = here.run("--check-config", f"--{name}", "no-such-name", "main:app")
        assert outcome.code == 1
        assert f"No such {name}: 'no-such-name'" in outcome.err

    def test_print_config_prints_every_setting_sorted_and_in_columns(self, here):
        outcome = here.run("--print-config", "main:app")
        lines = outcome.out.splitlines()
        names = [line.split(" = ")[0] for line in lines]
        assert len({len(name) for name in names}) == 1
        assert names == sorted(names)
        assert len(names) >= 120

    def test_print_config_shows_what_defaults_come_to(self, here):
        settings = here.printed()
        assert settings["chdir"] == str(here.path)
        assert settings["default_proc_name"] == "main:app"
        assert int(settings["workers"]) >= 1

    def test_print_config_loads_the_application_too(self, here):
        here.write("main.py", "1 / 0")
        outcome = here.run("--print-config", "main:app")
        assert outcome.code == 1
        assert "backlog" in outcome.out


PASTE = """
[app:main]
paste.app_factory = factory:make
greeting = %(word)s

[app:other]
paste.app_factory = factory:make
greeting = other
"""
FACTORY = """
import sys

def make(global_conf, greeting):
    print("made with", greeting, file=sys.stderr)
    return lambda environ, start_response: []
"""


class TestPaste:
    def test_a_paste_file_makes_the_application(self, here):
        here.write("site.ini", PASTE)
        here.write("factory.py", FACTORY)
        outcome = here.run("--paste", "site.ini", "--paste-global", "word=hello", "--check-config")
        assert (outcome.code, "made with hello" in outcome.err) == (0, True), outcome.err
        outcome = here.run("--paste", "site.ini#other", "--paste-global", r"wo\=rd=1", "--check-config")
        assert (outcome.code, "made with other" in outcome.err) == (0, True), outcome.err

    def test_a_paste_file_with_loggers_is_a_logging_configuration(self, here):
        here.write("site.ini", PASTE + "\n[loggers]\nkeys = root\n")
        here.write("factory.py", FACTORY)
        outcome = here.run("--paste", "site.ini", "--paste-global", "word=a", "--print-config")
        assert outcome.settings["logconfig"].endswith("site.ini")

    def test_a_missing_paste_file_is_named(self, here):
        outcome = here.run("--paste", "nothing.ini")
        assert outcome.code == 1
        assert "nothing.ini" in outcome.err


@pytest.mark.indrik_only
class TestExplainAndCheck:
    def test_explain_says_value_place_and_meaning_also_of_hooks(self, here):
        here.write("gunicorn.conf.py", "\nbacklog = 7\n\ndef post_fork(server, worker): pass\n")
        out = here.run("explain", "backlog").out
        assert out.startswith("backlog = 7\n  from gunicorn.conf.py:2\n\n")
        out = here.run("explain", "post_fork").out
        assert out.startswith("post_fork = post_fork\n  from gunicorn.conf.py:4\n\n")
        assert "the server, the worker" in out
        assert here.run("explain", "--keep-alive").out.startswith("keepalive = 75s\n  from the default\n")
        outcome = here.run("explain", "wokrers")
        assert (outcome.code, "did you mean workers?" in outcome.err) == (1, True)

    def test_explain_route_says_what_happens_to_a_request_and_which_line_says_so(self, here):
        here.write(
            "gunicorn.conf.py",
            "readiness_path = '/ready'\n"
            "request_timeout = 30\n"
            "request_timeout_paths = ['/reports=120', '/reports/live=0']\n"
            "access_log_exclude = ['/re*']\n",
        )
        out = here.run("explain", "route", "GET", "http://example.org/reports/1?x").out
        assert out == (
            "GET /reports/1 on example.org\n\n"
            "  it may run for 120 s, then it is ended with 504\n"
            "    as the path begins with /reports\n"
            "    by request_timeout_paths: /reports=120, from gunicorn.conf.py:3\n\n"
            "  it has no line in the access log, unless its status is 500 or above\n"
            "    as the path is like /re*\n"
            "    by access_log_exclude: /re*, from gunicorn.conf.py:4\n\n"
            "  the application answers it\n\n"
            "  it may run for 30 s, then it is ended with 504\n"
            "    as a sync worker runs it, if the application is a WSGI one (else only request_timeout ends it)\n"
            "    by timeout: 30, from the default\n"
        )
        assert "by timeout" not in here.run("explain", "route", "GET", "/reports/1", "-k", "gthread").out
        out = here.run("explain", "route", "POST", "/ready").out
        assert "the front answers it: 405" in out
        assert "by readiness_path: /ready, from gunicorn.conf.py:1" in out
        out = here.run("explain", "route", "GET", "/x", "--request-timeout", "5").out
        assert "may run for 5 s" in out
        assert "by request_timeout: 5, from --request-timeout" in out
        outcome = here.run("explain", "route", "GET", "ftp://a/b")
        assert (outcome.code, "is no URL and no path" in outcome.err) == (2, True) or outcome.code == 1
        assert "no request to explain is named" in here.run("explain", "route", "GET").err

    def test_check_says_what_becomes_of_everything_that_is_set(self, here):
        here.write(
            "gunicorn.conf.py",
            "bind = ':8000'\n"
            "worker_tmp_dir = '/dev/shm'\n"
            "max_request = 10\n"
            "forwarded_allow_ips = '*'\n"
            "keepalive = 5\n"
            "worker_class = 'gthread'\n"
            "worker_connections = 10\n"
            "statsd_prefix = 'x'\n",
        )
        outcome = here.run("check", "main:app")
        assert outcome.code == 0, outcome.err
        honoured, ignored, suspicious, end = outcome.out.split("\n\n")
        assert honoured.startswith("Honoured:\n")
        assert "\n  keepalive = 5s  (gunicorn.conf.py:5)" in honoured
        assert ignored.startswith("Without effect:\n  worker_tmp_dir = /dev/shm  (gunicorn.conf.py:2): ")
        assert suspicious.startswith("Suspicious:\n")
        for part in (
            "did you mean max_requests?",
            "forwarded_allow_ips = *",
            "keepalive = 5",
            "statsd_prefix has no effect",
        ):
            assert part in suspicious
        assert "worker_connections has no effect with sync and gthread" in suspicious
        assert end == "The application main:app loads: WSGI.\n"

    def test_check_sees_what_does_not_go_well_with_preload(self, here):
        here.write(
            "main.py",
            APP
            + "import sqlite3, threading\nkept = sqlite3.connect('x.db')\n"
            + "threading.Thread(target=threading.Event().wait, name='poller', daemon=True).start()\n",
        )
        assert "fork safety" not in here.run("check", "main:app").out
        outcome = here.run("check", "main:app", "--preload")
        assert outcome.code == 0, outcome.err
        assert "fork safety: the thread 'poller'" in outcome.out
        assert "fork safety: an SQLite connection" in outcome.out, outcome.out
        assert "fork safety" not in here.run("check", "main:app", "--preload", "--fork-safety", "off").out

    @pytest.mark.parametrize("command", ["check", "--check-config"])
    @pytest.mark.parametrize(
        ("lines", "told"),
        [
            ("logconfig = '/no/such.ini'", "/no/such.ini"),
            ("logconfig_json = 'no.json'", "no.json"),
            ("logconfig_dict = {'version': 2}", "Unsupported version: 2"),
            ("logger_class = 'nope.Logger'", "nope"),
            ("preload_app = True\nfork_safety = 'error'", "fork_safety is error"),
            ("bind = 'nohost.invalid:80'", "cannot resolve the host of nohost.invalid:80"),
            ("bind = '192.0.2.1:8000'", "it is not an address of this machine"),
            ("pidfile = 'missing/x.pid'", "cannot write the pid file"),
        ],
    )
    def test_what_a_start_refuses_the_check_refuses_too_and_in_its_words(self, here, command, lines, told):
        here.write(
            "main.py", APP + "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        )
        here.write("gunicorn.conf.py", f"control_socket = None\n{lines}\n")
        started = here.run("main:app")
        assert started.code in (1, 3) and told in started.err, started.err
        outcome = here.run(command, "main:app")
        assert outcome.code == 1 and told in outcome.err, outcome.err

    def test_the_check_makes_a_python_logger_and_not_its_files_and_calls_no_hook(self, here):
        here.write(
            "gunicorn.conf.py",
            "from gunicorn.glogging import Logger\n"
            "class logger_class(Logger): pass\n"
            "errorlog = 'e.log'\naccesslog = 'a.log'\ncapture_output = True\n"
            "def on_starting(server): print('a hook ran')\n"
            "on_exit = nworkers_changed = None\n",
        )
        before = set(os.listdir(here.path))
        outcome = here.run("check", "main:app")
        assert outcome.code == 0, outcome.err
        assert "a hook ran" not in outcome.out + outcome.err
        assert set(os.listdir(here.path)) - before <= {"__pycache__"}

    @pytest.mark.parametrize(
        ("flags", "told"),
        [
            (["--pid", "missing/x.pid"], "cannot write the pid file"),
            (["--pid", "fifo"], "it is a named pipe"),
            (["--access-logfile", "missing/x.log"], "cannot open the access log"),
            (["--error-logfile", "."], "cannot open the error log"),
            (["--certfile", "missing.pem"], "missing.pem: cannot be read"),
            (["--certfile", "fifo"], "it is a named pipe"),
            (["-b", "unix:main.py"], "there is something else than a socket"),
            (["-b", "unix:missing/x.sock"], "No such file or directory"),
        ],
    )
    def test_check_names_the_file_that_a_start_would_fail_at(self, here, flags, told):
        os.mkfifo(here.path / "fifo")
        outcome = here.run("check", "main:app", *flags)
        assert outcome.code == 1
        assert told in outcome.err

    def test_check_makes_nothing(self, here):
        flags = ("--pid", "x.pid", "--access-logfile", "x.log", "-b", "unix:x.sock")
        before = set(os.listdir(here.path))
        assert here.run("check", "main:app", *flags).code == 0
        assert set(os.listdir(here.path)) - before <= {"__pycache__"}

    def test_check_ends_with_1_when_the_start_would_fail(self, here):
        here.write("gunicorn.conf.py", "protocol = 'uwsgi'")
        outcome = here.run("check", "main:app")
        assert outcome.code == 1
        assert "Not supported:\n  protocol = uwsgi" in outcome.out
        here.write("gunicorn.conf.py", "")
        outcome = here.run("check", "main:nothing")
        assert outcome.code == 1
        assert "nothing" in outcome.err
