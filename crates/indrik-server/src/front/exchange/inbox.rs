//! What has happened to a request and was not looked at yet.

use std::collections::VecDeque;

use super::event::Event;

/// Events in order. Most requests have one, for which nothing is allocated.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    first: Option<Event>,
    rest: VecDeque<Event>,
    pub(super) bytes: usize,
}

impl Inbox {
    pub(super) fn push(&mut self, event: Event) {
        self.bytes += event.bytes();
        if self.first.is_none() && self.rest.is_empty() {
            self.first = Some(event);
        } else {
            self.rest.push_back(event);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        let event = self.first.take().or_else(|| self.rest.pop_front())?;
        self.bytes -= event.bytes();
        Some(event)
    }

    pub(super) fn clear(&mut self) {
        // What costs nothing already need not be replaced.
        if self.bytes != 0 || self.rest.capacity() != 0 {
            *self = Self::default();
        }
    }

    /// Takes what lies in the worker's channel out of it.
    pub(super) fn copy_out(&mut self) {
        self.first.iter_mut().chain(&mut self.rest).for_each(Event::copy_out);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Event> {
        self.first.iter().chain(&self.rest)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::part::Part;
    use super::*;

    #[test]
    fn what_was_taken_out_does_not_count() {
        let mut inbox = Inbox::default();
        for _ in 0..3 {
            let part = Part::Own(Bytes::from_static(b"abc"));
            inbox.push(Event::Body { part, end: false });
        }
        while inbox.pop().is_some() {}
        assert_eq!(inbox.bytes, 0);
    }
}
