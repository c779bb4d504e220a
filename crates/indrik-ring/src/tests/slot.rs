//! Tests of the slot table.

use core::time::Duration;

use crate::slot::{CreditWait, SlotState};
use crate::testing::slots;

#[test]
fn a_request_goes_from_queued_over_running_to_done() {
    let slots = slots();
    slots.begin(3, 9);
    assert_eq!(slots.state(3, 9), SlotState::Queued);
    assert!(slots.start(3, 9));
    assert!(!slots.start(3, 9), "it is started once");
    assert_eq!(slots.state(3, 9), SlotState::Running);
    assert!(!slots.reclaim(3, 9), "a started request cannot be taken back");
    slots.finish(3, 9);
    assert_eq!(slots.state(3, 9), SlotState::Done);
}

#[test]
fn a_reclaimed_request_is_never_started() {
    let slots = slots();
    slots.begin(0, 1);
    assert!(slots.reclaim(0, 1));
    assert!(!slots.start(0, 1));
    slots.finish(0, 1);
    assert_eq!(slots.state(0, 1), SlotState::Reclaimed);
}

#[test]
fn steps_of_another_use_of_the_slot_change_nothing() {
    let slots = slots();
    slots.begin(0, u32::MAX);
    assert!(slots.reclaim(0, u32::MAX));
    slots.begin(0, 0);
    assert!(!slots.start(0, u32::MAX));
    assert!(!slots.reclaim(0, u32::MAX));
    slots.finish(0, u32::MAX);
    assert_eq!(slots.state(0, u32::MAX), SlotState::Free);
    assert_eq!(slots.state(0, 0), SlotState::Queued);
}

#[test]
fn a_new_use_begins_with_nothing_taken_and_nobody_waiting() {
    let slots = slots();
    slots.begin(2, 1);
    slots.want_credit(2, CreditWait::Descriptor);
    slots.want_request_credit(2);
    assert!(slots.request_took(2, 10));
    slots.want_request_credit(2);
    assert_eq!(slots.response_took(2, 5), CreditWait::Descriptor);
    slots.want_credit(2, CreditWait::Thread);
    assert_eq!(slots.set_gone(2), CreditWait::Thread);
    slots.want_credit(2, CreditWait::Thread);

    slots.begin(2, 2);
    assert_eq!((slots.request_taken(2), slots.response_taken(2)), (0, 0));
    assert!(!slots.is_gone(2));
    assert!(!slots.request_took(2, 1), "nobody asked in this use");
    assert_eq!(slots.response_took(2, 1), CreditWait::No);
}

#[test]
fn a_wish_for_credit_is_answered_once() {
    let slots = slots();
    slots.begin(1, 1);
    assert_eq!(slots.response_took(1, 1), CreditWait::No);
    slots.want_credit(1, CreditWait::Descriptor);
    assert_eq!(slots.response_took(1, 1), CreditWait::Descriptor);
    assert_eq!(slots.response_took(1, 1), CreditWait::No);
    assert_eq!(slots.response_taken(1), 3);
    slots.want_request_credit(1);
    assert!(slots.request_took(1, 7));
    assert!(!slots.request_took(1, 7));
    assert_eq!(slots.request_taken(1), 14);
}

#[test]
fn a_ticket_from_before_the_credit_does_not_sleep() {
    let slots = slots();
    slots.begin(0, 1);
    let ticket = slots.credit_ticket(0);
    slots.want_credit(0, CreditWait::Thread);
    assert_eq!(slots.response_took(0, 1), CreditWait::Thread);
    // Would hang for good if the word had not moved.
    slots.sleep_for_credit(0, ticket, Duration::MAX);
}

#[test]
#[should_panic(expected = "slot 8 of 8")]
fn a_slot_that_does_not_exist_is_refused() {
    slots().begin(8, 0);
}

#[test]
fn a_route_is_said_of_the_request_that_it_belongs_to_and_of_no_other() {
    let slots = slots();
    slots.begin(1, 7);
    slots.set_route(1, 7, 3);
    assert_eq!(slots.route(1, 7), 0, "it has not begun");
    assert!(slots.start(1, 7));
    slots.set_route(1, 7, 3);
    assert_eq!(slots.route(1, 7), 3);
    slots.finish(1, 7);
    slots.begin(1, 8);
    assert!(slots.start(1, 8));
    assert_eq!(slots.route(1, 8), 0);
    // Who chose it for the request before comes late.
    slots.set_route(1, 7, 3);
    assert_eq!(slots.route(1, 8), 0);
    slots.set_route(1, 8, 4);
    assert_eq!((slots.route(1, 8), slots.route(1, 7)), (4, 0));
    // As one may find it that looked just before the request ended.
    assert_eq!(slots.route(1, 8 + 0x1_0000), 4, "half of the generation is kept");
}
