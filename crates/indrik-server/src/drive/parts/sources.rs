//! What is listened to from the first moment of the loop to the last: signals, and the front.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use indrik_core::supervise::Signal;
use indrik_sys::bell::Bell;
use indrik_sys::signal::Signal as Number;
use indrik_sys::signals::SignalStream;

use crate::front::{EventSink, FrontEvent};

/// Everything the supervisor listens to; [`Signal`] says what each means.
pub(crate) const SIGNALS: [(Number, Option<Signal>); 10] = [
    (Number::HUP, Some(Signal::Hup)),
    (Number::INT, Some(Signal::Int)),
    (Number::QUIT, Some(Signal::Quit)),
    (Number::TERM, Some(Signal::Term)),
    (Number::TTIN, Some(Signal::Ttin)),
    (Number::TTOU, Some(Signal::Ttou)),
    (Number::USR1, Some(Signal::Usr1)),
    (Number::USR2, Some(Signal::Usr2)),
    (Number::WINCH, Some(Signal::Winch)),
    (Number::CHLD, None),
];

/// The sources that are there from the first moment to the last.
pub(crate) struct Sources {
    pub(crate) signals: SignalStream,
    pub(crate) bell: Arc<Bell>,
    front_events: Receiver<FrontEvent>,
    /// Where the front puts its events.
    pub(crate) sink: EventSink,
}

impl Sources {
    pub(crate) fn open() -> io::Result<Self> {
        let numbers: Vec<Number> = SIGNALS.iter().map(|(number, _)| *number).collect();
        let signals = SignalStream::open(&numbers)?;
        let bell = Arc::new(Bell::new()?);
        let (sender, front_events) = mpsc::channel();
        let ring = Arc::clone(&bell);
        let sink: EventSink = Arc::new(move |event| {
            // The receiver goes only with the loop, and then nobody needs to know any more.
            let _ = sender.send(event);
            ring.ring();
        });
        Ok(Self { signals, bell, front_events, sink })
    }

    /// The next of the front's events.
    pub(crate) fn next_of_front(&self) -> Option<FrontEvent> {
        self.front_events.try_recv().ok()
    }
}
