//! The front as the supervisor has it, with workers that have no process.

use std::path::PathBuf;

use indrik_core::settings::{Launch, resolve_without_application};
use indrik_ring::{FrontChannel, Wake, channel_pair};
use indrik_sys::packets::PacketSocket;

use super::*;

fn config() -> Config {
    let launch = Launch::bare(PathBuf::from("/"));
    resolve_without_application(&launch, None).unwrap()
}

#[test]
fn a_worker_whose_wake_up_cannot_be_watched_is_refused_and_gets_no_request() {
    let config = Arc::new(config());
    let sink: EventSink = Arc::new(|_| {});
    let log = Arc::new(Log::new());
    let front = Front::start(Arc::clone(&config), Vec::new(), log, sink, None).unwrap();
    let added = |id, wake: Option<OwnedFd>| {
        let limits = channel_limits(&config);
        let (ends, _) = channel_pair(limits).unwrap();
        let mut channel = FrontChannel::open(ends, limits).unwrap();
        if let Some(wake) = wake {
            channel.wake = Wake::from_fd(wake);
        }
        let worker = NewWorker {
            pid: 0,
            channel,
            interface: Interface::Wsgi,
            capacity: 1,
            requests_max: 0,
            generation: Generation::FIRST,
            tells_served: false,
        };
        let (lane, _) = PacketSocket::pair().unwrap();
        front.add_worker(WorkerId(id), worker, lane.into())
    };
    // The system watches no file of a disk.
    let file = tempfile::tempfile().unwrap();
    assert!(added(1, Some(file.into())).is_err());
    assert!(added(2, None).is_ok());
    assert_eq!(front.loads().into_keys().collect::<Vec<_>>(), [WorkerId(2)]);
}
