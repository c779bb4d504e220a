//! Tests of the table and of resolving, through the public surface.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::value::{default, parse};
use super::*;

/// A launch from `/srv` on two CPUs with an application named; tests add what they are about.
pub(super) fn launch() -> Launch {
    let command_line = layer(&[("wsgi_app", &["main:app"])]);
    Launch { command_line, cpus: 2, ..Launch::bare("/srv".into()) }
}

fn layer(flags: &[(&str, &[&str])]) -> Layer {
    let entry = |(name, texts): &(&str, &[&str])| Entry {
        setting: Setting::find(name).unwrap(),
        raw: Raw::Texts(texts.iter().map(|text| (*text).to_owned()).collect()),
        origin: Origin::Flag(Setting::find(name).unwrap().flag().unwrap_or("").to_owned()),
    };
    Layer { entries: flags.iter().map(entry).collect() }
}

pub(super) fn with_flags(flags: &[(&str, &[&str])]) -> Launch {
    let mut launch = launch();
    launch.command_line.entries.extend(layer(flags).entries);
    launch
}

fn with_env(env: &[(&str, &str)]) -> Launch {
    let pairs = env.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    Launch { env: pairs.collect(), ..launch() }
}

fn with_toml(text: &str) -> Launch {
    let file = TextFile { path: "indrik.toml".into(), text: text.to_owned() };
    Launch { indrik_toml: Some(file), ..launch() }
}

/// A configuration file whose names stand on lines 1, 2, 3….
pub(super) fn file(values: &[(&str, Json)]) -> ConfigFileValues {
    ConfigFileValues {
        path: Some("gunicorn.conf.py".to_owned()),
        values: values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        lines: (1u32..).zip(values).map(|(line, (name, _))| ((*name).to_owned(), line)).collect(),
        ..ConfigFileValues::default()
    }
}

fn config(launch: &Launch, file: &ConfigFileValues) -> Config {
    resolve(launch, Some(file)).unwrap()
}

/// What an `indrik.toml` with this text comes to.
pub(super) fn config_of(text: &str) -> Result<Config, Vec<Problem>> {
    resolve(&with_toml(text), None)
}

pub(super) fn mistakes(launch: &Launch, file: Option<&ConfigFileValues>) -> Vec<String> {
    resolve(launch, file).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn every_default_is_valid_and_reads_back_from_its_text() {
    for setting in SETTINGS {
        let value = default(setting).unwrap();
        let text = value.to_string();
        let has_text_form = !setting.kind.is_list() && setting.kind != Kind::Texts;
        if has_text_form && !text.is_empty() {
            assert_eq!(parse(setting, &Raw::Texts(vec![text])), Ok(value), "{}", setting.name);
        }
    }
}

#[test]
fn every_field_of_config_is_a_setting_or_computed() {
    let config = serde_json::to_value(config(&launch(), &file(&[]))).unwrap();
    let fields: BTreeSet<_> = config.as_object().unwrap().keys().map(String::as_str).collect();
    let settings = SETTINGS
        .iter()
        .filter(|setting| setting.status == Status::Honoured && setting.kind != Kind::Hook);
    let mut expected: BTreeSet<_> = settings.map(|setting| setting.name).collect();
    expected.extend(["workers_reason", "worker_class_spec", "notices"]);
    assert_eq!(fields, expected);
}

#[test]
fn a_config_survives_its_journey_as_json() {
    let flags: &[(&str, &[&str])] = &[
        ("bind", &["[::1]:80", "unix:/run/a.sock", "fd://3"]),
        ("timeout", &["1500ms"]),
        ("accesslog", &["-"]),
        ("raw_env", &["A=b=c"]),
    ];
    let config = config(&with_flags(flags), &file(&[]));
    let there = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<Config>(&there).unwrap(), config);
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = config(&launch(), &file(&[]));
    assert_eq!(config.bind, vec![BindAddress::Tcp { host: "127.0.0.1".into(), port: 8000 }]);
    assert_eq!((config.workers, config.threads, config.io_threads), (2, 1, 1));
    assert_eq!(config.workers_reason, "2, one for each CPU this process may use");
    assert_eq!(config.worker_class, WorkerClass::Auto);
    assert_eq!(config.keepalive, Duration::from_secs(75));
    assert_eq!(config.body_size_max, 1 << 30);
    assert_eq!((config.accesslog, config.errorlog), (None, LogTarget::Stderr));
    assert_eq!(config.chdir, Path::new("/srv"));
    assert_eq!(config.notices, Vec::<String>::new());
}

#[test]
fn each_source_beats_the_one_before() {
    let mut launch =
        with_toml("workers = 3\nthreads = 3\nbacklog = 3\nmax_requests = 3\ntimeout = 3");
    let file = file(&[
        ("threads", json!(4)),
        ("backlog", json!(4)),
        ("max_requests", json!(4)),
        ("timeout", json!(4)),
    ]);
    launch.cmd_args = layer(&[("backlog", &["5"]), ("max_requests", &["5"]), ("timeout", &["5"])]);
    launch.env.insert("INDRIK_MAX_REQUESTS".into(), "6".into());
    launch.env.insert("INDRIK_TIMEOUT".into(), "6".into());
    launch.command_line.entries.extend(layer(&[("timeout", &["7"])]).entries);
    let config = config(&launch, &file);
    assert_eq!((config.workers, config.threads, config.backlog), (3, 4, 5));
    assert_eq!((config.max_requests, config.timeout), (6, Duration::from_secs(7)));
}

#[test]
fn the_number_of_workers_says_where_it_comes_from() {
    let reason = |launch: &Launch, file: &ConfigFileValues| config(launch, file).workers_reason;
    assert_eq!(reason(&with_flags(&[("workers", &["4"])]), &file(&[])), "4, from --workers");
    assert_eq!(
        reason(&with_env(&[("WEB_CONCURRENCY", "3")]), &file(&[])),
        "3, from WEB_CONCURRENCY"
    );
    assert_eq!(reason(&launch(), &file(&[("workers", json!(5))])), "5, from gunicorn.conf.py:1");
}

#[test]
fn port_means_all_interfaces_and_an_empty_variable_means_nothing() {
    let bind = |env: &[(&str, &str)]| config(&with_env(env), &file(&[])).bind;
    assert_eq!(bind(&[("PORT", "5000")]), ["0.0.0.0:5000".parse().unwrap()]);
    assert_eq!(bind(&[("PORT", "")]), ["127.0.0.1:8000".parse().unwrap()]);
    assert_eq!(bind(&[("INDRIK_BIND", ":1 [::1]:2")]).len(), 2);
    let files = with_env(&[("INDRIK_RELOAD_EXTRA_FILES", "a 'b c'")]);
    assert_eq!(config(&files, &file(&[])).reload_extra_files, ["a", "b c"]);
}

#[test]
fn sync_with_threads_is_gthread_as_in_gunicorn() {
    let class = |flags: &[(&str, &[&str])]| config(&with_flags(flags), &file(&[])).worker_class;
    assert_eq!(class(&[("worker_class", &["sync"]), ("threads", &["2"])]), WorkerClass::Gthread);
    assert_eq!(class(&[("worker_class", &["sync"])]), WorkerClass::Sync);
    assert_eq!(class(&[("worker_class", &["asgi"]), ("threads", &["2"])]), WorkerClass::Asgi);
}

#[test]
fn worker_classes_of_uvicorn_are_understood_as_text_and_as_class() {
    let class = |value: Json| config(&launch(), &file(&[("worker_class", value)])).worker_class;
    let name = "uvicorn.workers.UvicornWorker";
    assert_eq!(class(json!(name)), WorkerClass::Asgi);
    assert_eq!(class(json!({ "__callable__": name })), WorkerClass::Asgi);
}

#[test]
fn all_mistakes_are_reported_at_once_with_place_and_hint() {
    let mut launch = with_toml("wokrers = 1\n\nbacklog = \"many\"");
    launch.env.insert("INDRIK_LOGLEVEL".into(), "inof".into());
    launch.command_line = layer(&[("bind", &["::1:80"]), ("workers", &["0"])]);
    let file = file(&[("timeout", json!({ "__callable__": "t" })), ("keepalive", json!(-1))]);
    let mistakes = mistakes(&launch, Some(&file));
    let expected = [
        "wokrers is not a setting (indrik.toml:1)\n  hint: did you mean workers?",
        "backlog: 'many' is not a whole number (indrik.toml:3)\n  hint: write a number such as 4",
        "timeout: the function or class t is not a time (gunicorn.conf.py:1)\n  hint: write seconds \
         as a number, or text such as '500ms'",
        "keepalive: '-1' is not a usable time (gunicorn.conf.py:2)\n  hint: the shortest is 1ms",
        "loglevel: 'inof' is not a choice (INDRIK_LOGLEVEL)\n  hint: did you mean info? The choices \
         are debug, info, warning, error, critical",
        "bind: '::1:80' is not an address: an IPv6 address is written in brackets: [::1]:8000 \
         (--bind)\n  hint: write 127.0.0.1:8000, [::1]:8000, :8000 (all interfaces), \
         unix:/run/app.sock or fd://3",
        "workers: '0' is too small (--workers)\n  hint: the least is 1",
        "no application is named\n  hint: name it as MODULE:CALLABLE, for example: indrik main:app \
         (or set wsgi_app in gunicorn.conf.py)",
    ];
    // Settings of the Python file are read in the table's order.
    assert_eq!(mistakes, expected);
}

#[test]
fn the_application_may_be_named_by_the_file_and_the_command_line_beats_it() {
    let file = file(&[("wsgi_app", json!("site:application"))]);
    let unnamed = Launch { command_line: Layer::default(), ..launch() };
    assert_eq!(config(&unnamed, &file).wsgi_app, "site:application");
    assert_eq!(config(&launch(), &file).wsgi_app, "main:app");
}

#[test]
fn gunicorns_readings_of_python_values_are_kept() {
    let config = config(
        &launch(),
        &file(&[
            ("keepalive", json!(true)),
            ("workers", json!("0x3")),
            ("preload_app", json!("True")),
            ("bind", json!("localhost")),
            ("pythonpath", json!("a, b")),
            ("pidfile", Json::Null),
            ("errorlog", Json::Null),
            ("loglevel", json!("")),
            ("raw_env", json!("")),
            ("reload_extra_files", json!(false)),
            ("http2_cleartext", json!(false)),
            ("backlog", json!("1_000")),
        ]),
    );
    assert_eq!(config.keepalive, Duration::from_secs(1));
    assert_eq!((config.workers, config.preload_app), (3, true));
    assert_eq!(config.bind, ["localhost:8000".parse().unwrap()]);
    assert_eq!(config.pythonpath, ["a", "b"]);
    assert_eq!((config.pidfile, config.errorlog), (None, LogTarget::Stderr));
    assert_eq!((config.loglevel, config.backlog), (LogLevel::Info, 1000));
    assert!(config.raw_env.is_empty() && config.reload_extra_files.is_empty());
    assert!(config.notices.is_empty(), "{:?}", config.notices);
}

#[test]
fn http2_that_no_client_can_ask_for_is_said_at_the_start() {
    let asked = ("http_protocols", json!("h2,h1"));
    let notices = config(&launch(), &file(std::slice::from_ref(&asked))).notices;
    assert!(notices[0].starts_with("http_protocols has h2, but without TLS"), "{notices:?}");
    let proxied = config(&launch(), &file(&[asked, ("http2_cleartext", json!("both"))]));
    assert_eq!(proxied.notices, Vec::<String>::new());
}

#[test]
fn what_has_no_effect_is_said_and_what_would_do_harm_is_refused() {
    let told = config(
        &launch(),
        &file(&[
            ("worker_tmp_dir", json!("/dev/shm")),
            ("ciphers", json!("HIGH")),
            ("uwsgi_allow_ips", json!("::1")),
            ("dirty_apps", json!([])),
            ("protocol", json!("http")),
        ]),
    );
    let starts: Vec<_> =
        told.notices.iter().map(|notice| notice.split(':').next().unwrap()).collect();
    assert_eq!(
        starts,
        [
            "worker_tmp_dir has no effect (gunicorn.conf.py",
            "uwsgi_allow_ips has no effect (gunicorn.conf.py",
            "ciphers has no effect (gunicorn.conf.py",
        ]
    );
    let refused = mistakes(&with_flags(&[("protocol", &["uwsgi"])]), None);
    assert!(refused[0].starts_with("protocol cannot be honoured (--protocol)"), "{refused:?}");
    assert!(resolve(&launch(), Some(&file(&[("protocol", json!("uwsgi"))]))).is_err());
}

#[test]
fn none_switches_the_control_socket_off_and_every_other_setting_to_its_default() {
    let socket = |values: &[(&str, Json)]| config(&launch(), &file(values)).control_socket;
    assert_eq!(socket(&[]), Some(ControlSocket::Auto));
    assert_eq!(socket(&[("control_socket", Json::Null)]), None);
    assert_eq!(
        socket(&[("control_socket", json!("c"))]),
        Some(ControlSocket::Path("/srv/c".into()))
    );
    assert_eq!(socket(&[("control_socket_disable", json!(true))]), None);
    let unset = config(&launch(), &file(&[("preload_app", Json::Null), ("user", Json::Null)]));
    assert_eq!((unset.preload_app, unset.user), (false, None));
}

#[test]
fn classes_and_hooks_are_known_by_name_and_kept_by_python() {
    let config = config(
        &launch(),
        &file(&[
            ("worker_class", json!({ "__callable__": "mine.Worker" })),
            ("logger_class", json!("mine.Logger")),
            ("post_fork", json!({ "__callable__": "post_fork" })),
            ("pre_fork", Json::Null),
            ("dirty_post_fork", json!({ "__callable__": "dirty_post_fork" })),
        ]),
    );
    assert_eq!(config.worker_class, WorkerClass::Custom);
    assert_eq!(
        config.worker_class_spec,
        ClassSpec { name: "mine.Worker".to_owned(), object: true }
    );
    assert_eq!(config.logger_class, ClassSpec { name: "mine.Logger".to_owned(), object: false });
    assert!(config.notices[0].starts_with("dirty_post_fork has no effect"));
    let unknown = mistakes(&with_flags(&[("worker_class", &["gthraed"])]), None);
    assert!(unknown[0].contains("did you mean gthread?"), "{unknown:?}");
}

#[test]
fn uvicorn_s_classes_see_through_proxies_unless_told_otherwise() {
    let real_ip = |flags: &[(&str, &[&str])]| config(&with_flags(flags), &file(&[])).real_ip_header;
    let class: (&str, &[&str]) = ("worker_class", &["uvicorn.workers.UvicornWorker"]);
    assert_eq!(real_ip(&[class]), RealIpHeader::XForwardedFor);
    assert_eq!(real_ip(&[class, ("real_ip_header", &["off"])]), RealIpHeader::Off);
    assert_eq!(real_ip(&[("worker_class", &["asgi"])]), RealIpHeader::Off);
}

#[test]
fn permissions_are_octal_as_text_and_as_they_are_as_numbers() {
    let umask = |value: Json| config(&launch(), &file(&[("umask", value)])).umask;
    assert_eq!(umask(json!("022")), 0o22);
    assert_eq!(umask(json!("0o22")), 0o22);
    assert_eq!(umask(json!(18)), 18);
    assert_eq!(umask(json!("18")), 18);
    assert!(!mistakes(&with_flags(&[("umask", &["089"])]), None).is_empty());
}

#[test]
fn variables_of_the_platform_are_weaker_than_the_configuration_file() {
    let mut launch = with_env(&[("WEB_CONCURRENCY", "3"), ("PORT", "5000")]);
    launch.env.insert("FORWARDED_ALLOW_IPS".into(), "10.0.0.0/8,*".into());
    let weak = config(&launch, &file(&[]));
    assert_eq!((weak.workers, weak.bind[0].to_string().as_str()), (3, "0.0.0.0:5000"));
    assert_eq!(weak.forwarded_allow_ips, ["10.0.0.0/8".parse().unwrap(), Network::Everyone]);
    let strong = config(&launch, &file(&[("workers", json!(4)), ("bind", json!(":1"))]));
    assert_eq!((strong.workers, strong.bind[0].to_string().as_str()), (4, "0.0.0.0:1"));
}

#[test]
fn zero_and_too_much_mean_the_cap_where_gunicorn_caps() {
    let config = config(
        &with_flags(&[("limit_request_line", &["0"]), ("limit_request_fields", &["99999"])]),
        &file(&[]),
    );
    assert_eq!((config.limit_request_line, config.limit_request_fields), (65536, 16384));
}

#[test]
fn a_fraction_is_a_time_but_not_a_number() {
    let file = file(&[("timeout", json!(30.5)), ("backlog", json!(30.5))]);
    assert_eq!(
        mistakes(&launch(), Some(&file)),
        [
            "backlog: 30.5 is not a whole number (gunicorn.conf.py:2)\n  hint: write a number without \
          quotes or fraction"
        ]
    );
}

#[test]
fn relative_paths_start_in_the_applications_directory() {
    let config = config(
        &with_flags(&[
            ("chdir", &["app"]),
            ("pidfile", &["run/pid"]),
            ("alert_webhook_ca", &["ca.pem"]),
            ("errorlog", &["/var/log/e"]),
            ("bind", &["unix:s"]),
        ]),
        &file(&[]),
    );
    assert_eq!(config.chdir, Path::new("/srv/app"));
    assert_eq!(config.pidfile.as_deref(), Some(Path::new("/srv/app/run/pid")));
    assert_eq!(config.alert_webhook_ca.as_deref(), Some(Path::new("/srv/app/ca.pem")));
    assert_eq!(config.errorlog, LogTarget::File("/var/log/e".into()));
    assert_eq!(config.bind, [BindAddress::Unix { path: "/srv/app/s".into() }]);
}

#[test]
fn names_that_look_misspelt_are_noticed_where_any_name_may_stand() {
    let mut launch = with_env(&[
        ("INDRIK_WORKER", "3"),
        ("INDRIK_PORT", "tcp://10.0.0.1:80"),
        ("INDRIK_SERVICE_HOST", "10.0.0.1"),
    ]);
    launch.cpus = 1;
    let config = config(
        &launch,
        &file(&[
            ("PRELOAD_APP", json!(true)),
            ("colour", json!("red")),
            ("worker", json!({ "__callable__": "worker" })),
        ]),
    );
    assert_eq!(
        config.notices,
        [
            "gunicorn.conf.py:1: PRELOAD_APP is not a setting and has no effect; did you mean \
         preload_app?",
            "INDRIK_WORKER is not a setting and has no effect; did you mean INDRIK_WORKERS?",
        ]
    );
}

#[test]
fn names_the_file_makes_use_of_are_its_own() {
    let mut file = file(&[
        ("max_worker_connections", json!(10)),
        ("worker_timeout", json!(10)),
        ("WORKERS", json!(1)),
        ("workers", json!(1)),
    ]);
    file.used.insert("worker_timeout".to_owned());
    let notices = config(&launch(), &file).notices;
    assert_eq!(notices.len(), 2, "{notices:?}");
    assert!(notices[0].ends_with("did you mean worker_connections?"), "{notices:?}");
    assert!(notices[1].ends_with("did you mean workers?"), "{notices:?}");
}

#[test]
fn the_configuration_file_asked_for_is_the_strongest_one_named() {
    let mut launch = with_env(&[("INDRIK_CONFIG", "b.py")]);
    assert_eq!(launch.config_request().as_deref(), Some("b.py"));
    launch.command_line = layer(&[("config", &["c.py"])]);
    assert_eq!(launch.config_request().as_deref(), Some("c.py"));
    assert_eq!(self::launch().config_request(), None);
}

#[test]
fn an_explanation_has_value_origin_and_meaning() {
    let merged = merge(&with_env(&[("WEB_CONCURRENCY", "3")]), None);
    let text = render::explain(&merged, "workers").unwrap();
    assert!(text.starts_with("workers = 3\n  from WEB_CONCURRENCY\n\n"), "{text}");
    assert_eq!(render::explain(&merged, "--keep-alive"), render::explain(&merged, "keepalive"));
    let problem = render::explain(&merged, "wrokers").unwrap_err();
    assert_eq!(problem.hint.as_deref(), Some("did you mean workers?"));
}

#[test]
fn the_help_shows_every_setting_that_has_a_flag() {
    let help = render::help();
    for flag in SETTINGS.iter().filter_map(Setting::flag) {
        assert!(help.contains(flag), "{flag}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn the_reference_page_is_fresh() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/settings.md");
    let written = std::fs::read_to_string(page).unwrap_or_default();
    assert!(written == render::reference(), "stale: run `cargo xtask settings`");
}

/// A row of a kind that the table does not use yet: later rows must find it working.
fn row(kind: Kind) -> Setting {
    Setting {
        name: "later",
        section: "",
        kind,
        default: Written::Nothing,
        default_text: None,
        gunicorn_default: None,
        auto: false,
        min: None,
        max: None,
        cap: None,
        choices: &[],
        aliases: &[],
        rule: None,
        at_start_only: false,
        separator: None,
        none_is_value: false,
        dash_is_stdout: false,
        flags: &["--later"],
        bare: Some("on"),
        placeholder: "VALUE",
        variables: &[],
        gunicorn: true,
        status: Status::Ignored { reason: "it is a test" },
        secret: false,
        by_api: false,
        since: "",
        doc: "",
    }
}

#[test]
fn a_hook_is_a_function_or_the_name_of_one() {
    let hook = |json: Json| parse(&row(Kind::Hook), &Raw::Json(json));
    let function = |name: &str| Ok(Value::Function(name.to_owned()));
    assert_eq!(hook(json!({ "__callable__": "post_fork" })), function("post_fork"));
    assert_eq!(hook(json!("hooks.post_fork")), function("hooks.post_fork"));
    assert_eq!(
        hook(json!({ "__wrong__": "no module named x" })).unwrap_err().what,
        "no module named x"
    );
    assert_eq!(hook(Json::Null), Ok(Value::Nothing));
    assert_eq!(hook(json!(3)).unwrap_err().what, "3 is not a function");
    assert!(parse(&row(Kind::Hook), &Raw::Texts(vec!["f".into()])).is_err());
}

#[test]
fn a_table_is_a_dict_of_the_file() {
    let dict = |json: Json| parse(&row(Kind::Dict), &Raw::Json(json));
    let expected = BTreeMap::from([("version".to_owned(), json!(1))]);
    assert_eq!(dict(json!({ "version": 1 })), Ok(Value::Dict(expected)));
    assert_eq!(
        dict(json!({ "__object__": "Logger" })).unwrap_err().what,
        "an object of type Logger is not a table"
    );
    assert!(parse(&row(Kind::Dict), &Raw::Texts(vec!["{}".into()])).is_err());
}

#[test]
fn a_flag_without_a_value_means_what_its_row_says() {
    assert_eq!(parse(&row(Kind::Text), &Raw::Texts(vec![])), Ok(Value::Text("on".to_owned())));
    assert_eq!(parse(&row(Kind::Bool), &Raw::Texts(vec![])), Ok(Value::Bool(true)));
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        ".*".prop_map(Json::from),
    ];
    leaf.prop_recursive(2, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map("(__callable__|__object__|.{0,3})", inner, 0..4)
                .prop_map(|table| Json::Object(table.into_iter().collect())),
        ]
    })
}

/// What a configuration plausibly holds, nearly valid ones more often than noise.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".*",
        "[0-9]{1,6} ?(ms|s|m|h|KiB|MB|g)?",
        "(tcp://|unix:|unix://|fd://)?[a-z0-9.\\[\\]:]{0,12}(:[0-9]{0,6})?",
        "[A-Z]{1,3}=[ -~]{0,8}",
        "(true|FALSE|auto|sync|gthread|info|-)",
    ]
}

proptest! {
    #[test]
    fn no_value_of_any_setting_makes_a_parser_panic(json in any_json(), text in any_text()) {
        for setting in SETTINGS {
            let _ = parse(setting, &Raw::Json(json.clone()));
            let _ = parse(setting, &Raw::Texts(vec![text.clone(), text.clone()]));
        }
    }

    #[test]
    fn a_valid_value_reads_back_from_its_text(text in any_text()) {
        let alone = |kind: Kind| matches!(kind, Kind::List | Kind::Networks | Kind::Rlimits);
        for setting in SETTINGS.iter().filter(|setting| !alone(setting.kind)) {
            if let Ok(value) = parse(setting, &Raw::Texts(vec![text.clone()])) {
                let again = parse(setting, &Raw::Texts(vec![value.to_string()]));
                prop_assert_eq!(again, Ok(value), "{}", setting.name);
            }
        }
    }

    #[test]
    fn whatever_is_given_resolves_or_is_explained(text in any_text(), json in any_json()) {
        for setting in SETTINGS {
            let mut launch = with_env(&[(&setting.own_variable(), &text)]);
            launch.indrik_toml = with_toml(&text).indrik_toml;
            match resolve(&launch, Some(&file(&[(setting.name, json.clone())]))) {
                Ok(config) => prop_assert!(config.workers >= 1),
                Err(problems) => prop_assert!(!problems.is_empty()),
            }
        }
    }
}

#[test]
fn half_of_what_tls_needs_is_a_mistake() {
    let problems = mistakes(&with_flags(&[("keyfile", &["key.pem"]), ("cert_reqs", &["2"])]), None);
    assert!(
        problems[0].starts_with("keyfile is set, but not certfile (--keyfile)"),
        "{problems:?}"
    );
    assert!(problems[1].starts_with("cert_reqs is set, but not ca_certs"), "{problems:?}");
}

#[test]
fn a_hard_limit_of_memory_leaves_room_above_the_soft_one() {
    let wrong = [("200M", "200M"), ("200M", "100M"), ("80%", "50%")];
    for (soft, hard) in wrong {
        let flags = with_flags(&[("worker_max_rss", &[soft]), ("worker_max_rss_hard", &[hard])]);
        let problems = mistakes(&flags, None);
        assert!(
            problems[0].starts_with("worker_max_rss_hard is not above worker_max_rss"),
            "{problems:?}"
        );
    }
    // Of different kinds they can be compared only where the server runs.
    for (soft, hard) in [("200M", "1G"), ("80%", "100M"), ("200M", "0"), ("0", "200M")] {
        let flags = with_flags(&[("worker_max_pss", &[soft]), ("worker_max_pss_hard", &[hard])]);
        assert!(resolve(&flags, None).is_ok(), "{soft} {hard}");
    }
}

#[test]
fn a_connection_may_hold_what_the_largest_websocket_message_takes() {
    let memory = |message: &str, own: &str| {
        let flags = [("websocket_max_message_size", [message]), ("connection_memory_max", [own])];
        let flags: Vec<(&str, &[&str])> =
            flags.iter().map(|(name, value)| (*name, &value[..])).collect();
        config(&with_flags(&flags), &ConfigFileValues::default()).connection_memory_max
    };
    assert_eq!(memory("16MiB", "auto"), 64 << 20);
    assert_eq!(memory("1GiB", "auto"), (2 << 30) + (16 << 20));
    assert_eq!(memory("1GiB", "8MiB"), 8 << 20);
}

#[test]
fn a_share_is_a_number_or_a_percentage_and_a_rate_only_a_percentage() {
    let set = |name, value: Json| resolve(&launch(), Some(&file(&[(name, value)])));
    let surge = |value| set("reload_max_surge", value).map(|config| config.reload_max_surge);
    assert_eq!(surge(json!(2)), Ok(Share::Count(2)));
    assert_eq!(surge(json!("25%")), Ok(Share::Percent(25)));
    assert_eq!(surge(Json::Null), Ok(Share::Percent(100)));
    assert!(surge(json!("a few")).is_err() && surge(json!(1.5)).is_err());
    let wrong = set("reload_error_rate_max", json!("3")).unwrap_err();
    assert_eq!(
        wrong[0].to_string(),
        "reload_error_rate_max: \"3\" is not a percentage from 0% to 100% (gunicorn.conf.py:1)\n  \
         hint: write a percentage such as 10%"
    );
}

#[test]
fn every_text_that_breaks_its_rule_is_told_with_its_place() {
    let file = file(&[
        ("liveness_path", json!("live")),
        ("warmup", json!(["/a?b=1", "a", "/a b"])),
        ("request_timeout_paths", json!(["/a=1", "/b=soon"])),
        ("affinity", json!("moon")),
    ]);
    // Also where a stronger source has a value that is right.
    let launch = with_flags(&[("liveness_path", &["/live"])]);
    let mut names: Vec<String> = mistakes(&launch, Some(&file))
        .iter()
        .map(|text| text.split(':').next().unwrap().to_owned())
        .collect();
    names.sort();
    let expected = ["affinity", "liveness_path", "request_timeout_paths", "warmup", "warmup"];
    assert_eq!(names, expected);
}

#[test]
fn what_a_reload_does_not_change_is_named() {
    let first = config(&launch(), &file(&[]));
    let other = config(&launch(), &file(&[("io_threads", json!(2)), ("timeout", json!(2))]));
    assert_eq!(other.changed_for_next_start(&first), ["io_threads"]);
    assert!(first.changed_for_next_start(&first).is_empty());
}

#[test]
fn limits_of_the_front_s_memory_that_would_cut_every_connection_are_refused() {
    let problems = |values: &[(&str, &str)]| -> Vec<String> {
        let refused =
            resolve_without_application(&with_env(values), None).err().unwrap_or_default();
        refused.iter().map(ToString::to_string).collect()
    };
    for (values, told) in [
        (&[("INDRIK_CONNECTION_MEMORY_MAX", "30KiB")][..], "the least is 2MiB"),
        (&[("INDRIK_FRONT_MEMORY_MAX", "1MiB")], "the least is 16MiB"),
        (&[("INDRIK_FRONT_MEMORY_MAX", "100KiB")], "the least is 1MiB"),
        (
            &[("INDRIK_FRONT_MEMORY_MAX", "64MiB"), ("INDRIK_CONNECTION_MEMORY_MAX", "128MiB")],
            "above front_memory_max",
        ),
    ] {
        let problems = problems(values);
        assert!(problems.len() == 1 && problems[0].contains(told), "{values:?}: {problems:?}");
    }
    assert!(problems(&[("INDRIK_CONNECTION_MEMORY_MAX", "0")]).is_empty());
}
