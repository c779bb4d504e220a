//! What the memory of workers grows with: a look at each from time to time, as long as requests are answered.

use std::time::{Duration, Instant};

use indrik_core::ids::WorkerId;
use indrik_core::lane::RouteId;
use serde_json::{Value as Json, json};

use super::parts::{Drive, Timer};

/// Between two looks while requests are answered.
const BUSY_PAUSE: Duration = Duration::from_millis(250);
/// And while there are none.
const IDLE_PAUSE: Duration = Duration::from_secs(2);

impl Drive {
    /// A worker serves: its memory is looked at from now on.
    pub(super) fn watch_growth(&mut self, id: WorkerId) {
        self.usage.growth.entry(id).or_default();
        self.timers.set(Timer::Growth, Some(Instant::now() + BUSY_PAUSE));
    }

    /// Looks at all of them.
    pub(super) fn look_at_growth(&mut self) {
        let now = self.events.now();
        let mut answered =
            self.front.as_ref().map(crate::front::Front::by_route).unwrap_or_default();
        let mut is_busy = false;
        self.usage.growth.retain(|id, _| answered.contains_key(id));
        for (id, growth) in &mut self.usage.growth {
            let rss = self.children.worker_pid(*id).and_then(|pid| self.usage.memory.rss(pid));
            let requests = answered.remove(id).unwrap_or_default();
            if let Some(rss) = rss {
                is_busy |= growth.saw(now, rss, &requests);
            }
        }
        let pause = if is_busy { BUSY_PAUSE } else { IDLE_PAUSE };
        let is_any = !self.usage.growth.is_empty();
        self.timers.set(Timer::Growth, is_any.then(|| Instant::now() + pause));
    }

    /// What a worker's memory has grown with, for showing.
    pub(super) fn shown_growth(&self, id: WorkerId) -> Json {
        let Some(growth) = self.usage.growth.get(&id) else { return Json::Null };
        let verdict = growth.verdict();
        let generation = self.children.workers.get(&id).map(|worker| worker.generation);
        let name = |route| {
            let route = RouteId::new(generation?, route);
            self.front.as_ref()?.route_name(route)
        };
        let routes = verdict.routes.iter().map(|it| {
            json!({
                // Requests whose route nobody has named.
                "route": name(it.route).unwrap_or_else(|| "-".to_owned()),
                "bytes_per_request": it.bytes_per_request.round(),
                "requests": it.requests,
            })
        });
        // Which of them it is, is not known.
        let others = verdict.others.map(|it| {
            json!({
                "route": "other routes",
                "bytes_per_request": it.bytes_per_request.round(),
                "requests": it.requests,
            })
        });
        json!({
            "grown_bytes": verdict.grown,
            "looks": verdict.looks,
            "bytes_per_second": verdict.per_second.round(),
            "routes": routes.chain(others).collect::<Vec<_>>(),
        })
    }
}
