"""The three suites: where they lie in Gunicorn's source distribution, and how their servers are started."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from environment import Environment, Running, free_ports

# Tests that start `python -m gunicorn` themselves and look at it from outside.
BLACKBOX = [
    "test_signal_integration.py",
    "test_control_socket_integration.py",
    "test_gthread_keepalive_shutdown.py",
    "test_asgi_keepalive_timeout.py",
    "test_asgi_keepalive_pipeline.py",
    "test_asgi_connection_close.py",
    "test_asgi_uwsgi_protocol.py",
    "test_http2_live.py",
    "workers/test_gevent_import_order.py",
]
# Where the plugin lies that tells tests about the server from others.
HERE = Path(__file__).resolve().parent
STARTS_GUNICORN = re.compile(r"""sys\.executable,\s*['"]-m['"],\s*['"]gunicorn['"]""")
FRAMEWORKS = {
    "django": ("django_app", "asgi:application"),
    "fastapi": ("fastapi_app", "app:app"),
    "starlette": ("starlette_app", "app:app"),
    "quart": ("quart_app", "app:app"),
    "litestar": ("litestar_app", "app:app"),
    "blacksheep": ("blacksheep_app", "app:app"),
}
# One hanging test must not stop the run; the longest of the suites waits 60 s.
TEST_SECONDS = 120
# In the process of the tests, `import gunicorn` must be Indrik's stand-in, as it is in its workers.
FACADE = "import sys\nfrom indrik.facade import install\ninstall()\n"


def run_suite(suite: str, server: str, environment: Environment, arguments: list[str]) -> dict[str, str]:
    """Run one suite against one server: test id -> passed, failed, skipped, or apart (it passed, and has
    nothing to do with the server)."""
    directory = environment.work / f"{suite}-{server}"
    shutil.rmtree(directory, ignore_errors=True)
    with SUITES[suite](server, environment, directory) as selected:
        return run_pytest(server, environment, directory, [*selected, *arguments])


@contextmanager
def blackbox(server: str, environment: Environment, directory: Path) -> Iterator[list[str]]:
    tests = environment.sources() / "tests"
    shutil.copytree(tests / "support", directory / "support")
    for name in BLACKBOX:
        text = (tests / name).read_text()
        changed = STARTS_GUNICORN.sub("*__import__('os').environ['ORACLE_COMMAND'].split()", text)
        # Names of headers have no case.
        changed = changed.replace(
            r'b"\r\nConnection: close\r\n" in resp', r'b"\r\nconnection: close\r\n" in resp.lower()'
        )
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(changed)
    # The tests know the end of an answer by its last chunk; Indrik gives an answer of one message its length.
    app = directory / "support" / "http2_live_app.py"
    whole = 'await send({"type": "http.response.body", "body": b"ok"})'
    parts = 'await send({"type": "http.response.body", "body": b"ok", "more_body": True}); '
    app.write_text(app.read_text().replace(whole, parts + whole.replace('b"ok"', 'b""')))
    if server == "indrik":
        (directory / "sitecustomize.py").write_text(FACADE)
    yield BLACKBOX


@contextmanager
def compliance(server: str, environment: Environment, directory: Path) -> Iterator[list[str]]:
    """`asgi_compliance`: one server in clear text, one with TLS, nginx before the first."""
    shutil.copytree(environment.sources() / "tests" / "docker" / "asgi_compliance", directory)
    plain, tls, proxy, proxy_tls = free_ports(4)
    urls = {"gunicorn_http": f"http://127.0.0.1:{plain}"}
    with ExitStack() as running:
        start = [*environment.command(server), "apps.main_app:app", "--worker-class", "asgi", "--workers", "2"]
        start += ["--worker-connections", "1000", "--asgi-disconnect-grace-period", "0", "--log-level", "debug"]
        start += ["--access-logfile", "-", "--control-socket", str(directory / "control")]

        def begin(command: list[str], port: int) -> None:
            running.callback(Running(command, port, directory, environment.variables(server, directory)).stop)

        begin([*start, "--bind", f"127.0.0.1:{plain}"], plain)
        certificate(directory / "certs")
        files = ["--certfile", "certs/server.crt", "--keyfile", "certs/server.key", "--http-protocols", "h2,h1"]
        start[-1] += "-tls"
        begin([*start, *files, "--bind", f"127.0.0.1:{tls}"], tls)
        urls["gunicorn_https"] = f"https://127.0.0.1:{tls}"
        if environment.nginx:
            nginx_configuration(directory, plain, proxy, proxy_tls)
            begin([environment.nginx, "-p", str(directory), "-c", "nginx-local.conf", "-g", "daemon off;"], proxy)
            urls |= {"nginx_http": f"http://127.0.0.1:{proxy}", "nginx_https": f"https://127.0.0.1:{proxy_tls}"}
        replace_docker(directory / "conftest.py", urls)
        (directory / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
        yield sorted(path.name for path in directory.glob("test_*.py"))


def replace_docker(conftest: Path, urls: dict[str, str]) -> None:
    """The last definition of a fixture counts: one that names our servers, and skips what has none."""
    with conftest.open("a") as file:
        file.write(f"""

class _Urls(dict):
    def __missing__(self, name):
        pytest.skip(f"no server for {{name}} here")


@pytest.fixture(scope="session")
def docker_services():
    return _Urls({json.dumps(urls)})
""")


def nginx_configuration(directory: Path, upstream: int, plain: int, tls: int) -> None:
    """The suite's nginx.conf for local ports, files in `directory`, and nginx before 1.25 too."""
    text = (directory / "nginx.conf").read_text()
    text = re.sub(r"resolver [^;]*;|http2 on;|include /etc/nginx/mime.types;", "", text)
    text = re.sub(r"access_log [^;]*;", "access_log off;", text)
    text = re.sub(r"error_log [^;]*;", f"error_log {directory}/nginx-error.log warn;", text)
    text = re.sub(r"pid [^;]*;", f"pid {directory}/nginx.pid;", text, count=1)
    text = text.replace("/certs/", f"{directory}/certs/").replace("listen 8080;", f"listen 127.0.0.1:{plain};")
    text = text.replace("listen 8444 ssl;", f"listen 127.0.0.1:{tls} ssl http2;")
    text = text.replace("server gunicorn-asgi:8000", f"server 127.0.0.1:{upstream}")
    text = re.sub(r"upstream gunicorn_asgi_ssl \{[^}]*\}", "", text)
    temporary = "".join(f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi"))
    temporary += f"uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;"
    (directory / "nginx-local.conf").write_text(text.replace("http {", f"http {{ {temporary}", 1))


def certificate(directory: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-keyout", str(directory / "server.key"), "-out", str(directory / "server.crt")]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def frameworks(server: str, environment: Environment, directory: Path) -> Iterator[list[str]]:
    """`asgi_framework_compat`: one server for each of six frameworks."""
    shutil.copytree(environment.sources() / "tests" / "docker" / "asgi_framework_compat", directory)
    ports = dict(zip(FRAMEWORKS, free_ports(len(FRAMEWORKS)), strict=True))
    with ExitStack() as running:
        for name, (folder, app) in FRAMEWORKS.items():
            cwd = directory / "frameworks" / folder
            command = [*environment.command(server), app, "-k", "asgi", "-b", f"127.0.0.1:{ports[name]}"]
            command += ["--workers", "1", "--worker-connections", "100", "--asgi-loop", "auto"]
            command += ["--control-socket", str(cwd / "control")]
            variables = environment.variables(server, cwd)
            if name == "django":
                variables["DJANGO_SETTINGS_MODULE"] = "settings"
            running.callback(Running(command, ports[name], cwd, variables).stop)
        with (directory / "conftest.py").open("a") as file:
            file.write(f"\nfor _name, _port in {ports!r}.items():\n    FRAMEWORKS[_name]['port'] = _port\n")
        yield ["--skip-docker-check", "tests"]


def run_pytest(server: str, environment: Environment, directory: Path, arguments: list[str]) -> dict[str, str]:
    result = directory / "results.xml"
    command = [str(environment.python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "touched", "--tb=short"]
    command += [f"--timeout={TEST_SECONDS}", "-o", "junit_family=xunit1", f"--junitxml={result}", *arguments]
    with (directory / "pytest.log").open("wb") as log:
        variables = environment.variables(server, directory, HERE)
        subprocess.run(command, cwd=directory, env=variables, stdout=log, stderr=log)
    if not result.exists():
        print((directory / "pytest.log").read_text()[-4000:])
        return {}
    print(f"   details: {directory / 'pytest.log'}", flush=True)
    return read_results(result)


def read_results(result: Path) -> dict[str, str]:
    """The outcomes in a file of pytest's results."""
    outcomes = {}
    for case in ElementTree.parse(result).iter("testcase"):
        name = f"{case.get('file', '').removeprefix('tests/')}::{case.get('name')}"
        kinds = {child.tag for child in case}
        properties = {(child.get("name"), child.get("value")) for child in case.iter("property")}
        if kinds & {"failure", "error"}:
            outcomes[name] = "failed"
        elif "skipped" in kinds:
            outcomes[name] = "skipped"
        else:
            outcomes[name] = "apart" if ("touches_server", "no") in properties else "passed"
    return outcomes


SUITES = {"blackbox": blackbox, "compliance": compliance, "frameworks": frameworks}
