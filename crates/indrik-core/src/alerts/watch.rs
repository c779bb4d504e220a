//! The state machine: looks with their time in, what has begun and what is over out, each told once.
//!
//! A value has to be bad for the rule's hold before it is told, at every look of it; and well for its recovery before that
//! is told, so one that goes to and fro is told once. A value that is missing is not bad: a route without requests recovers.
//! Time that nobody looked counts for neither.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::counted::Counted;
use super::measure::{Looks, values};
use super::row::{Severity, Unit};
use super::rule::Rule;
use super::span::Span;
use super::words::summary;
use crate::display::fitted;

/// Routes, reasons or disks of one alert that are watched at a time: those that were bad first.
pub const SUBJECTS_MAX: usize = 64;
/// Between two looks: longer, and nobody looked meanwhile.
const GAP_MAX: Duration = Duration::from_secs(30);
/// Characters of a route or reason that are told.
const SUBJECT_CHARS_MAX: usize = 200;

/// When a look was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// On a clock that only goes on.
    pub at: Duration,
    /// In milliseconds since 1970: for people, and for certificates.
    pub unix_ms: u64,
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It has begun.
    Fired,
    /// It has begun, was told, and goes on.
    Still,
    /// It is over.
    Recovered,
    /// Somebody tries the ways of messages.
    Test,
}

impl What {
    /// In one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fired => "fired",
            Self::Still => "still",
            Self::Recovered => "recovered",
            Self::Test => "test",
        }
    }
}

/// An alert that has begun.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Active {
    /// As settings call it.
    pub alert: &'static str,
    /// As Prometheus' rules call it.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What tells it from others of the alert (`route`, `reason`, `disk`), and which it is.
    pub subject: Option<(&'static str, String)>,
    /// The newest value that is known.
    pub value: f64,
    /// The threshold.
    pub threshold: f64,
    /// Of both.
    pub unit: Unit,
    /// When it began, in milliseconds since 1970.
    pub since_ms: u64,
    /// What is wrong, in words.
    pub summary: String,
    /// What to do.
    pub action: &'static str,
}

/// Something to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What happened.
    pub what: What,
    /// To which alert.
    pub alert: Active,
}

/// The state machine.
#[derive(Debug)]
pub struct Watch {
    rules: Vec<Rule>,
    /// An alert that goes on is told again after so long; zero: never.
    repeat: Duration,
    /// What the server is called in words.
    instance: String,
    /// One for each window of the rules.
    spans: Vec<Span>,
    states: BTreeMap<(&'static str, String), State>,
    last: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Bad, but not for long enough.
    Waits {
        since: Duration,
        since_ms: u64,
    },
    Told(Told),
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Told {
    since_ms: u64,
    /// When it was told last.
    told: Duration,
    well_since: Option<Duration>,
    value: f64,
}

/// What outlives a server.
#[derive(Serialize, Deserialize)]
struct Saved {
    alert: String,
    subject: String,
    since_ms: u64,
    value: f64,
}

impl Watch {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(instance: String) -> Self {
        Self {
            rules: Vec::new(),
            repeat: Duration::ZERO,
            instance,
            spans: Vec::new(),
            states: BTreeMap::new(),
            last: Duration::ZERO,
        }
    }

    /// From now on these rules hold. What is not watched any more is over.
    pub fn configure(&mut self, rules: Vec<Rule>, repeat: Duration) -> Vec<Event> {
        let before = std::mem::replace(&mut self.rules, rules);
        self.repeat = repeat;
        let windows: Vec<Duration> = self.rules.iter().map(|rule| rule.window).collect();
        self.spans.retain(|span| windows.contains(&span.window()));
        for window in windows {
            if !self.spans.iter().any(|span| span.window() == window) {
                self.spans.push(Span::new(window));
            }
        }
        let rules = &self.rules;
        let gone = |(key, _): &(&'static str, String)| !rules.iter().any(|it| it.row.key == *key);
        let over: Vec<_> = self.states.keys().filter(|key| gone(key)).cloned().collect();
        let ends = over.into_iter().filter_map(|key| {
            let State::Told(told) = self.states.remove(&key)? else { return None };
            let rule = before.iter().find(|rule| rule.row.key == key.0)?;
            Some(Event { what: What::Recovered, alert: active(rule, &key.1, told, &self.instance) })
        });
        ends.collect()
    }

    /// Takes a look.
    pub fn observe(&mut self, moment: Moment, now: Counted) -> Vec<Event> {
        let at = moment.at.max(self.last);
        if at - self.last > GAP_MAX {
            self.begin_waits_anew(at);
        }
        self.last = at;
        let now = Arc::new(now);
        self.spans.iter_mut().for_each(|span| span.push(at, &now));
        let rules = std::mem::take(&mut self.rules);
        let mut events = Vec::new();
        for rule in &rules {
            let Some(span) = self.spans.iter().find(|it| it.window() == rule.window) else {
                continue;
            };
            let unix_s = moment.unix_ms as f64 / 1e3;
            let looks = Looks { now: &now, span, first: span.first(at), unix_s };
            let values = values(rule.row.measure, &looks);
            let values = values.into_iter().filter(|(_, value)| value.is_finite()).collect();
            self.judge(rule, &values, Moment { at, ..moment }, &mut events);
        }
        self.rules = rules;
        events
    }

    fn begin_waits_anew(&mut self, at: Duration) {
        for state in self.states.values_mut() {
            match state {
                State::Waits { since, .. } => *since = at,
                State::Told(told) => {
                    told.well_since.iter_mut().for_each(|since| *since = at);
                }
            }
        }
    }

    fn judge(
        &mut self,
        rule: &Rule,
        values: &BTreeMap<String, f64>,
        moment: Moment,
        events: &mut Vec<Event>,
    ) {
        let key = rule.row.key;
        let bad = |subject: &String| values.get(subject).copied().filter(|it| rule.is_bad(*it));
        let known: Vec<String> =
            self.states.keys().filter(|(other, _)| *other == key).map(|it| it.1.clone()).collect();
        let room = SUBJECTS_MAX.saturating_sub(known.len());
        let new = values.keys().filter(|it| bad(it).is_some() && !known.contains(it)).take(room);
        let new: Vec<String> = new.cloned().collect();
        for subject in known.into_iter().chain(new) {
            let state = self.states.remove(&(key, subject.clone()));
            let (state, what) = match bad(&subject) {
                Some(value) => self.bad(rule, state, value, moment),
                None => well(rule, state, values.get(&subject).copied(), moment),
            };
            if let (Some(what), Some(State::Told(told))) = (what, state) {
                let alert = active(rule, &subject, told, &self.instance);
                events.push(Event { what, alert });
            }
            if let Some(state) = state.filter(|_| what != Some(What::Recovered)) {
                self.states.insert((key, subject), state);
            }
        }
    }

    fn bad(
        &self,
        rule: &Rule,
        state: Option<State>,
        value: f64,
        Moment { at, unix_ms }: Moment,
    ) -> (Option<State>, Option<What>) {
        let (since, since_ms) = match state {
            None => (at, unix_ms),
            Some(State::Waits { since, since_ms }) => (since, since_ms),
            Some(State::Told(told)) => {
                let again = !self.repeat.is_zero() && at - told.told >= self.repeat;
                let when = if again { at } else { told.told };
                let told = Told { told: when, well_since: None, value, ..told };
                return (Some(State::Told(told)), again.then_some(What::Still));
            }
        };
        if at - since < rule.hold {
            return (Some(State::Waits { since, since_ms }), None);
        }
        let told = Told { since_ms, told: at, well_since: None, value };
        (Some(State::Told(told)), Some(What::Fired))
    }

    /// What has begun and is not over, the worst first.
    #[must_use]
    pub fn active(&self) -> Vec<Active> {
        let told = self.states.iter().filter_map(|((key, subject), state)| {
            let State::Told(told) = *state else { return None };
            let rule = self.rules.iter().find(|rule| rule.row.key == *key)?;
            Some(active(rule, subject, told, &self.instance))
        });
        let mut all: Vec<Active> = told.collect();
        all.sort_by_key(|alert| (alert.severity == Severity::Warning, alert.since_ms));
        all
    }

    /// How many are active of each alert that is watched.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts: BTreeMap<_, _> = self.rules.iter().map(|rule| (rule.row.key, 0)).collect();
        let told = self.states.iter().filter(|(_, state)| matches!(state, State::Told(_)));
        for ((key, _), _) in told {
            *counts.entry(*key).or_default() += 1;
        }
        counts
    }

    /// What has begun, for the server that takes this one's place.
    #[must_use]
    pub fn save(&self) -> String {
        let told = self.states.iter().filter_map(|((key, subject), state)| match state {
            State::Told(told) => Some(Saved {
                alert: (*key).to_owned(),
                subject: subject.clone(),
                since_ms: told.since_ms,
                value: told.value,
            }),
            State::Waits { .. } => None,
        });
        serde_json::to_string(&told.collect::<Vec<_>>()).unwrap_or_default()
    }

    /// Goes on from what another server has told; alerts that are not watched here are passed over.
    ///
    /// # Errors
    /// When it was not written by [`Self::save`], in one line; nothing is changed then.
    pub fn restore(&mut self, text: &str) -> Result<(), String> {
        let saved: Vec<Saved> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut states = BTreeMap::new();
        for Saved { alert, subject, since_ms, value } in saved {
            let Some(rule) = self.rules.iter().find(|rule| rule.row.key == alert) else { continue };
            let count = states.keys().filter(|(key, _)| *key == rule.row.key).count();
            if count < SUBJECTS_MAX && value.is_finite() {
                let told = Told { since_ms, told: self.last, well_since: None, value };
                states.insert((rule.row.key, subject), State::Told(told));
            }
        }
        self.states = states;
        Ok(())
    }
}

/// A value that is well or not known.
fn well(
    rule: &Rule,
    state: Option<State>,
    value: Option<f64>,
    Moment { at, .. }: Moment,
) -> (Option<State>, Option<What>) {
    let Some(State::Told(told)) = state else { return (None, None) };
    let since = told.well_since.unwrap_or(at);
    let value = value.unwrap_or(told.value);
    let told = Told { well_since: Some(since), value, ..told };
    let is_over = at - since >= rule.recovery;
    (Some(State::Told(told)), is_over.then_some(What::Recovered))
}

fn active(rule: &Rule, subject: &str, told: Told, instance: &str) -> Active {
    let row = rule.row;
    let subject = fitted(subject, SUBJECT_CHARS_MAX);
    Active {
        alert: row.key,
        name: row.name,
        severity: row.severity,
        summary: summary(row, &subject, told.value, instance, rule.window),
        subject: row.subject.map(|label| (label, subject)),
        value: told.value,
        threshold: rule.threshold,
        unit: row.unit,
        since_ms: told.since_ms,
        action: row.action,
    }
}

#[cfg(test)]
mod tests;
