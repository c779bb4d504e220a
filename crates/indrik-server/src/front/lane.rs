//! What the front does with what workers say on their lanes.

use std::sync::Arc;

use indrik_core::ids::{Generation, WorkerId};
use indrik_core::logs::level::Level;
use indrik_ring::{LaneAnswer, LaneAsk};

use super::events::FrontEvent;
use super::services::Services;
use crate::lane::{LaneFault, Listens};

/// Answers on the lanes.
pub(super) struct Listener(pub(super) Arc<Services>);

impl Listens for Listener {
    fn answer(&self, who: (Generation, WorkerId), ask: LaneAsk<'_>) -> LaneAnswer {
        let most = self.0.settings().config.route_names_max;
        match ask {
            LaneAsk::Route(name) => LaneAnswer::Route(self.0.route_names.number(who, name, most)),
        }
    }

    fn cut(&self, id: WorkerId, fault: LaneFault) {
        // What it has answered, and answers yet, lies in memory that is as good as before.
        (self.0.sink)(FrontEvent::LaneCut(id, fault));
    }

    fn closed(&self, id: WorkerId) {
        let text = format!("The lane of worker {id} is closed; its requests are served as before");
        self.0.log.write(Level::Debug, &text);
    }
}
