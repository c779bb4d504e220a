//! The compiled rules, and what they say about a request.

use std::collections::HashMap;
use std::time::Duration;

use super::condition::{PathIs, Request};
use super::rule::{NO_LIMIT, Probe, Rule, Then};
use super::rules::rules;
use crate::settings::Config;
use crate::time::Micros;

/// How often running requests are looked at, by the shortest limit: a tenth of it, in these bounds.
const LOOK_MIN: Duration = Duration::from_millis(10);
const LOOK_MAX: Duration = Duration::from_millis(100);
const LOOKS_IN_LIMIT: u64 = 10;

/// Kinds of consequences.
const KINDS: usize = 4;

impl Then {
    const fn kind(self) -> usize {
        match self {
            Self::Probe(_) => 0,
            Self::TimeLimit(_) => 1,
            Self::Unlogged => 2,
            Self::Slow(_) => 3,
        }
    }
}

/// What the table says about one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The front answers it.
    pub probe: Option<Probe>,
    /// How long it may run; [`NO_LIMIT`]: for as long as it likes.
    pub time_limit: Micros,
    /// It has no line in the access log, unless it fails.
    pub is_unlogged: bool,
    /// After so long it is slow, and logged; [`NO_LIMIT`]: never.
    pub slow: Micros,
}

/// The compiled rules.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rules: Vec<Rule>,
    chains: [Chain; KINDS],
}

/// The rules of one kind, in their order.
#[derive(Clone, Debug, Default)]
struct Chain {
    /// Those for one path: by the path.
    exact: HashMap<Vec<u8>, Vec<usize>>,
    /// The others.
    others: Vec<usize>,
}

impl Table {
    /// The table of the settings.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self::new(rules(config))
    }

    /// A table of these rules: of those of a kind, the first counts whose conditions hold.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        let mut chains: [Chain; KINDS] = Default::default();
        for (index, rule) in rules.iter().enumerate() {
            let chain = &mut chains[rule.then.kind()];
            match &rule.conditions.path {
                Some(PathIs::Exactly(path)) => {
                    chain.exact.entry(path.as_bytes().to_vec()).or_default().push(index);
                }
                _ => chain.others.push(index),
            }
        }
        Self { rules, chains }
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether nothing is said about any request.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What is said about a request.
    #[must_use]
    pub fn notes(&self, request: &Request<'_>) -> Notes {
        let mut notes = Notes::default();
        if self.is_empty() {
            return notes;
        }
        for rule in self.applying(request) {
            match rule.then {
                Then::Probe(probe) => notes.probe = Some(probe),
                Then::TimeLimit(limit) => notes.time_limit = limit,
                Then::Unlogged => notes.is_unlogged = true,
                Then::Slow(limit) => notes.slow = limit,
            }
        }
        notes
    }

    /// The rules that count for a request: at most one of each kind.
    pub fn applying<'a>(&'a self, request: &'a Request<'_>) -> impl Iterator<Item = &'a Rule> {
        self.chains.iter().filter_map(|chain| self.first(chain, request))
    }

    fn first(&self, chain: &Chain, request: &Request<'_>) -> Option<&Rule> {
        let holds = |index: &&usize| self.rules[**index].conditions.hold(request);
        let exact = match chain.exact.is_empty() {
            true => None,
            false => chain.exact.get(request.path.as_bytes()),
        };
        let exact = exact.and_then(|indices| indices.iter().find(holds)).copied();
        let end = exact.unwrap_or(self.rules.len());
        let before = chain.others.iter().take_while(|index| **index < end).find(holds).copied();
        before.or(exact).map(|index| &self.rules[index])
    }

    /// How often to look at running requests; `None`: never, as none has a limit.
    #[must_use]
    pub fn look_every(&self) -> Option<Duration> {
        let limits = self.rules.iter().filter_map(|rule| match rule.then {
            Then::TimeLimit(limit) => Some(limit),
            Then::Probe(_) | Then::Unlogged | Then::Slow(_) => None,
        });
        let shortest = limits.filter(|limit| *limit != NO_LIMIT).min()?;
        Some(Duration::from_micros(shortest / LOOKS_IN_LIMIT).clamp(LOOK_MIN, LOOK_MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::super::condition::{Conditions, Field, HostIs, Values};
    use super::super::rule::Source;
    use super::*;

    /// What a table must say, written as it is explained.
    fn naive(rules: &[Rule], request: &Request<'_>) -> Notes {
        let mut notes = Notes::default();
        let mut seen = [false; KINDS];
        for rule in rules.iter().filter(|rule| rule.conditions.hold(request)) {
            if std::mem::replace(&mut seen[rule.then.kind()], true) {
                continue;
            }
            match rule.then {
                Then::Probe(probe) => notes.probe = Some(probe),
                Then::TimeLimit(limit) => notes.time_limit = limit,
                Then::Unlogged => notes.is_unlogged = true,
                Then::Slow(limit) => notes.slow = limit,
            }
        }
        notes
    }

    fn paths() -> impl Strategy<Value = String> {
        "(/[ab%6*]{0,2}){1,3}"
    }

    fn conditions() -> impl Strategy<Value = Conditions> {
        let path = prop_oneof![
            paths().prop_map(PathIs::Exactly),
            paths().prop_map(PathIs::Below),
            paths().prop_map(|text| PathIs::like(&text)),
        ];
        let host = prop_oneof!["[ab]".prop_map(HostIs::Exactly), "[ab]".prop_map(HostIs::Under),];
        let field = ("[xy]", prop::option::of("[12]"))
            .prop_map(|(name, value)| Field { name, value: value.map(String::into_bytes) });
        let networks = prop::sample::select(vec!["10.0.0.0/8", "10.1.0.0/16", "*"]);
        (
            prop::option::of(path),
            prop::option::weighted(0.2, host),
            prop::option::weighted(0.2, prop::sample::select(vec!["GET", "PUT"])),
            prop::option::weighted(0.2, field),
            prop::option::weighted(0.2, networks),
        )
            .prop_map(|(path, host, method, field, network)| Conditions {
                path,
                host,
                methods: method.into_iter().map(str::to_owned).collect(),
                fields: field.into_iter().collect(),
                clients: network.into_iter().map(|text| text.parse().unwrap()).collect(),
            })
    }

    fn tables() -> impl Strategy<Value = Vec<Rule>> {
        let then = prop_oneof![
            Just(Then::Probe(Probe::Liveness)),
            Just(Then::Probe(Probe::Readiness)),
            (0u64..4).prop_map(Then::TimeLimit),
            Just(Then::Unlogged),
        ];
        let source = Source { setting: "bind", entry: String::new() };
        let rule = (conditions(), then).prop_map(move |(conditions, then)| Rule {
            conditions,
            then,
            source: source.clone(),
        });
        prop::collection::vec(rule, 0..12)
    }

    struct Fields(Vec<(String, String)>);

    impl Values for Fields {
        fn any(&self, name: &str, is: &mut dyn FnMut(&[u8]) -> bool) -> bool {
            self.0.iter().any(|(found, value)| found == name && is(value.as_bytes()))
        }
    }

    proptest! {
        /// The compiled table says what a walk through all rules says.
        #[test]
        fn a_table_says_what_its_rules_say(
            rules in tables(),
            path in paths(),
            host in "([ab][.])?[abAB](:80)?",
            method in prop::sample::select(vec!["GET", "PUT", "HEAD"]),
            fields in prop::collection::vec(("[xy]", "[12]"), 0..3),
            client in prop::option::of(prop::sample::select(vec!["10.1.0.1", "10.2.0.1", "::1"])),
        ) {
            let fields = Fields(fields);
            let client = client.map(|text| text.parse::<IpAddr>().unwrap());
            let host = host.as_bytes();
            let request = Request { path: &path, host, method, client, fields: &fields };
            let expected = naive(&rules, &request);
            prop_assert_eq!(Table::new(rules).notes(&request), expected);
        }
    }

    #[test]
    fn an_empty_table_says_nothing() {
        assert!(Table::new(Vec::new()).is_empty());
        assert_eq!(Table::default().look_every(), None);
        let request = Request::new("GET", b"a", "/");
        assert_eq!(Table::default().notes(&request), Notes::default());
    }
}
