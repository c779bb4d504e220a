//! Real worker processes that are killed with SIGKILL at moments nobody chose.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]
#![expect(unsafe_code, reason = "a child process takes over inherited descriptors")]

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use indrik_ring::{
    ChannelLimits, Descriptor, Flags, FrontChannel, FrontFds, Kind, SlotState, Wake, WorkerChannel,
    WorkerFds, channel_pair,
};

const LIMITS: ChannelLimits = ChannelLimits {
    slots: 16,
    descriptors: 32,
    request_area: 128 * 1024,
    response_area: 128 * 1024,
    body_area: 64 * 1024,
};
const FDS: &str = "INDRIK_TEST_CHANNEL_FDS";
const WORKERS: u64 = 60;
/// How long a process may need before the test calls it a hang.
const HANG: Duration = Duration::from_secs(20);

fn payload_of(number: u64) -> Vec<u8> {
    (0..number * 37 % 3000).map(|at| (number + at) as u8).collect()
}

/// The worker: answers each request with its own payload in two pieces.
fn serve(mut worker: WorkerChannel) {
    loop {
        while let Some(request) = worker.requests.receive().unwrap() {
            if !worker.slots.start(request.slot, request.generation) {
                continue;
            }
            // SAFETY: the front leaves it alone until it is released.
            let payload = unsafe { worker.requests.payload(&request) };
            assert_eq!(payload, payload_of(request.aux));
            let (first, second) = payload.split_at(payload.len() / 2);
            answer(&mut worker, &request, Kind::Response, Flags::NONE, first);
            let last = Flags::END.with(Flags::DONE);
            answer(&mut worker, &request, Kind::ResponseBody, last, second);
            worker.slots.finish(request.slot, request.generation);
            worker.flush();
        }
        if worker.requests.release() {
            worker.front.ring().unwrap();
        }
        if worker.control().is_shut_down() {
            return;
        }
        if worker.requests.prepare_sleep().unwrap() {
            worker.wake.sleep(None).unwrap();
            worker.requests.awake();
        }
    }
}

fn answer(
    worker: &mut WorkerChannel,
    request: &Descriptor,
    kind: Kind,
    flags: Flags,
    payload: &[u8],
) {
    let descriptor = Descriptor::new(kind, flags, request.slot, request.generation, request.aux);
    while worker.responses.send(descriptor, payload.len(), |b| b.copy_from_slice(payload)).is_err()
    {
        let ticket = worker.responses.space_wait().ticket();
        if worker.responses.starve() {
            worker.flush();
            worker.responses.space_wait().sleep(ticket, HANG);
        }
    }
}

/// Not a test of its own: what a child process runs.
#[test]
fn worker_process() {
    let Ok(fds) = std::env::var(FDS) else { return };
    // SAFETY: the parent made these for this process, which owns them from here on.
    let mut fds = fds.split(',').map(|fd| unsafe { OwnedFd::from_raw_fd(fd.parse().unwrap()) });
    let fds = WorkerFds {
        memory: fds.next().unwrap(),
        wake: fds.next().unwrap(),
        own: fds.next().unwrap(),
        front: fds.next().unwrap(),
        files: fds.next().unwrap(),
    };
    serve(WorkerChannel::open(fds).unwrap());
}

fn spawn_worker(fds: &WorkerFds) -> Child {
    let list = [&fds.memory, &fds.wake, &fds.own, &fds.front, &fds.files].map(|fd| {
        rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()).unwrap();
        fd.as_raw_fd().to_string()
    });
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "worker_process", "--test-threads=1"])
        .env(FDS, list.join(","))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What the front holds of one request.
#[derive(Clone, Default)]
struct Use {
    number: u64,
    generation: u32,
    busy: bool,
    got: Vec<u8>,
}

struct Front {
    channel: FrontChannel,
    uses: Vec<Use>,
    next: u64,
    done: u64,
    payload: Vec<u8>,
}

impl Front {
    fn new(channel: FrontChannel) -> Self {
        let uses = vec![Use::default(); LIMITS.slots.into()];
        Self { channel, uses, next: 0, done: 0, payload: Vec::new() }
    }

    fn send(&mut self) {
        for slot in 0..LIMITS.slots {
            let entry = &mut self.uses[usize::from(slot)];
            if entry.busy {
                continue;
            }
            let (number, generation) = (self.next, entry.generation + 1);
            let payload = payload_of(number);
            self.channel.slots.begin(slot, generation);
            let descriptor = Descriptor::new(Kind::Request, Flags::END, slot, generation, number);
            let fill = |bytes: &mut [u8]| bytes.copy_from_slice(&payload);
            if self.channel.requests.send(descriptor, payload.len(), fill).is_err() {
                let _ = self.channel.requests.starve();
                break;
            }
            *entry = Use { number, generation, busy: true, got: Vec::new() };
            self.next += 1;
        }
        self.channel.flush();
    }

    fn receive(&mut self) {
        while let Some(descriptor) = self.channel.responses.receive().unwrap() {
            let entry = &mut self.uses[usize::from(descriptor.slot)];
            assert_eq!((descriptor.generation, descriptor.aux), (entry.generation, entry.number));
            self.channel.responses.copy_payload(&descriptor, &mut self.payload);
            entry.got.extend_from_slice(&self.payload);
            assert!(payload_of(entry.number).starts_with(&entry.got));
            if descriptor.flags.has(Flags::DONE) {
                assert_eq!(entry.got, payload_of(entry.number));
                entry.busy = false;
                self.done += 1;
            }
        }
        let _ = self.channel.responses.release();
    }

    /// Serves until so many requests are done.
    fn run_until(&mut self, done: u64) {
        while self.done < done {
            self.send();
            if self.channel.responses.prepare_sleep().unwrap() {
                let asleep = Instant::now();
                self.channel.wake.sleep(Some(HANG)).unwrap();
                assert!(asleep.elapsed() < HANG, "the worker hangs");
                self.channel.responses.awake();
            }
            self.receive();
        }
    }

    /// The worker is dead: everything is accounted for.
    fn recover(&mut self) {
        self.receive();
        assert!(!self.channel.requests.is_broken());
        for (slot, entry) in self.uses.iter().enumerate().filter(|(_, entry)| entry.busy) {
            match self.channel.slots.state(slot as u16, entry.generation) {
                SlotState::Queued => assert!(entry.got.is_empty(), "it was not started"),
                SlotState::Running | SlotState::Done => {}
                state => panic!("request {} is {state:?}", entry.number),
            }
        }
    }
}

#[test]
fn workers_killed_in_the_middle_leave_every_request_accounted_for() {
    for round in 0..WORKERS {
        let (ours, theirs) = channel_pair(LIMITS).unwrap();
        let mut worker = spawn_worker(&theirs);
        let mut front = Front::new(FrontChannel::open(ours, LIMITS).unwrap());
        // Each round kills at another amount of work, with the rings full of more.
        front.run_until(1 + round * 7);
        front.send();
        worker.kill().unwrap();
        worker.wait().unwrap();
        front.recover();
    }
}

#[test]
fn a_worker_that_is_asked_to_leave_answers_everything_first() {
    let (ours, theirs) = channel_pair(LIMITS).unwrap();
    let mut worker = spawn_worker(&theirs);
    let mut front = Front::new(FrontChannel::open(ours, LIMITS).unwrap());
    front.run_until(100);
    let sent = front.next;
    front.channel.control().shut_down();
    front.channel.worker.ring().unwrap();
    let status = worker.wait().unwrap();
    let mut stderr = String::new();
    worker.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(status.success(), "{stderr}");
    front.receive();
    assert_eq!(front.done, sent);
}

#[test]
fn each_end_of_a_channel_opens_once() {
    let (ours, theirs) = channel_pair(LIMITS).unwrap();
    let of_front = || FrontFds {
        memory: ours.memory.try_clone().unwrap(),
        worker: ours.worker.try_clone().unwrap(),
        wake: Wake::from_fd(ours.wake.as_fd().try_clone_to_owned().unwrap()),
        files: ours.files.try_clone().unwrap(),
    };
    let of_worker = || WorkerFds {
        memory: theirs.memory.try_clone().unwrap(),
        wake: theirs.wake.try_clone().unwrap(),
        own: theirs.own.try_clone().unwrap(),
        front: theirs.front.try_clone().unwrap(),
        files: theirs.files.try_clone().unwrap(),
    };
    let _front = FrontChannel::open(of_front(), LIMITS).unwrap();
    let _worker = WorkerChannel::open(of_worker()).unwrap();
    for error in [
        FrontChannel::open(of_front(), LIMITS).err().unwrap(),
        WorkerChannel::open(of_worker()).err().unwrap(),
    ] {
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    }
}

#[test]
fn memory_that_is_no_channel_is_refused() {
    let (_ours, fds) = channel_pair(LIMITS).unwrap();
    let other = rustix::fs::memfd_create("other", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let error = WorkerChannel::open(WorkerFds { memory: other, ..fds }).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
}

#[test]
fn limits_out_of_range_are_named() {
    let good = ChannelLimits::default();
    for (limits, name) in [
        (ChannelLimits { slots: 0, ..good }, "slots"),
        (ChannelLimits { slots: u16::MAX, ..good }, "slots"),
        (ChannelLimits { descriptors: 0, ..good }, "descriptors"),
        (ChannelLimits { descriptors: 1000, ..good }, "descriptors"),
        (ChannelLimits { request_area: 4096, ..good }, "request_area"),
        (ChannelLimits { response_area: 512 * 1024 + 1, ..good }, "response_area"),
        (ChannelLimits { body_area: 4095, ..good }, "body_area"),
    ] {
        assert_eq!(limits.check().unwrap_err().name, name);
        assert!(channel_pair(limits).is_err());
    }
    assert_eq!(good.check(), Ok(()));
}
