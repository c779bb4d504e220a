//! What is asked of the loop over the admin listener.

use std::sync::Arc;

use indrik_core::chronicle::{Kind, News};
use indrik_core::control::{Asker, Command};
use indrik_core::settings::{Difference, Launch, Plan, plan};
use indrik_core::supervise::{Event, OperatorEvent, Signal};
use serde_json::json;

use super::control::{Done, result};
use super::parts::Drive;
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
        let (asker, wish, answer) = order.open();
        let (what, done) = match wish {
            Wish::Inside(inside) => {
                if let Some(what) = inside.change() {
                    self.note_asked(&asker, &what, "begun");
                }
                return self.look_inside_for(answer, inside);
            }
            Wish::Command(command, line) => {
                let what = command.changes().then_some(line);
                (what, self.do_command(&asker, command))
            }
            Wish::Settings(wanted) => {
                let what = (!wanted.dry_run).then(|| wanted.told());
                (what, self.change_settings(&asker, &wanted).map(|data| (data, None)))
            }
        };
        // First the note and the answer: the event may be the end of this process.
        if let Some(what) = what {
            self.note_asked(&asker, &what, &came_of(&done));
        }
        match done {
            Ok((data, event)) => {
                answer.give(Ok(data));
                event.into_iter().for_each(|event| self.feed(event));
            }
            Err(why) => answer.give(Err(why)),
        }
    }

    fn do_command(&mut self, asker: &Asker, command: Command) -> Result<Done, No> {
        asker.may(&command).map_err(No::Forbidden)?;
        let done = match (&command, self.machine.may_upgrade()) {
            (Command::Upgrade, Err(why)) => {
                Err(format!("a new master cannot be started now: {why}"))
            }
            // Who wants to know how it ends looks at the chronicle.
            (Command::ReloadAndWait, _) => self.command(Command::Reload),
            _ => self.command(command),
        };
        done.map_err(No::Conflict)
    }

    /// Checks changes of settings, and reloads with them. If that fails, those before hold again.
    fn change_settings(&mut self, asker: &Asker, wanted: &Wanted) -> Outcome {
        let generation = self.machine.census().generation;
        let Some((launch, values)) = self.generations.sources(generation) else {
            return Err(No::Conflict("the server is starting or ends".to_owned()));
        };
        let by_hand = self.outside.admin.hands.wanted().clone();
        let launch = Launch { by_hand, ..(*launch).clone() };
        let planned = plan(&launch, Some(&values), &wanted.changes, &asker.name);
        let plan = planned.map_err(No::Wrong)?;
        let differences = json!(plan.differences);
        if wanted.dry_run || plan.layer == launch.by_hand {
            return Ok(
                json!({"changes": differences, "dry_run": wanted.dry_run, "reloading": false}),
            );
        }
        if !self.machine.census().serving {
            return Err(No::Conflict("the server is starting or ends".to_owned()));
        }
        if plan.differences.is_empty() && self.machine.reload_awaited().is_none() {
            // The values are those that serve; only where they come from is new.
            self.outside.admin.hands.hold(generation, plan.layer);
            self.note_settings_look(generation);
            return Ok(json!({"changes": differences, "dry_run": false, "reloading": false}));
        }
        self.reload_by_hand(asker, plan)
    }

    fn reload_by_hand(&mut self, asker: &Asker, plan: Plan) -> Outcome {
        let before = self.outside.admin.hands.want(plan.layer);
        self.feed(Event::Operator(OperatorEvent::Signal(Signal::Hup)));
        let Some(awaited) = self.machine.reload_awaited() else {
            self.outside.admin.hands.want(before);
            return Err(No::Conflict("the server cannot reload now".to_owned()));
        };
        let names: Vec<String> = plan.differences.iter().map(shown).collect();
        let text = format!("{} sets {}", asker.name, names.join(", "));
        self.outside.admin.board.enter(News::of(Kind::Setting, text).of_generation(awaited.0));
        Ok(json!({"changes": plan.differences, "reloading": true, "generation": awaited.0}))
    }
}

/// In a few words, for the log.
fn came_of(done: &Result<Done, No>) -> String {
    match done {
        Ok(done) => result(done),
        Err(No::Forbidden(why) | No::Conflict(why)) => why.clone(),
        Err(No::Wrong(problems)) => {
            let first = problems.first().map_or("", |problem| problem.problem.as_str());
            format!("refused: {first}")
        }
    }
}

fn shown(difference: &Difference) -> String {
    format!("{} = {} ({} before)", difference.name, difference.after, difference.before)
}
