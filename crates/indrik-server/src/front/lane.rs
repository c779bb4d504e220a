//! What the front does with what workers say on their lanes.

use std::sync::Arc;

use indrik_core::ids::WorkerId;
use indrik_core::supervise::Level;
use indrik_ring::{LaneAnswer, LaneAsk};

use super::clock;
use super::events::ChannelFault;
use super::services::Services;
use crate::lane::{LaneFault, Listens};

/// Answers on the lanes.
pub(super) struct Listener(pub(super) Arc<Services>);

impl Listens for Listener {
    fn answer(&self, ask: LaneAsk<'_>) -> LaneAnswer {
        let most = self.0.settings().config.route_names_max;
        match ask {
            LaneAsk::Route(name) => LaneAnswer::Route(self.0.routes.number(name, most)),
        }
    }

    fn cut(&self, id: WorkerId, fault: LaneFault) {
        self.0.pool.condemn_by_lane(id, ChannelFault::Lane(fault), clock::now());
    }

    fn closed(&self, id: WorkerId) {
        let text = format!("The lane of worker {id} is closed; its requests are served as before");
        self.0.log.write(Level::Debug, &text);
    }
}
