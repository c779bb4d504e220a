//! What is asked of the loop over the admin listener.

use std::sync::Arc;

use indrik_core::control::Command;

use super::parts::Drive;
use crate::admin::{Order, Wish};

/// Orders that are performed in a turn of the loop.
const ORDERS_AT_ONCE_MAX: usize = 16;

impl Drive {
    /// Does what is asked for over the admin listener.
    pub(super) fn take_orders(&mut self) {
        let orders = Arc::clone(&self.outside.admin.orders);
        for _ in 0..ORDERS_AT_ONCE_MAX {
            let Some(order) = orders.take() else { return };
            self.perform_order(order);
        }
        // The rest is for the next turn.
        self.sources.bell.ring();
    }

    fn perform_order(&mut self, order: Order) {
        let (wish, answer) = order.open();
        let Wish::Command(command) = wish;
        let outcome = match (&command, self.machine.may_upgrade()) {
            (Command::Upgrade, Err(why)) => {
                Err(format!("a new master cannot be started now: {why}"))
            }
            // Who wants to know how it ends looks at the chronicle.
            (Command::ReloadAndWait, _) => self.command(Command::Reload),
            _ => self.command(command),
        };
        match outcome {
            Ok((data, event)) => {
                // First the answer: the event may be the end of this process.
                answer.give(Ok(data));
                event.into_iter().for_each(|event| self.feed(event));
            }
            Err(why) => answer.give(Err(why)),
        }
    }
}
