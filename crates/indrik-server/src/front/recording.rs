//! A recording of requests: what an operator has asked for on the control socket, sent to him as requests end.
//!
//! Requests pay for it only while there is one: a look at a flag, and those that are sampled a few lines more. They put
//! their lines into a queue that is bounded in number and bytes; a thread of its own sends them, and may wait for
//! whoever reads. What finds no room is lost and counted, in the trailer. It ends by itself: when its time is over,
//! when it is large enough, when its client has gone or wants no more, and with the server.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use indrik_core::control::encode;
use indrik_core::record::{
    self, Ending, Head, Order, Record, Request, head_line, record_line, trailer_line,
};
use indrik_core::time::Micros;
use parking_lot::{Condvar, Mutex};

use super::account::{Account, Charge, Holder};
use super::clock::{self, micros};
use super::tap::{Kept, Tap};

/// Requests that wait to be sent; more are lost.
const QUEUE_RECORDS_MAX: usize = 8192;
/// Bytes of those; it is charged while a recording goes on.
const QUEUE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes that go in one message.
const PIECE_BYTES: usize = 32 * 1024;
/// A trailer takes less.
const TRAILER_BYTES_MAX: u64 = 512;
/// How long a reader may take nothing.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether it is to end.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How long the server's end waits for the trailer.
const END_MAX: Duration = Duration::from_secs(1);

/// The recording that goes on, if one does.
#[derive(Default)]
pub(super) struct Recordings {
    is_on: AtomicBool,
    current: Mutex<Option<Arc<Recording>>>,
    ended: Condvar,
}

/// What is to be recorded.
pub(super) struct Wanted {
    pub(super) order: Order,
    /// Names that are secret beside the usual ones.
    pub(super) secrets: Vec<String>,
}

struct Recording {
    order: Order,
    secrets: Vec<String>,
    kept: Arc<Kept>,
    began: Micros,
    queue: SyncSender<Vec<u8>>,
    queued_bytes: AtomicUsize,
    seen: AtomicU64,
    lost: AtomicU64,
    /// The server ends.
    is_to_end: AtomicBool,
}

/// A request that is recorded.
pub(super) struct Recorded {
    recording: Arc<Recording>,
    record: Record,
    /// Its body, if it has one, and what that is.
    body: Option<(Arc<Tap>, String)>,
}

impl Recordings {
    /// Whether one goes on.
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Begins one, which is sent to `client`; `workers`: how many there are.
    ///
    /// # Errors
    /// When one goes on already, or there is no thread for it.
    pub(super) fn begin(
        self: &Arc<Self>,
        Wanted { order, secrets }: Wanted,
        client: UnixStream,
        account: &Arc<Account>,
        (began_at, workers): (&str, u32),
    ) -> io::Result<()> {
        let mut current = self.current.lock();
        if current.is_some() {
            return Err(io::Error::other("requests are recorded already"));
        }
        client.set_nonblocking(false)?;
        client.set_write_timeout(Some(WRITE_MAX))?;
        client.set_read_timeout(Some(Duration::from_millis(1)))?;
        let (queue, lines) = mpsc::sync_channel(QUEUE_RECORDS_MAX);
        let recording = Arc::new(Recording {
            order,
            secrets,
            kept: Arc::default(),
            began: clock::now(),
            queue,
            queued_bytes: AtomicUsize::new(0),
            seen: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            is_to_end: AtomicBool::new(false),
        });
        let head =
            Head { version: env!("CARGO_PKG_VERSION"), began: began_at, order: &order, workers };
        let scribe = Scribe {
            recording: Arc::clone(&recording),
            client,
            piece: head_line(&head),
            sent: 0,
            recorded: 0,
        };
        let mut charge = Charge::of(&Holder::new(account));
        charge.set(QUEUE_BYTES_MAX);
        let all = Arc::clone(self);
        let work = move || {
            scribe.run(&lines);
            all.over();
            drop(charge);
        };
        std::thread::Builder::new().name("indrik-record".to_owned()).spawn(work)?;
        *current = Some(recording);
        // The thread may be over already, and waits for the lock to say so.
        self.is_on.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// There is none any more. The flag follows the fact, under its lock.
    fn over(&self) {
        let mut current = self.current.lock();
        *current = None;
        self.is_on.store(false, Ordering::Relaxed);
        drop(current);
        self.ended.notify_all();
    }

    /// The server ends: waits a moment for the trailer.
    pub(super) fn end(&self) {
        let mut current = self.current.lock();
        if let Some(recording) = &*current {
            recording.is_to_end.store(true, Ordering::Relaxed);
            let until = std::time::Instant::now() + END_MAX;
            while current.is_some() && !self.ended.wait_until(&mut current, until).timed_out() {}
        }
    }

    /// A request has come; what is noted of it if it is one of the sample.
    /// `has_body`: it comes with one.
    pub(super) fn take(
        &self,
        parts: &Parts,
        arrived: Micros,
        has_body: bool,
    ) -> Option<Box<Recorded>> {
        if !self.is_on() {
            return None;
        }
        let recording = Arc::clone(self.current.lock().as_ref()?);
        let number = recording.seen.fetch_add(1, Ordering::Relaxed);
        if !recording.order.sample.takes(number) {
            return None;
        }
        let bytes_in = parts.headers.get(CONTENT_LENGTH);
        let record = Record {
            at_us: arrived.saturating_sub(recording.began),
            method: parts.method.as_str().as_bytes().to_vec(),
            protocol: protocol(parts.version),
            bytes_in: bytes_in.and_then(|value| value.to_str().ok()?.parse().ok()),
            request: recording.order.requests.then(|| redacted(parts, &recording.secrets)),
            ..Record::default()
        };
        let body = has_body.then(|| {
            let content_type = parts.headers.get(CONTENT_TYPE);
            let content_type = content_type.and_then(|value| value.to_str().ok());
            let kept = recording.order.bodies.then_some(&recording.kept);
            (Tap::new(kept), content_type.unwrap_or_default().to_owned())
        });
        Some(Box::new(Recorded { recording, record, body }))
    }
}

const fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

fn redacted(parts: &Parts, secrets: &[String]) -> Request {
    let target = parts.uri.path_and_query().map_or("*", http::uri::PathAndQuery::as_str);
    let fields = parts.headers.iter();
    Request {
        target: record::target(target.as_bytes()),
        headers: fields
            .map(|(name, value)| {
                (name.as_str().to_owned(), record::field(name.as_str(), value.as_bytes(), secrets))
            })
            .collect(),
        body: None,
    }
}

impl Recorded {
    /// What is to see the request's body, if it has one.
    pub(super) fn tap(&self) -> Option<&Arc<Tap>> {
        self.body.as_ref().map(|(tap, _)| tap)
    }

    /// The request is over; `fill` says how it went.
    pub(super) fn over(&self, fill: impl FnOnce(&mut Record)) {
        let mut record = self.record.clone();
        fill(&mut record);
        if let Some((tap, content_type)) = &self.body {
            record.bytes_in.get_or_insert_with(|| tap.bytes());
            if let (Some(request), Some((bytes, is_kept))) = (&mut record.request, tap.whole()) {
                // Of one that was not read to its end nobody can tell what it is.
                let is_whole = is_kept && record.bytes_in == Some(bytes.len() as u64);
                let secrets = &self.recording.secrets;
                request.body = Some(record::body(content_type, &bytes, is_whole, secrets));
            }
        }
        let mut line = Vec::with_capacity(256);
        record_line(&record, &mut line);
        self.recording.put(line);
    }
}

impl Recording {
    fn put(&self, line: Vec<u8>) {
        let len = line.len();
        let before = self.queued_bytes.fetch_add(len, Ordering::Relaxed);
        if before + len > QUEUE_BYTES_MAX || self.queue.try_send(line).is_err() {
            self.queued_bytes.fetch_sub(len, Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Who sends it.
struct Scribe {
    recording: Arc<Recording>,
    client: UnixStream,
    /// What is not sent yet.
    piece: Vec<u8>,
    sent: u64,
    recorded: u64,
}

impl Scribe {
    fn run(mut self, lines: &Receiver<Vec<u8>>) {
        // Whose client has gone needs no trailer.
        let Ok(ending) = self.send_all(lines) else { return };
        let recording = &self.recording;
        let lost = recording.lost.load(Ordering::Relaxed);
        let counts = (recording.seen.load(Ordering::Relaxed), self.recorded, lost);
        let lasted = clock::now().saturating_sub(recording.began);
        self.piece.extend_from_slice(&trailer_line(ending, lasted, counts));
        let _ = self.flush();
    }

    fn send_all(&mut self, lines: &Receiver<Vec<u8>>) -> io::Result<Ending> {
        let end = self.recording.began + micros(self.recording.order.span);
        self.flush()?;
        loop {
            let left = Duration::from_micros(end.saturating_sub(clock::now()));
            match lines.recv_timeout(left.min(LOOK_INTERVAL)) {
                Ok(line) => {
                    if let Some(ending) = self.add_all(line, lines)? {
                        return Ok(ending);
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            self.flush()?;
            let ending = match clock::now() >= end {
                true => Some(Ending::Time),
                false if self.recording.is_to_end.load(Ordering::Relaxed) => Some(Ending::Server),
                false => self.has_enough()?.then_some(Ending::Stopped),
            };
            if let Some(ending) = ending {
                // What is queued came before the end.
                if let Ok(line) = lines.try_recv() {
                    return Ok(self.add_all(line, lines)?.unwrap_or(ending));
                }
                return Ok(ending);
            }
        }
    }

    /// Takes what is there.
    fn add_all(&mut self, first: Vec<u8>, lines: &Receiver<Vec<u8>>) -> io::Result<Option<Ending>> {
        let mut next = Some(first);
        while let Some(line) = next {
            self.recording.queued_bytes.fetch_sub(line.len(), Ordering::Relaxed);
            let all = self.sent + (self.piece.len() + line.len()) as u64 + TRAILER_BYTES_MAX;
            if all > self.recording.order.bytes_max {
                return Ok(Some(Ending::Bytes));
            }
            self.piece.extend_from_slice(&line);
            self.recorded += 1;
            if self.piece.len() >= PIECE_BYTES {
                self.flush()?;
            }
            next = lines.try_recv().ok();
        }
        Ok(None)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.piece.is_empty() {
            self.client.write_all(&encode(&self.piece))?;
            self.sent += self.piece.len() as u64;
            self.piece.clear();
        }
        Ok(())
    }

    /// Whether the client has closed its side: it wants the trailer, and no more. What else it says is not heard.
    fn has_enough(&mut self) -> io::Result<bool> {
        match self.client.read(&mut [0; 256]) {
            Ok(0) => Ok(true),
            Ok(_) => Ok(false),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::TimedOut
                        | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use indrik_core::memory::account::Limits;
    use serde_json::Value as Json;

    use super::*;

    struct Session {
        recordings: Arc<Recordings>,
        client: UnixStream,
    }

    fn begin(words: &[&str]) -> Session {
        let recordings = Arc::new(Recordings::default());
        let (client, server) = UnixStream::pair().unwrap();
        let account = Account::new(Limits { total: u64::MAX, connection: u64::MAX });
        let order = Order::parse(words).unwrap();
        let wanted = Wanted { order, secrets: Vec::new() };
        recordings.begin(wanted, server, &account, ("now", 1)).unwrap();
        Session { recordings, client }
    }

    impl Session {
        fn request(&self, uri: &str) -> Option<Box<Recorded>> {
            let request = http::Request::builder().uri(uri).header("cookie", "secret").body(());
            let (parts, ()) = request.unwrap().into_parts();
            self.recordings.take(&parts, clock::now(), false)
        }

        fn read(mut self) -> Vec<Json> {
            let mut bytes = Vec::new();
            self.client.read_to_end(&mut bytes).unwrap();
            let mut text = Vec::new();
            let mut rest = &bytes[..];
            while let Some((len, after)) = rest.split_first_chunk::<4>() {
                let len = u32::from_be_bytes(*len) as usize;
                text.extend_from_slice(&after[..len]);
                rest = &after[len..];
            }
            let text = String::from_utf8(text).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    #[test]
    fn what_was_recorded_before_the_client_has_enough_is_sent_with_a_trailer() {
        let session = begin(&["for=60s", "requests"]);
        for status in [200, 503] {
            let recorded = session.request("/a?token=1").expect("recorded");
            recorded.over(|record| record.status = status);
        }
        session.client.shutdown(std::net::Shutdown::Write).unwrap();
        let recordings = Arc::clone(&session.recordings);
        let lines = session.read();
        assert_eq!(lines.len(), 4);
        assert_eq!((&lines[1]["status"], &lines[2]["status"]), (&200.into(), &503.into()));
        assert_eq!(lines[1]["target"], "/a?token=*");
        assert_eq!(lines[1]["headers"]["cookie"], "*");
        assert_eq!((&lines[3]["end"], &lines[3]["recorded"]), (&"stopped".into(), &2.into()));
        recordings.end();
        assert!(!recordings.is_on());
    }

    #[test]
    fn a_recording_ends_with_its_time_its_size_and_the_server() {
        let session = begin(&["for=1ms"]);
        assert_eq!(session.read().last().unwrap()["end"], "time");
        let session = begin(&["bytes=65536"]);
        while session.recordings.is_on() {
            if let Some(recorded) = session.request("/") {
                recorded.over(|_| ());
            }
            std::thread::yield_now();
        }
        let lines = session.read();
        assert_eq!(lines.last().unwrap()["end"], "bytes");
        let session = begin(&[]);
        session.recordings.end();
        assert_eq!(session.read().last().unwrap()["end"], "server");
    }

    #[test]
    fn what_nobody_reads_is_lost_and_counted_and_holds_nobody_up() {
        let session = begin(&[]);
        let recorded = session.request("/").expect("recorded");
        let is_losing =
            || session.recordings.current.lock().as_ref().unwrap().lost.load(Ordering::Relaxed) > 0;
        while !is_losing() {
            recorded.over(|record| record.method = vec![b'M'; 4000]);
        }
        session.client.shutdown(std::net::Shutdown::Write).unwrap();
        let lines = session.read();
        let trailer = lines.last().unwrap();
        assert!(trailer["lost"].as_u64() > Some(0), "{trailer}");
    }

    #[test]
    fn there_is_one_at_a_time_and_one_that_is_abandoned_makes_room() {
        let session = begin(&[]);
        let account = Account::new(Limits { total: u64::MAX, connection: u64::MAX });
        let again = |recordings: &Arc<Recordings>| {
            let (client, server) = UnixStream::pair().unwrap();
            let wanted = Wanted { order: Order::default(), secrets: Vec::new() };
            recordings.begin(wanted, server, &account, ("now", 1)).map(|()| client)
        };
        assert!(again(&session.recordings).is_err());
        let recordings = Arc::clone(&session.recordings);
        drop(session);
        let _client = loop {
            match again(&recordings) {
                Ok(client) => break client,
                Err(_) => std::thread::yield_now(),
            }
        };
    }
}
