//! The channel: shared memory between the front and one worker.
//!
//! One sealed memfd per worker, made before the fork. Two rings of fixed-size descriptors, one in
//! each direction; payload lies in a byte area of the same mapping; a table of slots holds what
//! both sides must see of a request at any moment (its state, how much of a stream was taken).
//!
//! Invariants:
//!
//! * Exactly two parties share a channel, and every ring has one producer and one consumer.
//! * Nothing grows at run time, and every limit is in [`ChannelLimits`].
//! * The front trusts nothing it reads: a descriptor is copied out, then checked, then used, and a
//!   payload is copied out before it is parsed ([`Lent`] is for what is handed on as it is). A corrupt worker loses
//!   its own requests only.
//! * Wake-ups happen only when the other side said that it sleeps; whoever goes to sleep says so
//!   first and then looks again.
//! * A dead side needs no repair: the channel dies with its worker, and what the front still held
//!   is read off the slot states ([`SlotState::Queued`] was never started).
#![cfg_attr(
    all(loom, not(test)),
    expect(dead_code, reason = "only the models make rings under loom")
)]
#![expect(unsafe_code, reason = "shared memory is raw memory; every block names its invariant")]

// A mapping has no place for loom's atomics; its models use `testing`.
#[cfg(not(loom))]
mod bodies;
#[cfg(not(loom))]
mod channel;
#[cfg(not(loom))]
mod handoff;
mod kept;
mod lane;
#[cfg_attr(loom, expect(dead_code, reason = "nothing is mapped under loom"))]
mod layout;
mod memory;
mod recent;
mod ring;
mod slot;
mod sync;
#[cfg(not(loom))]
mod table;
mod wake;
mod windows;
mod wire;

#[cfg(test)]
#[cfg(loom)]
mod loom_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

#[cfg(not(loom))]
pub use bodies::{BodyArea, BodyPlace, BodyView};
#[cfg(not(loom))]
pub use channel::{
    Blocked, Control, FrontChannel, FrontFds, WorkerChannel, WorkerFds, channel_pair,
};
#[cfg(not(loom))]
pub use handoff::{FileLost, FileReceiver, FileSender, files_pair};
pub use kept::{Close, KeptFd};
pub use lane::{
    LANE_MESSAGE_BYTES_MAX, LaneAnswer, LaneAsk, LaneError, ROUTE_NAME_BYTES_MAX, is_route_name,
};
pub use layout::{ChannelLimits, LimitError};
pub use recent::{Recent, Wanted};
pub use ring::{Lent, NotSent, Receiver, Reserved, Sender, SpaceWait, Violation};
pub use slot::{CreditWait, SlotState, Slots};
#[cfg(not(loom))]
pub use table::{
    TABLE_BYTES_MAX, TABLE_BYTES_MIN, TABLE_CELLS_MAX, TABLE_KEY_BYTES_MAX, TABLE_LOSSES, Table,
    TableCopy, TableEntry, TableError, TableMemory, TableRow,
};
pub use wake::{Bell, RINGS_UNREAD_MAX, Wake, WakeLost, wake_pair};
pub use windows::{
    CHUNK_MAX, REQUEST_PIECE_MAX, REQUEST_WINDOW, REQUEST_WINDOW_MAX, RESPONSE_PIECE_MAX,
    RESPONSE_WINDOW, websocket_piece_cost,
};
pub use wire::{
    BodyIn, Descriptor, Failure, FilePart, Flags, HeadError, Headers, Kind, RequestHead,
    ResponseHead, STOP_OVERTIME, TIME_TOO_LONG, encode_headers, encode_request, encode_response,
    headers_len, request_len, response_len,
};
