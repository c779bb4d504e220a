//! The table: what is found again, what a death leaves, and what a reader makes of any bytes.

use std::os::fd::OwnedFd;

use proptest::prelude::*;

use crate::table::{
    TABLE_BYTES_MIN, TABLE_KEY_BYTES_MAX, Table, TableCopy, TableError, TableMemory,
};
use crate::testing::steps;

fn pair(bytes: usize) -> (TableMemory, Table) {
    let memory = TableMemory::create(bytes).unwrap();
    let theirs: OwnedFd = memory.as_fd().try_clone_to_owned().unwrap();
    let table = Table::open(&theirs).unwrap();
    (memory, table)
}

fn rows(copy: &TableCopy) -> Vec<(Vec<u8>, Vec<u8>, Vec<f64>)> {
    let mut rows = Vec::new();
    let is_sound = copy.each(|row| {
        let values = row.cells.iter().map(|bits| f64::from_bits(*bits)).collect();
        rows.push((row.key.to_vec(), row.extra.to_vec(), values));
    });
    assert!(is_sound);
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows
}

#[test]
fn an_entry_is_made_once_and_its_values_are_read_by_the_other_side() {
    let (memory, table) = pair(TABLE_BYTES_MIN);
    assert!(memory.copy().unwrap().is_empty());
    let first = table.entry(b"a key", b"what belongs to it", 2).unwrap();
    assert_eq!(table.entry(b"a key", b"other words", 2).unwrap(), first);
    assert_eq!(table.extra(first), b"what belongs to it");
    let second = table.entry(b"another", b"", 1).unwrap();
    table.add(first.first_cell(), 1.5);
    table.add(first.first_cell(), 2.0);
    table.set(first.first_cell() + 1, -7.0);
    table.add(second.first_cell(), 1.0);
    table.lose(3);
    let copy = memory.copy().unwrap();
    let expected = vec![
        (b"a key".to_vec(), b"what belongs to it".to_vec(), vec![3.5, -7.0]),
        (b"another".to_vec(), Vec::new(), vec![1.0]),
    ];
    assert_eq!(rows(&copy), expected);
    assert_eq!(copy.losses()[3], 1);
}

#[test]
fn a_full_table_takes_nothing_new_and_keeps_what_it_has() {
    let (memory, table) = pair(TABLE_BYTES_MIN);
    let mut made = 0_u32;
    while let Ok(entry) = table.entry(&made.to_ne_bytes(), b"", 1) {
        table.add(entry.first_cell(), 1.0);
        made += 1;
    }
    assert_eq!(table.entry(b"one more", b"", 1), Err(TableError::Full));
    assert_eq!(table.entry(&[0; TABLE_KEY_BYTES_MAX + 1], b"", 1), Err(TableError::TooLong));
    let first = table.entry(&0_u32.to_ne_bytes(), b"", 1).unwrap();
    table.add(first.first_cell(), 1.0);
    let rows = rows(&memory.copy().unwrap());
    assert_eq!(rows.len(), made as usize);
    assert_eq!(rows.iter().map(|row| row.2[0]).sum::<f64>(), f64::from(made) + 1.0);
}

#[test]
fn whoever_is_killed_at_any_step_leaves_a_table_that_others_go_on_with() {
    for kill_at in 0.. {
        let (memory, table) = pair(TABLE_BYTES_MIN);
        let add = |key: &[u8]| {
            let entry = table.entry(key, b"extra", 1).unwrap();
            table.add(entry.first_cell(), 1.0);
        };
        add(b"before");
        let mut left = kill_at;
        let finished = steps::run(&mut left, || {
            add(b"new");
            add(b"before");
        });
        add(b"new");
        add(b"after");
        let rows = rows(&memory.copy().unwrap());
        let value = |key: &[u8]| rows.iter().find(|row| row.0 == key).unwrap().2[0];
        assert_eq!(rows.len(), 3, "killed at step {kill_at}");
        assert_eq!(value(b"after"), 1.0);
        assert!((1.0..=2.0).contains(&value(b"new")));
        assert!((1.0..=2.0).contains(&value(b"before")));
        if finished.is_some() {
            assert_eq!((value(b"new"), value(b"before")), (2.0, 2.0));
            return;
        }
    }
}

#[test]
fn additions_from_many_threads_that_make_the_same_entries_are_all_there() {
    let (memory, table) = pair(1024 * 1024);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for number in 0..2000_u32 {
                    let entry = table.entry(&(number % 50).to_ne_bytes(), b"", 1).unwrap();
                    table.add(entry.first_cell(), 1.0);
                }
            });
        }
    });
    let rows = rows(&memory.copy().unwrap());
    assert_eq!(rows.len(), 50);
    assert!(rows.iter().all(|row| row.2[0] == 160.0));
}

#[test]
fn the_memory_is_final_when_nobody_has_it_mapped() {
    let (memory, table) = pair(TABLE_BYTES_MIN);
    let cell = table.entry(b"key", b"", 1).unwrap().first_cell();
    table.add(cell, 1.0);
    assert!(!memory.is_final());
    // It goes on, in memory of its own.
    table.leave().unwrap();
    table.add(cell, 1.0);
    assert!(memory.is_final());
    assert_eq!(rows(&memory.copy().unwrap())[0].2[0], 1.0);
    let theirs = memory.as_fd().try_clone_to_owned().unwrap();
    assert!(Table::open(&theirs).is_err(), "nobody can begin to write to it again");
}

#[test]
fn what_is_no_table_is_not_opened() {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    for size in [0, 100, TABLE_BYTES_MIN as u64 - 4096, TABLE_BYTES_MIN as u64] {
        let memory = rustix::fs::memfd_create("other", flags).unwrap();
        rustix::fs::ftruncate(&memory, size).unwrap();
        assert!(Table::open(&memory).is_err(), "{size} bytes of nothing");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 300 }))]

    /// The reader ends, and what it shows is not more than there was; the writer refuses or goes on.
    #[test]
    fn no_bytes_make_a_reader_or_a_writer_run_away(
        scribbles in prop::collection::vec((0..TABLE_BYTES_MIN / 8, any::<u64>(), 0..4_u8), 1..60),
    ) {
        let (memory, table) = pair(TABLE_BYTES_MIN);
        for number in 0..20_u32 {
            table.entry(&number.to_ne_bytes(), b"extra", 3).unwrap();
        }
        let used = memory.copy().unwrap();
        for (at, value, kind) in scribbles {
            // Places that matter, and values that look like places.
            let at = if kind == 0 { at } else { at % 2400 };
            let value = if kind < 2 { value } else { (value % 2400) | ((value >> 60) << 32) };
            table.set(at as u32, f64::from_bits(value));
        }
        drop(used);
        let copy = memory.copy().unwrap();
        let mut bytes = 0;
        copy.each(|row| bytes += row.key.len() + row.extra.len() + row.cells.len() * 8);
        prop_assert!(bytes <= TABLE_BYTES_MIN);
        for number in 0..40_u32 {
            if let Ok(entry) = table.entry(&number.to_ne_bytes(), b"extra", 3) {
                table.add(entry.first_cell(), 1.0);
                let _ = table.extra(entry);
            }
        }
    }
}
