//! The clients' connections: non-blocking, few, bounded in bytes and in time.
//!
//! It is driven by the supervision loop and must never make it wait, whatever a client does.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use indrik_core::control::frame::MESSAGE_BYTES_MAX;
use indrik_core::control::{Asker, Frames, Request, TooLong, encode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_peercred;
use serde_json::{Value as Json, json};

use super::Open;

/// Clients connected at once, without those that wait for the end of a reload: they have a limit of their own. One
/// more takes the place of one that is idle, or is told so and closed.
const CLIENTS_MAX: usize = 16;
/// A client that asked nothing for so long gives its place to one that comes.
const IDLE_MIN: Duration = Duration::from_secs(2);
/// A client that asks nothing for so long is closed: as in Gunicorn.
const IDLE_MAX: Duration = Duration::from_secs(300);
/// A message that has begun must be complete, and an answer taken, within this.
const TRANSFER_MAX: Duration = Duration::from_secs(10);
/// A client that waits for the end of a reload is closed after this.
const WAIT_MAX: Duration = Duration::from_secs(4 * 3600);
/// Answers a client has not taken; above this nothing more is read from it.
const UNSENT_BYTES_MAX: usize = 256 * 1024;
/// Bytes taken from a client in one go, so that none holds the loop.
const READ_BYTES_MAX: usize = 4 * 1024;
/// How long accepting rests when it fails: the process may be out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Who has something to say: a listening socket by its place, or a client by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Listener(usize),
    Client(u64),
}

/// What a client asked, and who it is: a request, or what is wrong with what it sent.
pub(super) type Asked = Result<(Request, Asker), String>;

/// The sockets and their clients.
#[derive(Debug, Default)]
pub(crate) struct ControlServer {
    sockets: Vec<Open>,
    clients: BTreeMap<u64, Client>,
    next_client: u64,
    accept_again: Option<Instant>,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    asker: Asker,
    frames: Frames,
    unsent: Vec<u8>,
    deadline: Instant,
    /// It waits for the end of a reload or of an upgrade.
    waits: bool,
    /// Close it when everything is sent.
    last: bool,
}

impl ControlServer {
    /// From now on these are listened on; clients of the ones before stay.
    pub(crate) fn listen_on(&mut self, sockets: Vec<Open>) {
        self.sockets = sockets;
    }

    /// Takes the sockets out, to keep those that are still wanted.
    pub(crate) fn take_sockets(&mut self) -> Vec<Open> {
        std::mem::take(&mut self.sockets)
    }

    /// The socket files go, so that a successor can have their paths. Clients stay.
    pub(crate) fn forget_files(&mut self) {
        self.sockets.retain(|socket| socket.file.is_none());
    }

    /// What to wait for.
    pub(crate) fn watched(&self) -> Vec<(Token, BorrowedFd<'_>, PollFlags)> {
        let accepts = self.accept_again.is_none();
        let sockets = self.sockets.iter().enumerate().filter(|_| accepts);
        let sockets = sockets
            .map(|(at, socket)| (Token::Listener(at), socket.listener.as_fd(), PollFlags::IN));
        let clients = self
            .clients
            .iter()
            .map(|(id, client)| (Token::Client(*id), client.stream.as_fd(), client.interest()));
        sockets.chain(clients).collect()
    }

    /// When [`Self::expire`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let clients = self.clients.values().map(|client| client.deadline);
        clients.chain(self.accept_again).min()
    }

    /// Closes clients that took too long.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.clients.retain(|_, client| client.deadline > now);
        self.accept_again = self.accept_again.filter(|at| *at > now);
    }

    /// Accepts, reads or writes; answers what a client asked.
    pub(crate) fn ready(&mut self, token: Token, now: Instant) -> Vec<(u64, Asked)> {
        match token {
            Token::Listener(at) => {
                self.accept(at, now);
                Vec::new()
            }
            Token::Client(id) => {
                let Some(client) = self.clients.get_mut(&id) else { return Vec::new() };
                let alive = client.write(now);
                let alive = alive && !client.has_left();
                let (asked, alive) = if alive { client.read(now) } else { (Vec::new(), false) };
                if !alive {
                    // What it asked before it hung up is done all the same.
                    self.clients.remove(&id);
                }
                asked.into_iter().map(|asked| (id, asked)).collect()
            }
        }
    }

    /// Whether a client is still there.
    pub(crate) fn has(&self, id: u64) -> bool {
        self.clients.contains_key(&id)
    }

    /// The answer to what the client asked will take its time.
    pub(crate) fn have_wait(&mut self, id: u64, now: Instant) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.deadline = now + WAIT_MAX;
            client.waits = true;
        }
    }

    /// Gives a client's connection away; `None`: it has gone, or has not taken all answers.
    pub(crate) fn give_away(&mut self, id: u64) -> Option<UnixStream> {
        let client = self.clients.remove(&id)?;
        client.unsent.is_empty().then_some(client.stream)
    }

    /// Sends an answer.
    pub(crate) fn answer(&mut self, id: u64, answer: &Json, now: Instant) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.waits = false;
        client.unsent.extend(encode(answer.to_string().as_bytes()));
        if !client.write(now) {
            self.clients.remove(&id);
        }
    }

    /// Sends a last answer and closes.
    pub(crate) fn refuse(&mut self, id: u64, why: &str, now: Instant) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.last = true;
        }
        self.answer(id, &error(0.into(), why), now);
    }

    fn accept(&mut self, at: usize, now: Instant) {
        let Some(socket) = self.sockets.get(at) else { return };
        match socket.listener.accept() {
            Ok((stream, _)) => {
                let asker = asker(&stream);
                if !socket.checks_user || asker.is_owner {
                    self.admit(stream, asker, now);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => self.accept_again = Some(now + ACCEPT_PAUSE),
        }
    }

    fn admit(&mut self, mut stream: UnixStream, asker: Asker, now: Instant) {
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        if !self.make_room(now) {
            let text = format!("{CLIENTS_MAX} clients are connected already");
            // A new socket's buffer has room for this; if not, closing says it as well.
            let _ = stream.write(&encode(error(0.into(), &text).to_string().as_bytes()));
            return;
        }
        let client = Client {
            stream,
            asker,
            frames: Frames::default(),
            unsent: Vec::new(),
            deadline: now + IDLE_MAX,
            waits: false,
            last: false,
        };
        self.next_client += 1;
        self.clients.insert(self.next_client, client);
    }

    /// Returns whether there is a place for one client more.
    fn make_room(&mut self, now: Instant) -> bool {
        let places = self.clients.values().filter(|client| !client.waits).count();
        if places < CLIENTS_MAX {
            return true;
        }
        let idle = self.clients.iter().filter(|(_, client)| client.is_idle(now));
        let longest = idle.min_by_key(|(_, client)| client.deadline).map(|(id, _)| *id);
        longest.is_some_and(|id| self.clients.remove(&id).is_some())
    }
}

impl Client {
    /// Nothing is under way with it, and was not for a while.
    fn is_idle(&self, now: Instant) -> bool {
        let nothing = !self.waits && self.unsent.is_empty() && !self.frames.is_midway();
        nothing && self.deadline + IDLE_MIN <= now + IDLE_MAX
    }

    fn interest(&self) -> PollFlags {
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::IN, !self.last && self.unsent.len() < UNSENT_BYTES_MAX);
        interest.set(PollFlags::OUT, !self.unsent.is_empty());
        interest
    }

    /// It waits for an answer that nobody will read: its side is closed both ways.
    fn has_left(&self) -> bool {
        let mut fds = [PollFd::new(&self.stream, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        self.waits
            && poll(&mut fds, Some(&now)).is_ok_and(|_| fds[0].revents().contains(PollFlags::HUP))
    }

    /// Returns whether the connection goes on.
    fn write(&mut self, now: Instant) -> bool {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) => {
                    self.unsent.drain(..sent);
                    self.deadline =
                        now + if self.unsent.is_empty() { IDLE_MAX } else { TRANSFER_MAX };
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.deadline = self.deadline.min(now + TRANSFER_MAX);
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        !self.last
    }

    /// What it asked, and whether the connection goes on.
    fn read(&mut self, now: Instant) -> (Vec<Asked>, bool) {
        if !self.interest().contains(PollFlags::IN) {
            return (Vec::new(), true);
        }
        let mut bytes = [0; READ_BYTES_MAX];
        let count = match self.stream.read(&mut bytes) {
            // It may have closed its side only, and wait for answers.
            Ok(0) => {
                self.last = true;
                return (Vec::new(), self.waits || !self.unsent.is_empty());
            }
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (Vec::new(), true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return (Vec::new(), true),
            Err(_) => return (Vec::new(), false),
        };
        let was_midway = self.frames.is_midway();
        self.frames.push(&bytes[..count]);
        let mut asked = Vec::new();
        loop {
            match self.frames.take_message() {
                Ok(Some(message)) => {
                    let request = Request::read(&message);
                    let broken = request.is_err();
                    asked.push(request.map(|request| (request, self.asker.clone())));
                    if broken {
                        break;
                    }
                }
                Ok(None) => break,
                Err(TooLong(length)) => {
                    asked.push(Err(format!(
                        "a message of {length} bytes is above the limit of {MESSAGE_BYTES_MAX}"
                    )));
                    break;
                }
            }
        }
        if !self.frames.is_midway() {
            self.deadline = now + IDLE_MAX;
        } else if !was_midway || !asked.is_empty() {
            self.deadline = now + TRANSFER_MAX;
        }
        (asked, true)
    }
}

/// The answer to a request that could not be done.
pub(crate) fn error(id: Json, why: &str) -> Json {
    json!({"id": id, "status": "error", "error": why})
}

/// Who the client is, as the kernel says. One of whom it says nothing is nobody's owner.
fn asker(stream: &UnixStream) -> Asker {
    match socket_peercred(stream) {
        Ok(peer) => Asker {
            name: format!("user {} (pid {})", peer.uid.as_raw(), peer.pid.as_raw_nonzero()),
            is_owner: peer.uid.is_root() || peer.uid == rustix::process::geteuid(),
        },
        Err(_) => Asker { name: "somebody of this machine".to_owned(), is_owner: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pair {
        server: ControlServer,
        directory: tempfile::TempDir,
    }

    fn server() -> Pair {
        let directory = tempfile::tempdir().unwrap();
        let mut server = ControlServer::default();
        server.listen_on(vec![
            super::super::open(Some((&directory.path().join("s"), 0o600))).unwrap(),
        ]);
        Pair { server, directory }
    }

    impl Pair {
        fn connect(&mut self) -> UnixStream {
            let stream = UnixStream::connect(self.directory.path().join("s")).unwrap();
            self.server.ready(Token::Listener(0), Instant::now());
            stream
        }
    }

    fn read_all(mut stream: &UnixStream) -> String {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn requests_are_read_and_answered_in_order_however_they_are_cut() {
        let mut pair = server();
        let mut client = pair.connect();
        let now = Instant::now();
        let message =
            [encode(br#"{"id":1,"command":"help"}"#), encode(br#"{"id":2,"command":"reload"}"#)];
        let mut ids = Vec::new();
        for byte in message.concat() {
            client.write_all(&[byte]).unwrap();
            for (client, asked) in pair.server.ready(Token::Client(1), now) {
                let id = asked.unwrap().0.id;
                pair.server.answer(client, &json!({"id": id}), now);
                ids.push(id);
            }
        }
        assert_eq!(ids, [Json::from(1), Json::from(2)]);
        drop(pair);
        assert_eq!(read_all(&client), "\0\0\0\u{8}{\"id\":1}\0\0\0\u{8}{\"id\":2}");
    }

    #[test]
    fn nonsense_and_a_too_long_message_are_answered_and_closed() {
        for bytes in [encode(b"nonsense"), vec![0xff; 4]] {
            let mut pair = server();
            let mut client = pair.connect();
            let now = Instant::now();
            client.write_all(&bytes).unwrap();
            for (id, asked) in pair.server.ready(Token::Client(1), now) {
                pair.server.refuse(id, &asked.unwrap_err(), now);
            }
            assert!(read_all(&client).contains("\"status\":\"error\""));
        }
    }

    #[test]
    fn one_client_too_many_is_told_so() {
        let mut pair = server();
        let kept: Vec<UnixStream> = (0..CLIENTS_MAX).map(|_| pair.connect()).collect();
        let refused = pair.connect();
        assert!(read_all(&refused).contains("clients are connected already"));
        drop(kept);
    }

    #[test]
    fn clients_that_wait_for_a_reload_keep_nobody_out() {
        let mut pair = server();
        let waiting: Vec<UnixStream> = (0..CLIENTS_MAX).map(|_| pair.connect()).collect();
        let now = Instant::now();
        for id in 1..=CLIENTS_MAX as u64 {
            pair.server.have_wait(id, now);
        }
        let _another = pair.connect();
        assert_eq!(pair.server.clients.len(), CLIENTS_MAX + 1);
        // Who has its answer has a place again.
        pair.server.answer(1, &json!({}), now);
        assert!(!pair.server.clients[&1].waits);
        drop(waiting);
    }

    #[test]
    fn the_client_that_is_idle_for_longest_gives_its_place_to_one_that_comes() {
        let mut pair = server();
        let kept: Vec<UnixStream> = (0..CLIENTS_MAX).map(|_| pair.connect()).collect();
        let now = Instant::now();
        (&kept[0]).write_all(&[0]).unwrap();
        pair.server.ready(Token::Client(1), now);
        assert!(!pair.server.make_room(now));
        assert!(pair.server.make_room(now + IDLE_MIN));
        // The first is in the middle of a message.
        assert!(pair.server.clients.contains_key(&1) && !pair.server.clients.contains_key(&2));
    }

    #[test]
    fn a_client_that_never_ends_its_message_is_closed_and_an_idle_one_kept() {
        let mut pair = server();
        let (mut slow, _idle) = (pair.connect(), pair.connect());
        let now = Instant::now();
        slow.write_all(&[0, 0]).unwrap();
        pair.server.ready(Token::Client(1), now);
        assert_eq!(pair.server.deadline(), Some(now + TRANSFER_MAX));
        slow.write_all(&[0]).unwrap();
        pair.server.ready(Token::Client(1), now + TRANSFER_MAX / 2);
        pair.server.expire(now + TRANSFER_MAX);
        assert_eq!(pair.server.clients.keys().copied().collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_client_that_takes_no_answers_is_not_read_any_more() {
        let mut pair = server();
        let _client = pair.connect();
        let answer = json!({"text": "x".repeat(UNSENT_BYTES_MAX * 2)});
        pair.server.answer(1, &answer, Instant::now());
        assert_eq!(pair.server.clients[&1].interest(), PollFlags::OUT);
        assert!(pair.server.deadline().is_some_and(|at| at <= Instant::now() + TRANSFER_MAX));
    }

    #[test]
    fn a_client_that_says_nothing_more_still_gets_the_answer_that_it_waits_for() {
        let mut pair = server();
        let client = pair.connect();
        let now = Instant::now();
        pair.server.have_wait(1, now);
        client.shutdown(std::net::Shutdown::Write).unwrap();
        pair.server.ready(Token::Client(1), now);
        pair.server.answer(1, &json!({"id": 1}), now);
        assert_eq!(read_all(&client), "\0\0\0\u{8}{\"id\":1}");
        assert!(pair.server.clients.is_empty());
    }

    #[test]
    fn the_abstract_socket_knows_its_own_user() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let asker = asker(&ours);
        assert!(asker.is_owner && asker.name.contains(&format!("(pid {})", std::process::id())));
        drop(theirs);
    }
}
