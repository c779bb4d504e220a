//! Whether the front takes what comes to the listening sockets, before and after the first time.

/// Whether the listening sockets are accepted from. `Pause` is another matter: doors that are open may be paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doors {
    /// Not yet: what comes waits in the kernel's queue, where others who share the socket find it.
    Closed(Opening),
    /// Since then for good.
    Open,
}

/// When doors open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// As soon as there is a front: the sockets are this server's own.
    Front,
    /// As soon as a worker is ready: whoever handed the sockets over keeps what waits in them if no worker gets
    /// ready.
    FirstWorker,
    /// As soon as every place has its worker, or one that has failed: until then the server before this one takes
    /// what comes.
    EveryPlace,
}

/// What has come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) has_front: bool,
    /// A worker takes requests.
    pub(crate) has_ready: bool,
    /// No place is waited for any longer.
    pub(crate) all_told: bool,
}

impl Doors {
    pub(crate) fn are_open(self) -> bool {
        self == Self::Open
    }

    /// Whether this is the moment to open them.
    pub(crate) fn open_now(self, progress: Progress) -> bool {
        let Self::Closed(opening) = self else { return false };
        match opening {
            Opening::Front => progress.has_front,
            Opening::FirstWorker => progress.has_ready,
            Opening::EveryPlace => progress.has_ready && progress.all_told,
        }
    }

    /// The sockets are not this server's own. A server that takes another one's place knows that already.
    pub(crate) fn handed_over(&mut self) {
        if *self == Self::Closed(Opening::Front) {
            *self = Self::Closed(Opening::FirstWorker);
        }
    }

    /// Nobody else takes what comes any more.
    pub(crate) fn left_alone(&mut self) {
        if *self == Self::Closed(Opening::EveryPlace) {
            *self = Self::Closed(Opening::FirstWorker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_now(opening: Opening, has_ready: bool, all_told: bool) -> bool {
        Doors::Closed(opening).open_now(Progress { has_front: true, has_ready, all_told })
    }

    #[test]
    fn doors_open_once_for_whoever_nobody_else_serves_for() {
        assert!(open_now(Opening::Front, false, false));
        assert!(!open_now(Opening::FirstWorker, false, true));
        assert!(open_now(Opening::FirstWorker, true, false));
        assert!(!open_now(Opening::EveryPlace, true, false));
        // Every place has failed.
        assert!(!open_now(Opening::EveryPlace, false, true));
        assert!(open_now(Opening::EveryPlace, true, true));
        let all = Progress { has_front: true, has_ready: true, all_told: true };
        assert!(!Doors::Open.open_now(all));
    }

    #[test]
    fn a_successor_that_is_left_alone_waits_for_its_first_worker_only() {
        let mut doors = Doors::Closed(Opening::EveryPlace);
        doors.handed_over();
        assert_eq!(doors, Doors::Closed(Opening::EveryPlace));
        doors.left_alone();
        assert_eq!(doors, Doors::Closed(Opening::FirstWorker));
        let mut doors = Doors::Closed(Opening::Front);
        doors.left_alone();
        assert_eq!(doors, Doors::Closed(Opening::Front));
        doors.handed_over();
        assert_eq!(doors, Doors::Closed(Opening::FirstWorker));
        let mut doors = Doors::Open;
        doors.handed_over();
        doors.left_alone();
        assert_eq!(doors, Doors::Open);
    }
}
