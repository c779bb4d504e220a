//! The body of an answer on its way into the library, as far as the client has room for it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::h2::SendStream;
use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep_until};

use super::held::Held;

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

/// Sends a body. It is asked for more only when the client has room.
pub(super) async fn send<B: Body<Data = Bytes> + Unpin>(
    send: &mut SendStream<Bytes>,
    mut body: B,
    limit: Duration,
    held: &Held,
) -> Sent {
    let mut room = Room { limit, timer: None };
    loop {
        let frame = match next(send, &mut body).await {
            Next::NotWanted => return Sent::NotWanted,
            Next::Frame(None) => return ended(send.send_data(Bytes::new(), true)),
            Next::Frame(Some(Err(_))) => return Sent::BrokenOff,
            Next::Frame(Some(Ok(frame))) => frame,
        };
        let mut data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => return ended(send.send_trailers(trailers)),
                Err(_) => continue,
            },
        };
        let is_last = body.is_end_stream();
        while !data.is_empty() {
            let len = match room.wait(send, data.len()).await {
                Ok(len) => len.min(data.len()),
                Err(sent) => return sent,
            };
            let piece = data.split_to(len);
            let is_end = is_last && data.is_empty();
            held.send(len);
            if send.send_data(piece, is_end).is_err() {
                return Sent::NotWanted;
            }
            if is_end {
                return Sent::Whole;
            }
        }
        if let Err(sent) = room.wait(send, 1).await {
            return sent;
        }
    }
}

fn ended(result: Result<(), ::h2::Error>) -> Sent {
    if result.is_ok() { Sent::Whole } else { Sent::NotWanted }
}

enum Next<E> {
    Frame(Option<Result<Frame<Bytes>, E>>),
    NotWanted,
}

/// The body's next frame, unless the client resets the stream before that.
async fn next<B: Body<Data = Bytes> + Unpin>(
    send: &mut SendStream<Bytes>,
    body: &mut B,
) -> Next<B::Error> {
    poll_fn(|cx| match Pin::new(&mut *body).poll_frame(cx) {
        Poll::Ready(frame) => Poll::Ready(Next::Frame(frame)),
        Poll::Pending => send.poll_reset(cx).map(|_| Next::NotWanted),
    })
    .await
}

/// Waiting for the client's room.
struct Room {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Room {
    /// Waits for room for at least one of `wanted` bytes; returns for how many.
    async fn wait(&mut self, send: &mut SendStream<Bytes>, wanted: usize) -> Result<usize, Sent> {
        send.reserve_capacity(wanted);
        match send.capacity() {
            0 => {
                self.begin();
                poll_fn(|cx| self.poll(send, cx)).await
            }
            len => Ok(len),
        }
    }

    fn begin(&mut self) {
        if self.limit.is_zero() {
            return;
        }
        let until = Instant::now() + self.limit;
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(until),
            None => self.timer = Some(Box::pin(sleep_until(until))),
        }
    }

    fn poll(
        &mut self,
        send: &mut SendStream<Bytes>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Sent>> {
        if let Poll::Ready(room) = send.poll_capacity(cx) {
            return Poll::Ready(match room {
                Some(Ok(len)) => Ok(len),
                Some(Err(_)) | None => Err(Sent::NotWanted),
            });
        }
        match &mut self.timer {
            Some(timer) => {
                ready!(timer.as_mut().poll(cx));
                Poll::Ready(Err(Sent::NotTaken))
            }
            None => Poll::Pending,
        }
    }
}
