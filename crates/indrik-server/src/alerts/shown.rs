//! What others see of alerts: which are active, and what became of their messages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use indrik_core::alerts::Active;
use indrik_core::metrics::{Family, generated as metrics};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value as Json, json};

/// Where messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sink {
    Log,
    Exec,
    Webhook,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Ok,
    /// It was given up after all tries.
    Failed,
    /// There was no room for it to wait.
    Lost,
}

/// What became of a test, for each sink.
pub(crate) type Tested = Vec<(Sink, Result<String, String>)>;

/// What others see.
#[derive(Debug, Default)]
pub(crate) struct Alerts {
    state: ArcSwap<State>,
    fates: [[AtomicU64; FATES.len()]; SINKS.len()],
    /// Processes of the thread's own, which it reaps itself.
    children: Mutex<BTreeSet<u32>>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) is_watched: bool,
    pub(super) active: Vec<Active>,
    pub(super) counts: BTreeMap<&'static str, usize>,
}

const SINKS: [Sink; 3] = [Sink::Log, Sink::Exec, Sink::Webhook];
const FATES: [(Fate, &str); 3] = [(Fate::Ok, "ok"), (Fate::Failed, "failed"), (Fate::Lost, "lost")];

impl Sink {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Exec => "exec",
            Self::Webhook => "webhook",
        }
    }
}

impl Alerts {
    pub(super) fn show(&self, state: State) {
        self.state.store(Arc::new(state));
    }

    /// A message has come to this end.
    pub(super) fn count(&self, sink: Sink, fate: Fate) {
        self.fates[sink as usize][fate as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Messages that came to this end so far.
    pub(super) fn counted(&self, sink: Sink, fate: Fate) -> u64 {
        self.fates[sink as usize][fate as usize].load(Ordering::Relaxed)
    }

    /// Processes that are not the supervisor's to reap. While one is started they are not known: `None`.
    pub(crate) fn children(&self) -> Option<MutexGuard<'_, BTreeSet<u32>>> {
        self.children.try_lock()
    }

    /// The same for who starts one.
    pub(super) fn own_children(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.children.lock()
    }

    /// For a scraper.
    pub(crate) fn families(&self) -> [Family; 2] {
        let state = self.state.load();
        let active = state.counts.iter().map(|(alert, count)| ([(*alert).into()], *count as f64));
        let fates = SINKS.into_iter().flat_map(|sink| {
            FATES.map(|(fate, word)| {
                ([sink.word().into(), word.into()], self.counted(sink, fate) as f64)
            })
        });
        [metrics::ALERTS_ACTIVE.family(active), metrics::ALERT_DELIVERIES.family(fates)]
    }

    /// For `/status` and the control socket.
    pub(crate) fn json(&self) -> Json {
        let state = self.state.load();
        let active = state.active.iter().map(|alert| {
            let mut shown = json!(alert);
            shown["subject"] = alert.subject.as_ref().map(|(_, subject)| subject.as_str()).into();
            shown
        });
        let deliveries = SINKS.into_iter().map(|sink| {
            let counts =
                FATES.map(|(fate, word)| (word.to_owned(), Json::from(self.counted(sink, fate))));
            (sink.word().to_owned(), Json::Object(counts.into_iter().collect()))
        });
        json!({
            "watched": state.is_watched,
            "active": active.collect::<Vec<_>>(),
            "deliveries": Json::Object(deliveries.collect()),
        })
    }
}
