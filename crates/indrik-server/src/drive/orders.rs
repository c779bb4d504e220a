//! What is asked of the loop over the admin listener.

use std::sync::Arc;

use indrik_core::chronicle::{Kind, News};
use indrik_core::control::Command;
use indrik_core::settings::{Difference, plan};
use indrik_core::supervise::{Event, OperatorEvent, Signal};
use serde_json::json;

use super::control::Done;
use super::parts::{Drive, OnTrial};
use crate::admin::{No, Order, Outcome, Wanted, Wish};

/// Orders that are performed in a turn of the loop.
const ORDERS_AT_ONCE_MAX: usize = 16;

impl Drive {
    /// Does what is asked for over the admin listener.
    pub(super) fn take_orders(&mut self) {
        // Whoever waits for a look may have given it up.
        self.call_off_looks();
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
        let outcome = match wish {
            Wish::Inside(inside) => return self.look_inside_for(answer, inside),
            Wish::Command(command) => self.do_command(command).map_err(No::Conflict),
            Wish::Settings(wanted) => return answer.give(self.change_settings(&wanted)),
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

    fn do_command(&mut self, command: Command) -> Result<Done, String> {
        match (&command, self.machine.may_upgrade()) {
            (Command::Upgrade, Err(why)) => {
                Err(format!("a new master cannot be started now: {why}"))
            }
            // Who wants to know how it ends looks at the chronicle.
            (Command::ReloadAndWait, _) => self.command(Command::Reload),
            _ => self.command(command),
        }
    }

    /// Checks changes of settings, and reloads with them. If that fails, those before hold again.
    fn change_settings(&mut self, wanted: &Wanted) -> Outcome {
        let generation = self.machine.census().generation;
        let values = self.generations.values(generation);
        let planned = plan(&self.launch, values.as_deref(), &wanted.changes, &wanted.who);
        let plan = planned.map_err(No::Wrong)?;
        let differences = json!(plan.differences);
        if wanted.dry_run || plan.differences.is_empty() {
            return Ok(
                json!({"changes": differences, "dry_run": wanted.dry_run, "reloading": false}),
            );
        }
        if !self.machine.census().serving {
            return Err(No::Conflict("the server is starting or ends".to_owned()));
        }
        let before = std::mem::replace(&mut self.launch.by_hand, plan.layer);
        self.feed(Event::Operator(OperatorEvent::Signal(Signal::Hup)));
        let Some(awaited) = self.machine.reload_awaited() else {
            self.launch.by_hand = before;
            return Err(No::Conflict("the server cannot reload now".to_owned()));
        };
        let good = self.outside.admin.on_trial.take().map_or(before, |trial| trial.good);
        self.outside.admin.on_trial = Some(OnTrial { generation: awaited, good });
        let names: Vec<String> = plan.differences.iter().map(shown).collect();
        let text = format!("{} sets {}", wanted.who, names.join(", "));
        self.outside.admin.board.enter(News::of(Kind::Setting, text).of_generation(awaited.0));
        let generation = awaited.0;
        Ok(json!({"changes": differences, "reloading": true, "generation": generation}))
    }
}

fn shown(difference: &Difference) -> String {
    format!("{} = {} ({} before)", difference.name, difference.after, difference.before)
}
