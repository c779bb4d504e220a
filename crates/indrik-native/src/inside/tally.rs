//! How much of what was measured fell on which stack: a bounded number of them, each kept once.

use std::collections::HashMap;

use pyo3::intern;
use pyo3::prelude::*;

use super::frames::{code, name};
use super::owner::Use;

/// Different stacks that are told apart; what comes beyond is counted as [`OTHER`].
const STACKS_MAX: usize = 20_000;
/// Requests that have samples, and whose route is not known yet.
const PENDING_MAX: usize = 10_000;
/// The stack of all that are too many.
const OTHER: u32 = 0;

/// Microseconds by stack and route.
pub(super) struct Tally {
    /// By the addresses of their functions, the innermost first.
    stacks: HashMap<Box<[usize]>, u32>,
    /// Keeps the functions of the stacks that are kept, so that their addresses stay theirs; of no others: an application
    /// may make new ones all the time.
    functions: HashMap<usize, Py<PyAny>>,
    counts: HashMap<(u32, u16), u64>,
    pending: HashMap<Use, Vec<(u32, u64)>>,
    /// Routes of requests that still run.
    known: HashMap<Use, u16>,
    /// For the stack that is looked for.
    key: Vec<usize>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            stacks: HashMap::from([(Box::default(), OTHER)]),
            functions: HashMap::new(),
            counts: HashMap::new(),
            pending: HashMap::new(),
            known: HashMap::new(),
            key: Vec::new(),
        }
    }
}

impl Tally {
    /// Adds so many microseconds to a stack, the innermost frame first, of this request.
    pub(super) fn add(&mut self, frames: &[Bound<'_, PyAny>], of: Option<Use>, weight: u64) {
        let stack = self.stack(frames);
        if let Some(route) = of.and_then(|of| self.known.get(&of)) {
            *self.counts.entry((stack, *route)).or_default() += weight;
            return;
        }
        match of {
            Some(of) if self.pending.contains_key(&of) || self.pending.len() < PENDING_MAX => {
                let parts = self.pending.entry(of).or_default();
                match parts.iter_mut().find(|(found, _)| *found == stack) {
                    Some((_, sum)) => *sum += weight,
                    None => parts.push((stack, weight)),
                }
            }
            _ => *self.counts.entry((stack, 0)).or_default() += weight,
        }
    }

    /// The route of a request has become known.
    pub(super) fn learn(&mut self, of: Use, route: u16) {
        self.settle(of, route);
        self.known.insert(of, route);
    }

    fn settle(&mut self, of: Use, route: u16) {
        for (stack, weight) in self.pending.remove(&of).unwrap_or_default() {
            *self.counts.entry((stack, route)).or_default() += weight;
        }
    }

    /// Requests are over, or the profile is: those whose route is not known get this one.
    pub(super) fn settle_those(&mut self, route: impl Fn(Use) -> Option<u16>) {
        self.known.retain(|of, _| route(*of).is_none());
        let known: Vec<(Use, u16)> =
            self.pending.keys().filter_map(|of| Some((*of, route(*of)?))).collect();
        for (of, route) in known {
            self.settle(of, route);
        }
    }

    fn stack(&mut self, frames: &[Bound<'_, PyAny>]) -> u32 {
        self.key.clear();
        self.key.extend(frames.iter().map(|frame| code(frame).as_ptr() as usize));
        if let Some(stack) = self.stacks.get(self.key.as_slice()) {
            return *stack;
        }
        if self.stacks.len() > STACKS_MAX {
            return OTHER;
        }
        for code in frames.iter().map(code) {
            let address = code.as_ptr() as usize;
            self.functions.entry(address).or_insert_with(|| code.unbind());
        }
        let stack = u32::try_from(self.stacks.len()).unwrap_or(OTHER);
        self.stacks.insert(self.key.as_slice().into(), stack);
        stack
    }

    /// One line for each stack and route: `ROUTE<tab>outermost;…;innermost WEIGHT`.
    pub(super) fn lines(&self, py: Python<'_>) -> Vec<String> {
        let names: HashMap<usize, String> =
            self.functions.iter().map(|(address, code)| (*address, label(code.bind(py)))).collect();
        let stacks: HashMap<u32, &[usize]> =
            self.stacks.iter().map(|(key, stack)| (*stack, &**key)).collect();
        let text = |stack: u32| -> String {
            let parts = stacks.get(&stack).copied().unwrap_or_default().iter().rev();
            let parts: Vec<&str> =
                parts.filter_map(|address| names.get(address)).map(String::as_str).collect();
            if parts.is_empty() { "(other)".to_owned() } else { parts.join(";") }
        };
        let counts = self.counts.iter().filter(|(_, weight)| **weight > 0);
        counts
            .map(|((stack, route), weight)| format!("{route}\t{} {weight}", text(*stack)))
            .collect()
    }
}

/// A function's name and where it begins, with nothing that would break a line or a stack.
fn label(code: &Bound<'_, PyAny>) -> String {
    let py = code.py();
    let file = code.getattr(intern!(py, "co_filename")).and_then(|file| file.extract::<String>());
    let line = code.getattr(intern!(py, "co_firstlineno")).and_then(|line| line.extract::<u32>());
    let text = format!(
        "{} ({}:{})",
        name(code).unwrap_or_default(),
        file.unwrap_or_default(),
        line.unwrap_or_default()
    );
    text.chars()
        .map(|letter| if letter == ';' || letter.is_control() { '_' } else { letter })
        .collect()
}
