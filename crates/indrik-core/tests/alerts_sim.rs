//! Seeded simulation of alerts: values that go to and fro, gaps, clocks that step, counters that begin anew, samples that are
//! missing, servers that take each other's place. Whatever comes, each beginning and each end is told once, and nothing
//! grows. A failing seed is named: `make simulate SEED=n`.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/random.rs"]
mod random;
#[path = "support/seeds.rs"]
mod seeds;

use std::collections::BTreeMap;
use std::time::Duration;

use indrik_core::alerts::{Counted, Moment, Rule, SUBJECTS_MAX, Watch, What, rules};
use indrik_core::metrics::{Family, Kind, Labels, Sample, Value};
use random::Random;
use seeds::seeds;

/// Looks at a server in each seed.
const LOOKS: usize = 60;
/// Well and unwatched for so long, everything is over, seconds.
const LONG: u64 = 100;

/// A server as a scraper sees it.
struct World {
    random: Random,
    at: Duration,
    unix_ms: u64,
    memory: f64,
    requests: BTreeMap<String, (f64, f64)>,
    ends: f64,
    ready: f64,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            at: Duration::from_secs(1),
            unix_ms: 1_764_590_400_000,
            memory: 0.5,
            requests: BTreeMap::new(),
            ends: 0.0,
            ready: 1.0,
        }
    }

    /// Goes on to the next look.
    fn step(&mut self) -> Moment {
        let seconds = match self.random.below(50) {
            0 => self.random.between(30, 3_600),
            1 => 0,
            _ => 1,
        };
        self.at += Duration::from_secs(seconds);
        self.unix_ms += seconds * 1_000;
        if self.random.percent(1) {
            // Somebody sets the clock.
            self.unix_ms = self.random.between(0, 4_000_000_000_000);
        }
        if self.random.percent(5) {
            self.memory = [0.5, 0.79, 0.81, 0.9][self.random.below(4)];
        }
        if self.random.percent(3) {
            self.ready = 1.0 - self.ready;
        }
        if self.random.percent(2) {
            self.ends += self.random.between(1, 6) as f64;
        }
        if self.random.percent(1) {
            self.ends = 0.0;
            self.requests.clear();
        }
        for _ in 0..3 {
            let route = format!("/{}", self.random.below(80));
            let fails = self.random.percent(20);
            let counts = self.requests.entry(route).or_default();
            counts.0 += 5.0;
            counts.1 += if fails { 2.0 } else { 0.0 };
        }
        Moment { at: self.at, unix_ms: self.unix_ms }
    }

    /// What a scraper would get; sometimes not all of it.
    fn counted(&mut self) -> Counted {
        let mut families = vec![
            family("indrik_memory_used_bytes", vec![(vec![], self.memory)]),
            family("indrik_memory_allowed_bytes", vec![(vec![], 1.0)]),
            family("indrik_ready", vec![(vec![], self.ready)]),
            family("indrik_worker_ends", vec![(vec![("reason", "oom".to_owned())], self.ends)]),
        ];
        let requests = self.requests.iter().flat_map(|(route, (all, bad))| {
            let labels = |class: &str| vec![("route", route.clone()), ("class", class.to_owned())];
            [(labels("2xx"), all - bad), (labels("5xx"), *bad)]
        });
        families.push(family("indrik_http_requests", requests.collect()));
        families.retain(|_| !self.random.percent(2));
        Counted::of(&families)
    }
}

fn family(name: &'static str, samples: Vec<(Vec<(&'static str, String)>, f64)>) -> Family {
    let sample = |(pairs, number): (Vec<(&'static str, String)>, f64)| {
        let labels: Labels =
            pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Sample { labels, value: Value::Number(number) }
    };
    Family {
        name: name.into(),
        help: "".into(),
        kind: Kind::Unknown,
        unit: "".into(),
        samples: samples.into_iter().map(sample).collect(),
    }
}

/// Holds and recoveries that are short and long.
fn changed(random: &mut Random) -> Vec<Rule> {
    let texts = ["memory", "memory_critical", "ready", "worker_ends", "route_errors"].map(|key| {
        let (hold, recovery) = (random.between(0, 20), random.between(0, 20));
        format!("{key} for {hold} recover {recovery}")
    });
    rules(&texts)
}

/// Which alert it is.
type Name = (&'static str, Option<String>);

/// Who is told, and holds that each thing is told once.
#[derive(Default)]
struct Listener(BTreeMap<Name, u64>);

impl Listener {
    fn hear(&mut self, watch: &Watch, events: Vec<indrik_core::alerts::Event>) {
        for event in events {
            let name: Name = (event.alert.alert, event.alert.subject.map(|it| it.1));
            match event.what {
                What::Fired => {
                    let before = self.0.insert(name.clone(), event.alert.since_ms);
                    assert_eq!(before, None, "{name:?} was told before");
                }
                What::Recovered => {
                    let since = self.0.remove(&name);
                    assert_eq!(since, Some(event.alert.since_ms), "{name:?} was never told");
                }
                What::Still | What::Test => panic!("nobody wanted that"),
            }
        }
        let active: Vec<Name> = watch
            .active()
            .into_iter()
            .map(|alert| (alert.alert, alert.subject.map(|it| it.1)))
            .collect();
        assert_eq!(active.len(), self.0.len());
        assert!(active.iter().all(|name| self.0.contains_key(name)));
        let most = watch.counts().into_values().max().unwrap_or_default();
        assert!(most <= SUBJECTS_MAX);
    }
}

#[test]
fn whatever_comes_each_beginning_and_each_end_is_told_once_and_nothing_grows() {
    for seed in seeds() {
        let mut world = World::new(seed);
        let now = changed(&mut world.random);
        let mut watch = Watch::new("here".into());
        let mut listener = Listener::default();
        watch_rules(&mut watch, now.clone());
        for _ in 0..LOOKS {
            let moment = world.step();
            let counted = world.counted();
            let events = watch.observe(moment, counted);
            listener.hear(&watch, events);
            if world.random.percent(1) {
                // A reload, with other holds.
                let rules = changed(&mut world.random);
                let events = watch_rules(&mut watch, rules);
                listener.hear(&watch, events);
            }
            if world.random.percent(1) {
                // A server takes this one's place.
                let saved = watch.save();
                watch = Watch::new("there".into());
                watch_rules(&mut watch, now.clone());
                watch.restore(&saved).unwrap();
            }
            assert!(watch.save().len() < 64 * 1024);
        }
        let events = end(&mut watch, &mut world);
        listener.hear(&watch, events);
        assert!(listener.0.is_empty(), "{:?}", listener.0);
    }
}

fn watch_rules(watch: &mut Watch, rules: Vec<Rule>) -> Vec<indrik_core::alerts::Event> {
    watch.configure(rules, Duration::ZERO)
}

/// A long time in which all is well.
fn end(watch: &mut Watch, world: &mut World) -> Vec<indrik_core::alerts::Event> {
    let (mut events, mut seconds) = (Vec::new(), 0);
    while seconds < LONG {
        seconds += 10;
        world.at += Duration::from_secs(10);
        let well = vec![family("indrik_ready", vec![(vec![], 1.0)])];
        let moment = Moment { at: world.at, unix_ms: world.unix_ms };
        events.extend(watch.observe(moment, Counted::of(&well)));
    }
    events
}
