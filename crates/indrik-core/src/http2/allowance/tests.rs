//! Tests of what a client may send.

use proptest::prelude::*;

use super::*;

const SECOND: Micros = 1_000_000;

fn head(kind: FrameKind, len: u32, ends: bool) -> FrameHead {
    FrameHead::made(kind, len, ends)
}

fn plain(kind: FrameKind) -> FrameHead {
    head(kind, 8, false)
}

/// How many of these frames pass, sent as fast as can be.
fn passes(kind: FrameKind, len: u32) -> u64 {
    let mut allowance = Allowance::new(0);
    (0u64..).find(|_| allowance.received(&head(kind, len, false), 0).is_err()).unwrap()
}

#[test]
fn every_kind_of_frame_that_carries_nothing_runs_out() {
    let kinds = [
        FrameKind::Priority,
        FrameKind::Settings,
        FrameKind::Ping,
        FrameKind::WindowUpdate,
        FrameKind::Unknown,
        FrameKind::Continuation,
        FrameKind::GoAway,
    ];
    for kind in kinds {
        assert_eq!(passes(kind, 8), CONTROL_FIRST, "{kind:?}");
    }
    assert_eq!(passes(FrameKind::Data, 0), CONTROL_FIRST, "empty bodies");
    assert_eq!(passes(FrameKind::Reset, 4), RESETS_MAX);
}

#[test]
fn waiting_between_floods_buys_little() {
    let mut allowance = Allowance::new(0);
    let mut passed = 0u64;
    for second in 0..100 {
        passed += (0..1_000)
            .filter(|_| allowance.received(&plain(FrameKind::Ping), second * SECOND).is_ok())
            .count() as u64;
    }
    assert!(passed <= CONTROL_FIRST + 100 * CONTROL_PER_SECOND, "{passed}");
}

#[test]
fn a_steady_ping_is_free_for_ever() {
    let mut allowance = Allowance::new(0);
    for ping in 0..1_000_000u64 {
        let now = ping * SECOND / CONTROL_PER_SECOND;
        assert_eq!(allowance.received(&plain(FrameKind::Ping), now), Ok(()));
    }
}

#[test]
fn a_client_that_gives_back_its_windows_with_every_4_kib_downloads_as_much_as_it_likes() {
    let mut allowance = Allowance::new(0);
    for _ in 0..100_000 {
        allowance.sent(&head(FrameKind::Data, 16_384, false));
        for _ in 0..8 {
            assert_eq!(allowance.received(&plain(FrameKind::WindowUpdate), 0), Ok(()));
        }
    }
}

#[test]
fn small_calls_with_a_ping_and_two_window_updates_each_never_run_out() {
    let mut allowance = Allowance::new(0);
    for _ in 0..1_000_000 {
        allowance.received(&plain(FrameKind::Headers), 0).unwrap();
        allowance.received(&head(FrameKind::Data, 100, true), 0).unwrap();
        allowance.sent(&plain(FrameKind::Headers));
        allowance.sent(&head(FrameKind::Data, 100, false));
        allowance.sent(&head(FrameKind::Headers, 20, true));
        for kind in [FrameKind::Ping, FrameKind::WindowUpdate, FrameKind::WindowUpdate] {
            assert_eq!(allowance.received(&plain(kind), 0), Ok(()));
        }
    }
}

#[test]
fn a_browser_that_prioritizes_every_request_and_leaves_a_page_now_and_then_is_let_be() {
    let mut allowance = Allowance::new(0);
    for page in 0..1_000u64 {
        for _ in 0..100 {
            let now = page * SECOND;
            allowance.received(&head(FrameKind::Headers, 300, true), now).unwrap();
            allowance.received(&plain(FrameKind::Unknown), now).unwrap();
            allowance.sent(&plain(FrameKind::Headers));
        }
        for stream in 0..100u64 {
            if stream % 2 == 0 {
                allowance.sent(&head(FrameKind::Data, 1_000, true));
            } else {
                allowance.received(&plain(FrameKind::Reset), page * SECOND).unwrap();
            }
        }
    }
}

#[test]
fn a_client_that_resets_all_it_asks_for_runs_out() {
    let mut allowance = Allowance::new(0);
    let passed = (0u64..).find(|_| {
        allowance.received(&head(FrameKind::Headers, 30, true), 0).unwrap();
        allowance.received(&plain(FrameKind::Reset), 0) == Err(Flood::Resets)
    });
    assert_eq!(passed, Some(RESETS_MAX));
}

proptest! {
    /// Whatever else is sent: what passes is paid for, by time or by traffic.
    #[test]
    fn no_more_passes_than_was_earned(
        frames in prop::collection::vec((0u8..11, 0u32..20_000, any::<bool>(), any::<bool>(), 0u64..50_000), 0..3_000),
    ) {
        let mut allowance = Allowance::new(0);
        let (mut now, mut control, mut resets, mut earned, mut answers) = (0, 0u64, 0u64, 0u64, 0u64);
        for (kind, len, ends, is_ours, pause) in frames {
            now += pause;
            let head = head(kind.into(), len, ends);
            if is_ours {
                allowance.sent(&head);
                earned += match head.kind {
                    FrameKind::Data => 1 + u64::from(len / BYTES_PER_CONTROL),
                    FrameKind::Headers => 1,
                    _ => 0,
                };
                answers += u64::from(head.ends_stream());
                continue;
            }
            let passed = allowance.received(&head, now).is_ok();
            match head.kind {
                FrameKind::Headers => earned += 1,
                FrameKind::Data if len > 0 || ends => earned += 1,
                FrameKind::Reset => resets += u64::from(passed),
                _ => control += u64::from(passed),
            }
        }
        prop_assert!(control <= CONTROL_FIRST + earned + now * CONTROL_PER_SECOND / SECOND + 1);
        prop_assert!(resets <= RESETS_MAX + answers + now * RESETS_PER_SECOND / SECOND + 1);
    }
}
