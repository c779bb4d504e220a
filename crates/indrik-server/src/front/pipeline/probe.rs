//! Probes: two paths that tell load balancers and orchestrators how the server stands. The front answers
//! them by itself, so they wait in no queue and take no worker.

/// How the server stands, as the supervisor sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Traffic is welcome.
    pub ready: bool,
    /// The server need not be started anew.
    pub live: bool,
    /// The same in a line of JSON, with more.
    pub line: String,
}
