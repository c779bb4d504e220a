//! Tests of files that go with descriptors.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

use crate::handoff::{FileLost, FileReceiver, FileSender, both_ways, files_pair};
use crate::ring::{NotSent, Receiver, Sender};
use crate::testing::ring;
use crate::wire::{Descriptor, Flags, Kind};

struct Channel {
    sender: Sender,
    receiver: Receiver,
    out: FileSender,
    arrived: FileReceiver,
}

fn channel(descriptors: u32) -> Channel {
    let (sender, receiver) = ring(descriptors, 64);
    let (ours, theirs) = files_pair().unwrap();
    Channel { sender, receiver, out: both_ways(ours, drop).0, arrived: both_ways(theirs, drop).1 }
}

impl Channel {
    /// Sends request `number`, whose file has that number in it.
    fn send(&mut self, slot: u16, number: u32) -> Result<(), NotSent> {
        let file = eventfd(number, EventfdFlags::CLOEXEC).unwrap();
        let request = Descriptor::new(Kind::Request, Flags::BODY_FILE, slot, number, 0);
        self.sender.send_with_file((&self.out, file.as_fd()), request, 0, |_| {})
    }

    fn take(&mut self, slot: u16, generation: u32) -> Result<u64, FileLost> {
        self.arrived.take(slot, generation, |_, _| true).map(|file| number_in(&file))
    }
}

fn number_in(file: &OwnedFd) -> u64 {
    let mut number = [0; 8];
    rustix::io::read(file, &mut number).unwrap();
    u64::from_ne_bytes(number)
}

#[test]
fn a_full_ring_hands_no_file_over() {
    let mut channel = channel(2);
    for number in 1..=2 {
        channel.send(0, number).unwrap();
    }
    for _ in 0..10 {
        assert_eq!(channel.send(0, 3), Err(NotSent::NoSpace));
    }
    while channel.receiver.receive().unwrap().is_some() {}
    let _ = channel.receiver.release();
    channel.send(0, 3).unwrap();
    for number in 1..=3 {
        assert_eq!(channel.take(0, number), Ok(u64::from(number)));
    }
    assert_eq!(channel.take(0, 3), Err(FileLost::Missing), "each was handed over once");
}

#[test]
fn a_full_socket_sends_no_descriptor_and_takes_more_once_a_file_was_taken() {
    let mut channel = channel(65_536);
    let mut sent = 0;
    let full = loop {
        match channel.send(0, sent + 1) {
            Ok(()) => sent += 1,
            Err(reason) => break reason,
        }
    };
    assert_eq!(full, NotSent::FilesFull);
    assert_eq!(channel.sender.sent(), u64::from(sent));
    for number in 1..=sent {
        assert_eq!(channel.take(0, number), Ok(u64::from(number)));
        assert_eq!(channel.receiver.receive().unwrap().unwrap().generation, number);
    }
    assert_eq!(channel.receiver.receive(), Ok(None));
    channel.send(0, sent + 1).unwrap();
    assert_eq!(channel.take(0, sent + 1), Ok(u64::from(sent) + 1));
}

#[test]
fn a_file_is_found_by_its_slot_and_generation_in_whatever_order_they_are_asked_for() {
    let mut channel = channel(16);
    for number in 1..=8 {
        channel.send(number as u16 % 3, number).unwrap();
    }
    for number in [5, 1, 8, 2, 7, 3, 4, 6] {
        assert_eq!(channel.take(number as u16 % 3, number), Ok(u64::from(number)));
    }
    assert_eq!(channel.take(1, 1), Err(FileLost::Missing));
}

#[test]
fn files_of_requests_that_were_taken_back_are_closed() {
    let mut channel = channel(16);
    for number in 1..=8 {
        channel.send(0, number).unwrap();
    }
    assert_eq!(channel.arrived.take(0, 8, |_, generation| generation == 7).map(drop), Ok(()));
    assert_eq!(channel.take(0, 3), Err(FileLost::Missing));
    assert_eq!(channel.take(0, 7), Ok(7));
}

#[test]
fn what_a_receiver_keeps_is_bounded() {
    let mut channel = channel(256);
    for number in 1..=100 {
        channel.send(0, number).unwrap();
    }
    assert_eq!(channel.take(0, 100), Ok(100));
    let kept = (1..100).filter(|number| channel.take(0, *number).is_ok()).count();
    assert_eq!(kept, 64, "the named limit");
}

#[test]
fn a_closed_socket_says_so_on_both_sides() {
    let mut channel = channel(4);
    channel.arrived = both_ways(files_pair().unwrap().0, drop).1;
    assert_eq!(channel.send(0, 1), Err(NotSent::FilesClosed));
    assert_eq!(channel.sender.sent(), 0);
    assert_eq!(channel.take(0, 1), Err(FileLost::Missing));
}
