//! What is told of values over time, and what is not.

use super::super::rule::rules;
use super::*;
use crate::metrics::{Family, Kind, Labels, Sample, Value};

const UNIX_MS: u64 = 1_764_590_400_000;

fn family(name: &'static str, samples: &[(&[(&'static str, &str)], f64)]) -> Family {
    let labels = |pairs: &[(&'static str, &str)]| -> Labels {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).to_owned().into())).collect()
    };
    let samples = samples
        .iter()
        .map(|(pairs, number)| Sample { labels: labels(pairs), value: Value::Number(*number) });
    Family {
        name: name.into(),
        help: "".into(),
        kind: Kind::Unknown,
        unit: "".into(),
        samples: samples.collect(),
    }
}

fn memory(part: f64) -> Counted {
    Counted::of(&[
        family("indrik_memory_used_bytes", &[(&[], part * 1e9)]),
        family("indrik_memory_allowed_bytes", &[(&[], 1e9)]),
    ])
}

fn at(seconds: u64) -> Moment {
    Moment { at: Duration::from_secs(seconds), unix_ms: UNIX_MS + seconds * 1_000 }
}

/// A watch with one alert, changed as the text says.
fn watch_of(text: &str) -> Watch {
    let key = text.split([' ', '>', '<']).next().unwrap();
    let mut watch = Watch::new("web-1".into());
    let all = rules(&[text.to_owned()]);
    let one = all.into_iter().filter(|rule| rule.row.key == key).collect();
    assert_eq!(watch.configure(one, Duration::ZERO), []);
    watch
}

fn whats(events: &[Event]) -> Vec<What> {
    events.iter().map(|event| event.what).collect()
}

#[test]
fn it_is_told_after_its_hold_and_again_when_it_has_been_well_for_its_recovery() {
    let mut watch = watch_of("memory > 80% for 10s recover 5s");
    let mut told = Vec::new();
    for second in 0..40 {
        // Bad from 5 to 24; a moment in between is not well for long enough.
        let part = if (5..25).contains(&second) && second != 20 { 0.9 } else { 0.5 };
        told.extend(watch.observe(at(second), memory(part)).into_iter().map(|it| (second, it)));
    }
    let when: Vec<_> = told.iter().map(|(second, event)| (*second, event.what)).collect();
    assert_eq!(when, [(15, What::Fired), (30, What::Recovered)]);
    let fired = &told[0].1.alert;
    assert_eq!(fired.since_ms, UNIX_MS + 5_000);
    assert_eq!(fired.summary, "web-1 uses 90 % of the memory it may use");
    assert_eq!(watch.active(), []);
}

#[test]
fn a_value_that_goes_to_and_fro_is_never_told_and_one_that_was_told_is_told_once() {
    let mut watch = watch_of("memory > 80% for 3s recover 10s");
    for second in 0..100 {
        let part = if second % 2 == 0 { 0.9 } else { 0.7 };
        assert_eq!(watch.observe(at(second), memory(part)), []);
    }
    let mut told = Vec::new();
    for second in 100..200 {
        let part = if second % 5 < 4 { 0.9 } else { 0.7 };
        told.extend(watch.observe(at(second), memory(part)));
    }
    assert_eq!(whats(&told), [What::Fired]);
}

#[test]
fn what_nobody_looked_at_counts_neither_as_bad_nor_as_well() {
    let mut watch = watch_of("memory > 80% for 20s recover 20s");
    assert_eq!(watch.observe(at(0), memory(0.9)), []);
    // The process was stopped for an hour.
    assert_eq!(watch.observe(at(3_600), memory(0.9)), []);
    assert_eq!(whats(&watch.observe(at(3_620), memory(0.9))), [What::Fired]);
    assert_eq!(watch.observe(at(3_630), memory(0.1)), []);
    assert_eq!(watch.observe(at(7_200), memory(0.1)), []);
    assert_eq!(whats(&watch.observe(at(7_220), memory(0.1))), [What::Recovered]);
}

#[test]
fn a_clock_that_goes_back_and_values_that_are_missing_do_no_harm() {
    let mut watch = watch_of("memory > 80% for 10s recover 10s");
    watch.observe(at(100), memory(0.9));
    assert_eq!(watch.observe(at(50), memory(0.9)), []);
    assert_eq!(whats(&watch.observe(at(110), memory(0.9))), [What::Fired]);
    // Nothing is known of it any more: it is not bad.
    assert_eq!(watch.observe(at(111), Counted::default()), []);
    assert_eq!(whats(&watch.observe(at(121), Counted::default())), [What::Recovered]);
    for wild in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(watch.observe(at(122), memory(wild)), []);
    }
}

#[test]
fn it_is_told_again_only_if_that_is_wanted() {
    let mut watch = watch_of("memory > 80% for 0 recover 5s");
    let told = watch.observe(at(0), memory(0.9));
    assert_eq!(whats(&told), [What::Fired]);
    assert_eq!(watch.observe(at(10), memory(0.9)), []);
    watch.repeat = Duration::from_secs(20);
    assert_eq!(whats(&watch.observe(at(20), memory(0.9))), [What::Still]);
    assert_eq!(watch.observe(at(39), memory(0.9)), []);
    assert_eq!(whats(&watch.observe(at(40), memory(0.9))), [What::Still]);
}

fn requests(route: &str, good: f64, bad: f64, wanted: f64) -> Counted {
    Counted::of(&[
        family(
            "indrik_http_requests",
            &[
                (&[("route", route), ("class", "2xx")], good),
                (&[("route", route), ("class", "5xx")], bad),
            ],
        ),
        family("indrik_http_refused", &[(&[("reason", "maintenance")], wanted)]),
    ])
}

#[test]
fn answers_of_a_maintenance_are_no_failures() {
    for key in ["route_errors", "success"] {
        let mut watch = watch_of(&format!("{key} for 0"));
        assert_eq!(watch.observe(at(0), requests("", 100.0, 0.0, 0.0)), []);
        assert_eq!(watch.observe(at(1), requests("", 100.0, 500.0, 500.0)), [], "{key}");
        let told = watch.observe(at(2), requests("", 100.0, 700.0, 500.0));
        assert_eq!(whats(&told), [What::Fired], "{key}");
    }
}

#[test]
fn counts_that_begin_anew_are_no_failures_and_what_comes_then_is_seen() {
    let mut watch = watch_of("worker_ends > 3 for 0 over 1m recover 10s");
    let ends =
        |count| Counted::of(&[family("indrik_worker_ends", &[(&[("reason", "crash:11")], count)])]);
    assert_eq!(watch.observe(at(0), ends(50.0)), []);
    assert_eq!(watch.observe(at(1), ends(53.0)), []);
    assert_eq!(watch.observe(at(2), ends(0.0)), []);
    assert_eq!(watch.observe(at(3), ends(3.0)), []);
    let told = watch.observe(at(4), ends(4.0));
    assert_eq!(whats(&told), [What::Fired]);
    assert_eq!(told[0].alert.summary, "4 workers of web-1 ended by themselves within 1 min");
    for second in 5..64 {
        assert_eq!(watch.observe(at(second), ends(4.0)), [], "{second}");
    }
    let mut told = Vec::new();
    (64..90).for_each(|second| told.extend(watch.observe(at(second), ends(4.0))));
    assert_eq!(whats(&told), [What::Recovered]);
}

#[test]
fn a_worker_that_is_not_reaped_yet_disturbs_nothing() {
    let mut watch = Watch::new("web-1".into());
    let texts = ["cpu > 50% for 10s over 5s".to_owned(), "success for 10s over 5s".to_owned()];
    let two = |rule: &Rule| ["cpu", "success"].contains(&rule.row.key);
    watch.configure(rules(&texts).into_iter().filter(two).collect(), Duration::ZERO);
    let mut told = Vec::new();
    for second in 0..30_u32 {
        // Of 0.9 processors that are used a second, some are missing for a moment.
        let missing = if second % 7 == 3 { 2.0 } else { 0.0 };
        let counted = Counted::of(&[
            family("indrik_cpu_seconds", &[(&[], 100.0 + 0.9 * f64::from(second) - missing)]),
            family("indrik_cpu_allowed", &[(&[], 1.0)]),
            family("indrik_http_requests", &[(&[("class", "5xx")], f64::from(second))]),
        ]);
        told.extend(watch.observe(at(second.into()), counted));
    }
    assert!(told.iter().any(|event| event.alert.alert == "success"), "{told:?}");
    assert_eq!(whats(&told), [What::Fired], "less than it was is no cause");
}

#[test]
fn ten_thousand_routes_that_fail_are_so_many_alerts_at_most_and_nothing_grows() {
    let mut watch = watch_of("route_errors for 0 over 1m");
    let mut told = 0;
    for second in 0..600_u32 {
        let routes: Vec<Family> = (0..20)
            .map(|number| {
                let route = format!("/{}", second % 500 * 20 + number);
                let count = f64::from(second);
                family(
                    "indrik_http_requests",
                    &[(&[("route", route.as_str()), ("class", "5xx")], count)],
                )
            })
            .collect();
        told += watch.observe(at(u64::from(second)), Counted::of(&routes)).len();
        assert!(watch.states.len() <= SUBJECTS_MAX);
        assert!(watch.spans.iter().all(|span| span.len() <= 32));
    }
    assert!(told >= SUBJECTS_MAX, "{told}");
    assert!(watch.save().len() < 64 * 1024);
}

#[test]
fn what_one_server_has_told_the_next_one_does_not_tell_again() {
    let text = "memory > 80% for 0 recover 5s";
    let mut old = watch_of(text);
    assert_eq!(whats(&old.observe(at(0), memory(0.9))), [What::Fired]);
    let mut new = watch_of(text);
    new.restore(&old.save()).unwrap();
    assert_eq!(new.observe(at(1), memory(0.9)), []);
    assert_eq!(new.active(), {
        old.observe(at(1), memory(0.9));
        old.active()
    });
    assert_eq!(new.observe(at(2), memory(0.1)), []);
    assert_eq!(whats(&new.observe(at(7), memory(0.1))), [What::Recovered]);
    for wrong in ["", "{", "7", "[{\"alert\": 7}]"] {
        assert!(new.restore(wrong).is_err(), "{wrong}");
    }
    let foreign = "[{\"alert\": \"moon\", \"subject\": \"\", \"since_ms\": 1, \"value\": 1.0}]";
    assert_eq!((new.restore(foreign), new.active().len()), (Ok(()), 0));
}

#[test]
fn an_alert_that_is_switched_off_is_over() {
    let mut watch = watch_of("memory for 0");
    watch.observe(at(0), memory(0.9));
    let told = watch.configure(rules(&["memory off".to_owned()]), Duration::ZERO);
    assert_eq!(whats(&told), [What::Recovered]);
    assert_eq!(watch.active(), []);
}

#[test]
fn a_queue_is_told_while_it_grows_and_not_while_it_is_long() {
    let mut watch = watch_of("queue for 2s over 10s");
    let queue = |waiting: u32, oldest: f64| {
        Counted::of(&[
            family("indrik_http_requests_waiting", &[(&[], f64::from(waiting))]),
            family("indrik_http_requests_oldest_waiting_seconds", &[(&[], oldest)]),
        ])
    };
    for second in 0..20 {
        assert_eq!(watch.observe(at(second), queue(50, 3.0)), [], "it does not grow");
    }
    for second in 20_u32..30 {
        assert_eq!(watch.observe(at(second.into()), queue(30 + second, 0.2)), [], "nobody waits");
    }
    let mut told = Vec::new();
    for second in 30_u32..40 {
        told.extend(watch.observe(at(second.into()), queue(30 + second, 3.0)));
    }
    assert_eq!(whats(&told), [What::Fired]);
}

#[test]
fn a_certificate_is_compared_with_the_clock_of_people() {
    let mut watch = watch_of("certificate for 0");
    let ends = UNIX_MS as f64 / 1e3 + 13.0 * 86_400.0;
    let name = "indrik_tls_certificate_expiry_timestamp_seconds";
    let told = watch.observe(at(0), Counted::of(&[family(name, &[(&[], ends)])]));
    assert_eq!(whats(&told), [What::Fired]);
    assert_eq!(told[0].alert.summary, "The certificate of web-1 expires in 13 days");
}
