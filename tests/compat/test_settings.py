"""Every setting of Gunicorn has a test that changes it and sees the effect, or says that it has none.

`EFFECTS` names the test of each honoured setting, by its file under tests/. Settings without effect and
refused ones are tried here, with `EXAMPLES` as values.
"""

from __future__ import annotations

import ast
import functools
from typing import Any

import pytest
from support.server import REPOSITORY, TESTS

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no reader of TOML")

ROWS: list[dict[str, Any]] = tomllib.loads((REPOSITORY / "settings.toml").read_text())["setting"]
GUNICORNS = [row for row in ROWS if row["gunicorn"]]


def of(status: str) -> list[dict[str, Any]]:
    return [row for row in GUNICORNS if row.get("status", "honoured") == status]


EXAMPLES = {
    "worker_tmp_dir": "'/dev/shm'",
    "uwsgi_allow_ips": "'10.0.0.1'",
    "http_parser": "'python'",
    "protocol": "'uwsgi'",
    "ssl_version": "5",
    "suppress_ragged_eofs": "False",
    "do_handshake_on_connect": "True",
    "ciphers": "'HIGH'",
    "ssl_context": "lambda config, default: default()",
    "dirty_apps": "['app:Dirty']",
    "dirty_workers": "2",
    "dirty_timeout": "7",
    "dirty_threads": "2",
    "dirty_graceful_timeout": "7",
    "on_dirty_starting": "lambda arbiter: None",
    "dirty_post_fork": "lambda arbiter, worker: None",
    "dirty_worker_init": "lambda worker: None",
    "dirty_worker_exit": "lambda arbiter, worker: None",
}
"""A value other than the default, as Python, for every setting that is not honoured."""

GRACE = "test_the_coroutine_of_a_client_that_has_gone_is_cancelled_after_the_grace_period"
EFFECTS: dict[str, dict[str, str]] = {
    "compat/test_config.py": {
        "config": "test_a_named_file_is_read_instead",
        "wsgi_app": "test_the_file_may_name_the_application_and_the_command_line_beats_it",
        "check_config": "test_check_config_loads_the_application",
        "print_config": "test_print_config_prints_every_setting_sorted_and_in_columns",
        "paste": "test_a_paste_file_makes_the_application",
        "raw_paste_global_conf": "test_a_paste_file_makes_the_application",
    },
    "compat/test_infrastructure.py": {
        "bind": "test_gunicorn_conf_py_of_the_directory_is_read_by_itself",
    },
    "compat/test_setting_effects.py": {
        "backlog": "test_backlog_is_the_length_of_the_kernels_queue",
        "workers": "test_workers_are_as_many_as_asked_for",
        "threads": "test_threads_are_told_to_the_application",
        "worker_connections": "test_worker_connections_is_how_many_requests_an_asgi_worker_runs",
        "max_requests_jitter": "test_max_requests_jitter_lets_a_worker_live_longer",
        "keepalive": "test_keepalive_ends_an_idle_connection",
        "websocket_max_message_size": "test_websocket_max_message_size_closes_with_1009",
        "spew": "test_spew_prints_every_line",
        "sendfile": "test_without_it_the_file_is_read",
        "tmp_upload_dir": "test_tmp_upload_dir_holds_large_bodies",
        "chdir": "test_chdir_is_the_applications_directory_and_searched_first",
        "loglevel": "test_loglevel_hides_what_is_less_serious",
        "proc_name": "test_proc_name_beats_default_proc_name_and_that_the_applications_name",
        "default_proc_name": "test_proc_name_beats_default_proc_name_and_that_the_applications_name",
    },
    "e2e/test_supervisor.py": {
        "max_requests": "test_max_requests_replaces_workers_without_loss",
        "timeout": "test_a_stuck_request_is_a_504_with_its_stack_in_the_log",
        "graceful_timeout": "test_graceful_timeout_ends_a_request_that_never_ends",
    },
    "e2e/test_startup.py": {
        "pythonpath": "test_pythonpath_is_searched",
        "raw_env": "test_environment_variables_reach_the_application",
        "preload_app": "test_preloaded_code_is_imported_once",
        "errorlog": "test_the_error_log_can_be_a_file",
        "pidfile": "test_the_pid_file_holds_the_supervisor_s_pid_and_goes_away",
    },
    "e2e/test_asgi.py": {
        "root_path": "test_it_has_what_the_specification_asks_for",
    },
    "e2e/test_limits.py": {
        "limit_request_line": "test_gunicorns_three_limits_are_honoured",
        "limit_request_fields": "test_gunicorns_three_limits_are_honoured",
        "limit_request_field_size": "test_gunicorns_three_limits_are_honoured",
    },
    "e2e/test_access_log.py": {
        "accesslog": "test_it_can_be_a_file",
        "access_log_format": "test_every_atom",
    },
    "e2e/test_http2.py": {
        "http_protocols": "test_the_version_that_the_server_likes_best_is_agreed_on",
        "http2_cleartext": "test_a_trusted_proxy_may_begin_with_http2_without_tls_and_with_nothing_else",
        "http2_max_concurrent_streams": "test_the_settings_of_http2_are_announced",
        "http2_initial_window_size": "test_the_settings_of_http2_are_announced",
        "http2_max_frame_size": "test_the_settings_of_http2_are_announced",
        "http2_max_header_list_size": "test_the_settings_of_http2_are_announced",
    },
    "compat/test_hooks.py": {
        "nworkers_changed": "test_a_life_from_start_to_term",
        "on_starting": "test_a_life_from_start_to_term",
        "when_ready": "test_a_life_from_start_to_term",
        "pre_fork": "test_a_life_from_start_to_term",
        "post_fork": "test_a_life_from_start_to_term",
        "post_worker_init": "test_a_life_from_start_to_term",
        "pre_request": "test_a_life_from_start_to_term",
        "post_request": "test_a_life_from_start_to_term",
        "worker_exit": "test_a_life_from_start_to_term",
        "child_exit": "test_a_life_from_start_to_term",
        "on_exit": "test_a_life_from_start_to_term",
        "on_reload": "test_a_reload_calls_on_reload_before_the_first_fork_and_not_on_starting",
        "worker_int": "test_a_quick_end_calls_worker_int_then_worker_exit",
        "worker_abort": "test_a_worker_that_hangs_calls_worker_abort",
        "pre_exec": "test_an_upgrade_calls_pre_exec_before_the_new_server_begins",
    },
    "compat/test_reload.py": {
        "reload": "test_a_changed_module_is_loaded_again",
        "reload_engine": "test_a_changed_module_is_loaded_again",
        "reload_extra_files": "test_a_template_that_is_named_is_watched",
    },
    "compat/test_control.py": {
        "control_socket": "test_workers_are_listed_oldest_first",
        "control_socket_mode": "test_the_file_has_the_mode_asked_for_and_goes_at_the_end",
        "control_socket_disable": "test_it_can_be_switched_off",
    },
    "e2e/test_tls.py": {
        "certfile": "test_the_application_sees_https",
        "keyfile": "test_the_application_sees_https",
        "cert_reqs": "test_a_certificate_is_asked_of_clients_when_told",
        "ca_certs": "test_a_certificate_is_asked_of_clients_when_told",
    },
    "compat/test_logs.py": {
        "capture_output": "test_capture_output_puts_what_is_printed_into_the_error_log",
        "syslog": "test_syslog_over_udp",
        "syslog_addr": "test_syslog_over_a_unix_socket",
        "syslog_prefix": "test_syslog_has_a_facility_and_a_prefix",
        "syslog_facility": "test_syslog_has_a_facility_and_a_prefix",
        "disable_redirect_access_to_syslog": "test_the_access_log_may_be_kept_out_of_syslog",
        "statsd_host": "test_requests_are_measured",
        "statsd_prefix": "test_statsd_prefix_and_tags",
        "dogstatsd_tags": "test_statsd_prefix_and_tags",
        "enable_backlog_metric": "test_the_backlog_is_measured",
    },
    "compat/test_python_logging.py": {
        "logger_class": "test_a_logger_class_writes_all_of_both_logs",
        "logconfig": "test_logconfig_is_an_ini_file",
        "logconfig_dict": "test_logconfig_dict_decides_where_everything_goes",
        "logconfig_json": "test_logconfig_json_is_laid_over_the_defaults",
    },
    "compat/test_processes.py": {
        "daemon": "test_it_leaves_the_terminal_and_serves",
        "enable_stdio_inheritance": "test_output_can_be_kept",
        "user": "test_workers_are_another_user_s_and_the_master_is_not",
        "group": "test_workers_are_another_user_s_and_the_master_is_not",
        "initgroups": "test_initgroups_gives_the_user_s_groups_and_the_group",
        "umask": "test_the_umask_takes_permissions_from_the_socket_file",
        "reuse_port": "test_two_servers_may_share_a_port",
    },
    "compat/test_forwarding.py": {
        "forwarded_allow_ips": "test_networks_lists_and_everybody_can_be_named",
        "secure_scheme_headers": "test_the_headers_can_be_chosen",
    },
    "compat/test_proxy_protocol.py": {
        "proxy_protocol": "test_only_the_ones_that_are_wanted_are_read",
        "proxy_allow_ips": "test_a_peer_that_is_not_allowed_is_a_403",
    },
    "compat/test_request_rules.py": {
        "forwarder_headers": "test_a_trusted_proxy_may_send_the_ones_that_are_named",
        "header_map": "test_they_can_be_refused",
        "permit_obsolete_folding": "test_permitted_it_is_joined_with_a_space",
        "strip_header_spaces": "test_permitted_it_is_taken_away",
        "permit_unconventional_http_method": "test_permitted_it_reaches_the_application_as_it_is",
        "permit_unconventional_http_version": "test_permitted_it_is_served_as_the_nearest_that_exists",
        "casefold_http_method": "test_permitted_it_can_be_folded_to_upper_case",
    },
    "compat/test_worker_classes.py": {
        "worker_class": "test_every_name_of_gunicorn_s_serves",
        "asgi_loop": "test_the_loop_is_chosen",
        "asgi_lifespan": "test_the_lifespan_is_switched_off",
        "asgi_disconnect_grace_period": GRACE,
    },
}


@functools.cache
def functions_of(path: str) -> set[str]:
    tree = ast.parse((TESTS / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


def test_the_table_has_all_of_gunicorns_settings_and_flags() -> None:
    from gunicorn.config import KNOWN_SETTINGS

    ours = {row["name"]: row["flags"] for row in GUNICORNS}
    assert set(ours) == {setting.name for setting in KNOWN_SETTINGS}
    assert len(ours) == 120
    for setting in KNOWN_SETTINGS:
        assert set(setting.cli or []) <= set(ours[setting.name]), setting.name


@pytest.mark.parametrize("name", [row["name"] for row in of("honoured")])
def test_a_test_sees_the_effect_of(name: str) -> None:
    found = [(path, named[name]) for path, named in EFFECTS.items() if name in named]
    assert found, f"no test is named in EFFECTS for {name}"
    for path, test in found:
        assert test in functions_of(path), f"{path} has no {test}"


@pytest.mark.indrik_only
@pytest.mark.parametrize("row", of("ignored"), ids=lambda row: row["name"])
def test_it_is_said_once_that_there_is_no_effect_of(project, row) -> None:
    project.config(f"{row['name']} = {EXAMPLES[row['name']]}\n")
    done = project.run("--check-config", "app:app")
    assert done.code == 0, done.output
    said = f"{row['name']} has no effect (gunicorn.conf.py:1): {row['reason']}\n"
    assert done.stderr.count(said) == 1, done.output


@pytest.mark.indrik_only
@pytest.mark.parametrize("row", of("refused"), ids=lambda row: row["name"])
def test_the_start_is_refused_with_the_reason_by(project, row) -> None:
    project.config(f"{row['name']} = {EXAMPLES[row['name']]}\n")
    before = sorted(project.directory.iterdir())
    done = project.run("app:app")
    assert done.code == 1
    assert f"{row['name']} cannot be honoured (gunicorn.conf.py:1)" in done.stderr
    assert row["reason"] in done.stderr
    assert sorted(path for path in project.directory.iterdir() if path.name != "__pycache__") == before


@pytest.mark.indrik_only
@pytest.mark.parametrize("row", of("ignored") + of("refused"), ids=lambda row: row["name"])
def test_its_default_written_out_is_nothing_to_talk_about(project, row) -> None:
    default = row.get("default")
    value = {"list": "[]", "hook": "None"}.get(row["type"], repr(default)) if default is None else repr(default)
    project.config(f"{row['name']} = {value}\n")
    done = project.run("--check-config", "app:app")
    assert (done.code, done.stderr) == (0, "")
