//! What is set by hand, generation by generation.
//!
//! A change by hand is wanted first; a generation reads its configuration with what is wanted then, and has that layer
//! for ever. What is in use is the layer of the generation that serves, never what is wanted. When a reload fails and no
//! other one is awaited, the layer of the generation that serves is wanted again.

use std::collections::BTreeMap;

use super::layers::Layer;
use crate::ids::Generation;

/// What is set by hand.
#[derive(Debug, Default)]
pub struct Hands {
    wanted: Layer,
    of: BTreeMap<Generation, Layer>,
}

impl Hands {
    /// With what the next generation is to read its configuration.
    #[must_use]
    pub fn wanted(&self) -> &Layer {
        &self.wanted
    }

    /// Wants another layer; returns the one before.
    pub fn want(&mut self, layer: Layer) -> Layer {
        std::mem::replace(&mut self.wanted, layer)
    }

    /// A generation reads its configuration now.
    pub fn read(&mut self, generation: Generation) {
        self.of.insert(generation, self.wanted.clone());
    }

    /// The layer changes, and with it no value of the generation that serves: it has it without a reload.
    pub fn hold(&mut self, serving: Generation, layer: Layer) {
        self.of.insert(serving, layer.clone());
        self.wanted = layer;
    }

    /// What a generation has read.
    #[must_use]
    pub fn of(&self, generation: Generation) -> Layer {
        self.of.get(&generation).cloned().unwrap_or_default()
    }

    /// A reload is over: this generation serves. `awaited`: that of a reload that was asked for meanwhile, which reads
    /// what is wanted. Layers of generations that are over are forgotten.
    pub fn ended(&mut self, made: Generation, serving: Generation, awaited: Option<Generation>) {
        if made != serving && awaited.is_none_or(|awaited| awaited <= made) {
            self.wanted = self.of(serving);
        }
        self.of.retain(|generation, _| *generation == serving || *generation > made);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::layers::{Entry, Origin, Raw};
    use super::super::table::Setting;
    use super::*;

    /// `timeout` by hand.
    fn layer(seconds: u64) -> Layer {
        let setting = Setting::find("timeout").unwrap();
        let origin = Origin::ByHand("token x".to_owned());
        Layer { entries: vec![Entry { setting, raw: Raw::Json(json!(seconds)), origin }] }
    }

    fn seconds(layer: &Layer) -> Option<String> {
        layer
            .entries
            .iter()
            .find(|it| it.setting.name == "timeout")
            .map(|it| format!("{:?}", it.raw))
    }

    #[test]
    fn a_change_of_a_reload_that_was_overtaken_holds_when_the_next_one_fails() {
        let mut hands = Hands::default();
        hands.read(Generation(1));
        let first = layer(41);
        hands.want(first.clone());
        hands.read(Generation(2));
        let second = layer(42);
        hands.want(second);
        assert_eq!(hands.of(Generation(2)), first, "what 2 has read");
        hands.ended(Generation(2), Generation(2), Some(Generation(3)));
        hands.read(Generation(3));
        hands.ended(Generation(3), Generation(2), None);
        assert_eq!(*hands.wanted(), first);
        assert_eq!(hands.of(Generation(2)), first);
    }

    #[test]
    fn what_changes_no_value_is_remembered_and_taken_back_without_a_reload() {
        let mut hands = Hands::default();
        hands.read(Generation(1));
        hands.hold(Generation(1), layer(30));
        assert!(seconds(&hands.of(Generation(1))).is_some());
        hands.hold(Generation(1), Layer::default());
        assert_eq!((hands.of(Generation(1)), hands.wanted().clone()), Default::default());
    }

    /// Changes, reloads and their ends in any order: when none is awaited, what is wanted is what the generation that
    /// serves has; and that is what was wanted when it read its configuration.
    #[test]
    fn in_any_order_what_is_wanted_in_the_end_is_what_serves() {
        for seed in 0..2_000_u64 {
            let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut roll = |sides: u64| {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                dice % sides
            };
            let mut hands = Hands::default();
            let (mut serving, mut newest) = (Generation(1), Generation(1));
            hands.read(serving);
            let mut has: BTreeMap<Generation, Option<String>> = [(serving, None)].into();
            let (mut loading, mut is_next_awaited) = (None, false);
            for step in 0..60 {
                match roll(4) {
                    0 => {
                        hands.want(layer(100 + step));
                        is_next_awaited = true;
                    }
                    1 if loading.is_none() && is_next_awaited => {
                        newest = newest.next();
                        (loading, is_next_awaited) = (Some(newest), false);
                        hands.read(newest);
                        has.insert(newest, seconds(hands.wanted()));
                    }
                    2 | 3 => {
                        let Some(made) = loading.take() else { continue };
                        if roll(2) == 0 {
                            serving = made;
                        }
                        let awaited = is_next_awaited.then(|| made.next());
                        hands.ended(made, serving, awaited);
                    }
                    _ => {}
                }
                assert_eq!(seconds(&hands.of(serving)), has[&serving], "seed {seed}, step {step}");
                if loading.is_none() && !is_next_awaited {
                    assert_eq!(*hands.wanted(), hands.of(serving), "seed {seed}, step {step}");
                }
                assert!(hands.of.len() <= 2, "seed {seed}: nothing is kept of what is over");
            }
        }
    }
}
