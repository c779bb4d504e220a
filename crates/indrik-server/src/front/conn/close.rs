//! Closing a connection so that its last answer is not lost.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use super::io::ClientIo;
use crate::front::refusal::Refusal;

/// After an answer that ends the connection: bytes of the client that are still read, so that the
/// kernel does not reset the connection under the answer.
const LINGER_BYTES_MAX: usize = 256 * 1024;
/// For how long the client is read from then.
const LINGER: Duration = Duration::from_secs(2);

/// Answers what the screen refused, and closes.
pub(super) async fn refuse(mut io: ClientIo, refusal: Refusal) {
    let page = refusal.into_bytes();
    if let Ok(Ok(())) = tokio::time::timeout(LINGER, io.write_all(&page)).await {
        linger(io).await;
    }
}

/// Closes our direction, and reads a little of what the client still sends: closing with unread
/// bytes would reset the connection and could destroy the answer on its way.
pub(super) async fn linger(mut io: ClientIo) {
    let close = async {
        let _ = poll_fn(|cx| hyper::rt::Write::poll_shutdown(Pin::new(&mut io), cx)).await;
        if !io.is_at_end() {
            io.discard(LINGER_BYTES_MAX).await;
        }
    };
    let _ = tokio::time::timeout(LINGER, close).await;
}
