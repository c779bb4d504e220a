//! The body of an answer on its way into the library, as far as the client has room for it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::h2::SendStream;
use bytes::Bytes;
use http_body::Body as _;
use tokio::time::{Instant, Sleep, sleep_until};

use super::held::{Held, Waiting};
use crate::front::response::{Body, Upcoming};

/// Bytes of a file that are read at once.
const READ_BYTES_MAX: usize = 128 * 1024;

/// How a body went.
pub(super) enum Sent {
    /// To its end, as far as the library has it.
    Whole,
    /// The client has reset the stream, or is gone.
    NotWanted,
    /// The client took nothing of it for too long.
    NotTaken,
    /// Whoever makes it did not go on.
    BrokenOff,
}

/// Sends a body. Bytes of it are taken only when the client has room; what needs none is not held up.
pub(super) async fn send(
    send: &mut SendStream<Bytes>,
    body: Body,
    limit: Duration,
    held: &Held,
) -> Sent {
    let mut answer = Answer {
        send,
        body,
        data: Bytes::new(),
        is_last: false,
        held,
        waiting: held.waiting(),
        patience: Patience { limit, timer: None, is_over: None },
    };
    poll_fn(|cx| answer.poll(cx)).await
}

struct Answer<'a> {
    send: &'a mut SendStream<Bytes>,
    body: Body,
    /// What was taken of it, and not passed on.
    data: Bytes,
    /// Nothing follows that.
    is_last: bool,
    held: &'a Held,
    waiting: Waiting<'a>,
    patience: Patience,
}

impl Answer<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Sent> {
        loop {
            self.waiting.set(self.data.len() + self.body.at_hand());
            let Some(room) = self.room(cx) else { return Poll::Ready(Sent::NotWanted) };
            if room > 0 {
                self.patience.ends();
            }
            let step = match (self.data.is_empty(), room) {
                (true, _) => ready!(self.take(room > 0, cx)),
                (false, 0) => Step::Wait,
                (false, room) => self.pass_on(room),
            };
            match step {
                Step::GoOn => {}
                Step::Wait => {
                    ready!(self.patience.poll(cx));
                    return Poll::Ready(Sent::NotTaken);
                }
                Step::End(sent) => return Poll::Ready(sent),
            }
        }
    }

    /// For how many bytes the client has room; of what is there, or of one. `None`: it wants nothing more. Without
    /// room, the task is woken when there is some.
    fn room(&mut self, cx: &mut Context<'_>) -> Option<usize> {
        self.send.reserve_capacity(self.data.len().max(1));
        match self.send.capacity() {
            0 => match self.send.poll_capacity(cx) {
                Poll::Ready(room) => room?.ok(),
                Poll::Pending => Some(0),
            },
            room => Some(room),
        }
    }

    /// Takes what the body has next, unless the client resets the stream before that.
    fn take(&mut self, has_room: bool, cx: &mut Context<'_>) -> Poll<Step> {
        let most = if has_room { READ_BYTES_MAX } else { 0 };
        let Poll::Ready(next) = self.body.poll_next(most, cx) else {
            // Nobody can say that the client takes nothing.
            self.patience.ends();
            return self.send.poll_reset(cx).map(|_| Step::End(Sent::NotWanted));
        };
        let frame = match next {
            Upcoming::NeedsRoom => return Poll::Ready(Step::Wait),
            Upcoming::End => return Poll::Ready(ended(self.send.send_data(Bytes::new(), true))),
            Upcoming::Frame(Err(_)) => return Poll::Ready(Step::End(Sent::BrokenOff)),
            Upcoming::Frame(Ok(frame)) => frame,
        };
        Poll::Ready(match frame.into_data() {
            Ok(data) => {
                self.data = data;
                self.is_last = self.body.is_end_stream();
                Step::GoOn
            }
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => {
                    self.held.sends_head(&trailers);
                    ended(self.send.send_trailers(trailers))
                }
                Err(_) => Step::GoOn,
            },
        })
    }

    /// Gives the library as much as there is room for.
    fn pass_on(&mut self, room: usize) -> Step {
        let piece = self.data.split_to(room.min(self.data.len()));
        let (len, is_end) = (piece.len(), self.is_last && self.data.is_empty());
        if self.send.send_data(piece, is_end).is_err() {
            return Step::End(Sent::NotWanted);
        }
        self.held.sends(self.send.stream_id().as_u32(), len);
        if is_end { Step::End(Sent::Whole) } else { Step::GoOn }
    }
}

/// What an answer does next.
enum Step {
    GoOn,
    /// For the client's room.
    Wait,
    End(Sent),
}

fn ended(result: Result<(), ::h2::Error>) -> Step {
    Step::End(if result.is_ok() { Sent::Whole } else { Sent::NotWanted })
}

/// How long it is waited for a client that takes nothing of what is there.
struct Patience {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// It is waited until then.
    is_over: Option<Instant>,
}

impl Patience {
    /// The client has taken something, or there is nothing to be taken.
    const fn ends(&mut self) {
        self.is_over = None;
    }

    /// Ready when it has taken nothing for too long.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.limit.is_zero() {
            return Poll::Pending;
        }
        if self.is_over.is_none() {
            let until = Instant::now() + self.limit;
            self.is_over = Some(until);
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(until),
                None => self.timer = Some(Box::pin(sleep_until(until))),
            }
        }
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}
