"""Values that fail where they are used: the setting, its file, the line that said it, and what to do. `check` and the
start say the same."""

from __future__ import annotations

import re

import pytest
import trustme

pytestmark = pytest.mark.indrik_only


@pytest.mark.parametrize(
    ("config", "what", "hint"),
    [
        (
            "keyfile = 'other.key'\ncertfile = 'server.pem'",
            "keyfile: {}/other.key does not belong to the certificate in certfile {}/server.pem",
            "name the key that the certificate was made for; ",
        ),
        (
            "certfile = 'server.pem'",
            "certfile: {}/server.pem: has no private key (not encrypted) in PEM form (gunicorn.conf.py:1)",
            "set keyfile (--keyfile) to the key's file, or ",
        ),
        (
            "certfile = 'server.pem'\nkeyfile = 'server.pem'",
            "{}/server.pem: has no private key (not encrypted) in PEM form (gunicorn.conf.py:1)",
            "set keyfile (--keyfile) to the key's file, or ",
        ),
        (
            "certfile = 'missing.pem'\nkeyfile = 'server.key'",
            "certfile: {}/missing.pem: cannot be read: ",
            "name a file in PEM form ",
        ),
        (
            "certfile = 'server.key'\nkeyfile = 'server.key'",
            "certfile: {}/server.key: has no certificate in PEM form (gunicorn.conf.py:1)",
            "name a file in PEM form ",
        ),
        (
            "certfile = 'server.pem'\nkeyfile = 'missing.key'",
            "keyfile: {}/missing.key: cannot be read: ",
            "name a file with a key in PEM form ",
        ),
        (
            "certfile = 'server.pem'\nkeyfile = 'server.key'\ncert_reqs = 2",
            "cert_reqs is set, but not ca_certs (gunicorn.conf.py:3)",
            "or leave cert_reqs out",
        ),
        (
            "certfile = 'server.pem'\nkeyfile = 'server.key'\ncert_reqs = 2\nca_certs = 'missing.pem'",
            "ca_certs: {}/missing.pem: cannot be read: ",
            "name a file in PEM form ",
        ),
        (
            "accesslog = 'missing/a.log'",
            "accesslog: cannot open the access log {}/missing/a.log: ",
            "name a file that may be written to, ",
        ),
        (
            "errorlog = 'missing/e.log'",
            "errorlog: cannot open the error log {}/missing/e.log: ",
            "name a file that may be written to, ",
        ),
        (
            "pidfile = 'missing/x.pid'",
            "pidfile: cannot write the pid file {}/missing/x.pid: ",
            "or leave pidfile out",
        ),
    ],
)
def test_they_are_told_with_setting_place_and_what_to_do(project, config, what, hint):
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    project.write("server.pem", certificate.cert_chain_pems[0].bytes().decode())
    project.write("server.key", certificate.private_key_pem.bytes().decode())
    project.write("other.key", authority.issue_cert("localhost").private_key_pem.bytes().decode())
    project.config(config)
    started = project.run("--bind", "127.0.0.1:0", "app:app")
    checked = project.run("check", "app:app")
    assert (started.code, checked.code) == (1, 1)
    what = what.replace("{}", str(project.directory))
    for told in (started.output, checked.output):
        assert what in told
        assert re.search(rf"hint: .*{re.escape(hint)}", told), told
        assert "(gunicorn.conf.py:" in told


def test_a_directory_that_is_not_there_is_told_with_its_flag(project):
    done = project.run("--bind", "127.0.0.1:0", "--chdir", "/nonexistent", "app:app")
    assert done.code == 1
    assert "chdir: cannot change to the directory /nonexistent" in done.output
    assert "hint: name a directory that is there" in done.output


def test_a_configuration_file_that_is_not_there_is_told_with_where_it_was_looked_for(project):
    done = project.run("--bind", "127.0.0.1:0", "-c", "nope.py", "app:app")
    assert done.code == 1
    assert "config: the configuration file 'nope.py' does not exist" in done.output
    assert f"hint: {project.directory}/nope.py was looked for: name a file that is there with -c" in done.output
