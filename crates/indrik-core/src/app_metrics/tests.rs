//! What several tables are together, and what becomes of nonsense in them.

use proptest::prelude::*;

use super::{
    Across, AppKind, LABEL_VALUE_BYTES_MAX, Loss, Mirror, MirrorFile, Part, Row, Shape, Source,
    Totals, family_key, family_shape, series_key,
};
use crate::metrics::{Distribution, Family, Kind, Value};

type Rows = Vec<(Vec<u8>, Vec<u8>, Vec<u64>)>;

fn shape(name: &str, kind: AppKind) -> Shape {
    Shape {
        name: name.into(),
        kind,
        across: Across::Sum,
        of_living: true,
        labels: Vec::new(),
        bounds: Vec::new(),
        help: "Help.".into(),
    }
}

fn gauge(across: Across, of_living: bool) -> Shape {
    Shape { across, of_living, ..shape("g", AppKind::Gauge) }
}

/// The rows of a table that has one metric.
fn table(shape: &Shape, series: &[(Part, &[&str], &[f64])]) -> Rows {
    let (key, extra) = family_key(shape);
    let mut rows = vec![(key, extra, Vec::new())];
    for (part, values, cells) in series {
        let cells = cells.iter().map(|value| value.to_bits()).collect();
        rows.push((series_key(&shape.name, *part, values).0, Vec::new(), cells));
    }
    rows
}

fn one(shape: &Shape, cells: &[f64]) -> Rows {
    table(shape, &[(Part::Whole, &[], cells)])
}

fn refer(rows: &Rows) -> Vec<Row<'_>> {
    rows.iter().map(|(key, extra, cells)| Row { key, extra, cells }).collect()
}

const fn worker(place: u32) -> Source {
    Source { place: Some(place), generation: 1, is_alive: true }
}

fn totals() -> Totals {
    let mut totals = Totals::new(100, "worker");
    totals.serves(1);
    totals
}

fn look(totals: &mut Totals, living: &[(Source, &Rows)]) -> Vec<Family> {
    totals.begin();
    for (source, rows) in living {
        totals.add(*source, &refer(rows), true);
    }
    totals.families()
}

/// The numbers of the only family, with their labels.
fn numbers(families: &[Family]) -> Vec<(String, f64)> {
    let samples = families.iter().flat_map(|family| &family.samples);
    samples
        .map(|sample| {
            let labels: Vec<String> =
                sample.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let Value::Number(value) = sample.value else { panic!("{sample:?}") };
            (labels.join(","), value)
        })
        .collect()
}

fn lost(totals: &Totals, loss: Loss) -> u64 {
    totals.lost()[loss as usize]
}

#[test]
fn counters_of_the_living_and_of_the_dead_are_one_sum() {
    let counter = shape("c", AppKind::Counter);
    let mut totals = totals();
    totals.fold(worker(0), &refer(&one(&counter, &[5.0])), true);
    let (a, b) = (one(&counter, &[2.0]), one(&counter, &[3.0]));
    let both = look(&mut totals, &[(worker(0), &a), (worker(1), &b)]);
    assert_eq!((both[0].kind, numbers(&both)), (Kind::Counter, vec![(String::new(), 10.0)]));
    totals.fold(worker(0), &refer(&a), true);
    assert_eq!(numbers(&look(&mut totals, &[(worker(1), &b)])), [(String::new(), 10.0)]);
    totals.fold(worker(1), &refer(&b), true);
    assert_eq!(numbers(&look(&mut totals, &[])), [(String::new(), 10.0)]);
}

#[test]
fn gauges_are_put_together_as_they_ask_for() {
    let (a, b) = ([3.0, 10.0], [1.0, 20.0]);
    for (across, expected) in
        [(Across::Sum, 4.0), (Across::Min, 1.0), (Across::Max, 3.0), (Across::Last, 1.0)]
    {
        let gauge = gauge(across, true);
        let (a, b) = (one(&gauge, &a), one(&gauge, &b));
        let found = look(&mut totals(), &[(worker(0), &a), (worker(1), &b)]);
        assert_eq!(numbers(&found), [(String::new(), expected)], "{across:?}");
    }
    let gauge = gauge(Across::Each, true);
    let (a, b) = (one(&gauge, &a), one(&gauge, &b));
    let found = look(&mut totals(), &[(worker(0), &a), (worker(1), &b)]);
    assert_eq!(numbers(&found), [("worker=0".into(), 3.0), ("worker=1".into(), 1.0)]);
}

#[test]
fn a_gauge_that_was_never_set_says_nothing_where_another_was() {
    let gauge = gauge(Across::Min, true);
    let (set, unset) = (one(&gauge, &[7.0, 10.0]), one(&gauge, &[0.0, 0.0]));
    let found = look(&mut totals(), &[(worker(0), &unset), (worker(1), &set)]);
    assert_eq!(numbers(&found), [(String::new(), 7.0)]);
    let found = look(&mut totals(), &[(worker(0), &unset)]);
    assert_eq!(numbers(&found), [(String::new(), 0.0)]);
}

#[test]
fn gauges_of_the_living_go_with_their_process_and_others_stay() {
    for (of_living, expected) in [(true, 0), (false, 1)] {
        let gauge = gauge(Across::Last, of_living);
        let rows = one(&gauge, &[3.0, 10.0]);
        let mut totals = totals();
        let ended = Source { is_alive: false, ..worker(0) };
        assert_eq!(numbers(&look(&mut totals, &[(ended, &rows)])).len(), expected);
        totals.fold(ended, &refer(&rows), true);
        assert_eq!(numbers(&look(&mut totals, &[])).len(), expected);
    }
}

#[test]
fn a_histogram_is_the_same_whether_it_is_one_series_or_many() {
    let whole = Shape { bounds: vec![1.0, 2.0], ..shape("h", AppKind::Histogram) };
    let whole = one(&whole, &[4.5, 3.0, 0.0, 1.0]);
    let pieces = table(
        &shape("h", AppKind::Histogram),
        &[
            (Part::Bucket, &["+Inf"], &[1.0]),
            (Part::Bucket, &["1.0"], &[3.0]),
            (Part::Bucket, &["2.0"], &[0.0]),
            (Part::Sum, &[], &[4.5]),
        ],
    );
    let expected = Distribution {
        bounds: vec![1.0, 2.0],
        counts: vec![3, 0, 1],
        sum: 4.5,
        ..Distribution::default()
    };
    for rows in [whole, pieces] {
        let found = look(&mut totals(), &[(worker(0), &rows)]);
        assert_eq!(found[0].samples[0].value, Value::Distribution(Box::new(expected.clone())));
    }
}

#[test]
fn one_name_with_two_meanings_is_counted_once_and_the_newest_generation_says_which_holds() {
    let counter = one(&shape("x", AppKind::Counter), &[1.0]);
    let other = one(&shape("x", AppKind::Gauge), &[2.0, 1.0]);
    let mut totals = totals();
    for _ in 0..3 {
        let found = look(&mut totals, &[(worker(0), &counter), (worker(1), &other)]);
        assert_eq!((found[0].kind, numbers(&found)), (Kind::Counter, vec![(String::new(), 1.0)]));
    }
    assert_eq!(lost(&totals, Loss::Clash), 1);
    let newer = Source { generation: 2, ..worker(2) };
    let both = [(worker(0), &counter), (newer, &other)];
    let found = look(&mut totals, &both);
    assert_eq!(found[0].kind, Kind::Counter, "it may be given up yet");
    assert_eq!(lost(&totals, Loss::Clash), 1, "and is no clash");
    totals.serves(2);
    let found = look(&mut totals, &both);
    assert_eq!((found[0].kind, numbers(&found)), (Kind::Gauge, vec![(String::new(), 2.0)]));
}

#[test]
fn more_series_than_there_may_be_are_not_shown_and_those_before_them_go_on() {
    let labelled = Shape { labels: vec!["l".into()], ..shape("c", AppKind::Counter) };
    let values: Vec<String> = (0..150).map(|number| number.to_string()).collect();
    let values: Vec<[&str; 1]> = values.iter().map(|value| [value.as_str()]).collect();
    let series: Vec<(Part, &[&str], &[f64])> =
        values.iter().map(|value| (Part::Whole, value.as_slice(), [1.0].as_slice())).collect();
    let rows = table(&labelled, &series);
    let mut totals = totals();
    for _ in 0..2 {
        assert_eq!(numbers(&look(&mut totals, &[(worker(0), &rows)])).len(), 100);
        assert_eq!(lost(&totals, Loss::TooManySeries), 50);
    }
}

#[test]
fn long_values_are_cut_and_shapes_are_read_as_they_were_written() {
    let (key, was_cut) = series_key("c", Part::Whole, &[&"ä".repeat(1000)]);
    assert!(was_cut && key.len() < LABEL_VALUE_BYTES_MAX + 20);
    let full = Shape {
        labels: vec!["a".into(), "b".into()],
        bounds: vec![0.5, 1.0],
        ..shape("h", AppKind::Histogram)
    };
    let (key, extra) = family_key(&full);
    assert_eq!(family_shape(&key, &extra), Some(full));
}

#[test]
fn values_that_no_counter_can_have_are_left_out_and_counted() {
    let counter = shape("c", AppKind::Counter);
    let mut totals = totals();
    totals.fold(worker(0), &refer(&one(&counter, &[5.0])), true);
    for nonsense in [-1.0, f64::NAN, f64::INFINITY] {
        totals.fold(worker(0), &refer(&one(&counter, &[nonsense])), true);
    }
    totals.fold(worker(0), &refer(&one(&counter, &[1.0, 1.0])), false);
    assert_eq!(numbers(&look(&mut totals, &[])), [(String::new(), 5.0)]);
    assert_eq!(lost(&totals, Loss::Corrupt), 5);
}

#[test]
fn names_of_ours_and_names_that_are_none_are_refused() {
    for name in ["indrik_requests", "", "1a", "a-b", "a b", &"a".repeat(201)] {
        assert!(shape(name, AppKind::Counter).check().is_err(), "{name}");
    }
    for name in ["a", "_a:b9", "indrik_pool_size"] {
        assert!(shape(name, AppKind::Counter).check().is_ok(), "{name}");
    }
    for labels in [vec!["__a"], vec!["a", "a"], vec!["a:b"], vec!["l"; 17]] {
        let labels = labels.into_iter().map(String::from).collect();
        assert!(Shape { labels, ..shape("c", AppKind::Counter) }.check().is_err());
    }
    for bounds in [vec![2.0, 1.0], vec![1.0, 1.0], vec![f64::NAN], vec![f64::INFINITY]] {
        assert!(Shape { bounds, ..shape("h", AppKind::Histogram) }.check().is_err());
    }
}

/// As prometheus_client writes it.
fn mirror_entry(key: &str, value: f64, at: f64) -> Vec<u8> {
    let mut padded = key.as_bytes().to_vec();
    padded.resize(key.len() + (8 - (key.len() + 4) % 8), b' ');
    let mut bytes = i32::try_from(key.len()).unwrap().to_ne_bytes().to_vec();
    bytes.extend(padded);
    bytes.extend(value.to_ne_bytes());
    bytes.extend(at.to_ne_bytes());
    bytes
}

fn mirror_file(entries: &[Vec<u8>]) -> Vec<u8> {
    let body = entries.concat();
    let mut bytes = i32::try_from(body.len() + 8).unwrap().to_ne_bytes().to_vec();
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes.resize(bytes.len() + 100, 0);
    bytes
}

#[test]
fn files_of_prometheus_client_are_added_up_as_that_library_does() {
    let mut mirror = Mirror::new(100);
    for pid in ["1", "2"] {
        let counter = MirrorFile::named(&format!("counter_{pid}.db")).unwrap();
        let key = r#"["hits", "hits_total", {"path": "/"}, "Hits."]"#;
        assert!(mirror.add(counter, &mirror_file(&[mirror_entry(key, 2.0, 0.0)])));
        let gauge = MirrorFile::named(&format!("gauge_livemax_{pid}.db")).unwrap();
        let key = r#"["g", "g", {}, ""]"#;
        assert!(mirror.add(gauge, &mirror_file(&[mirror_entry(key, pid.parse().unwrap(), 0.0)])));
        let gauge = MirrorFile::named(&format!("gauge_all_{pid}.db")).unwrap();
        let key = r#"["of_each", "of_each", {}, ""]"#;
        assert!(mirror.add(gauge, &mirror_file(&[mirror_entry(key, 9.0, 0.0)])));
    }
    let found = numbers(&mirror.families());
    let expected = [("", 2.0), ("path=/", 4.0), ("pid=1", 9.0), ("pid=2", 9.0)];
    assert_eq!(found, expected.map(|(labels, value)| (labels.to_owned(), value)));
}

#[test]
fn other_files_are_none_of_that_librarys() {
    for name in ["counter.db", "counter_x.db", "gauge_1.db", "gauge_odd_1.db", "info_1.db", "a_1"] {
        assert_eq!(MirrorFile::named(name), None, "{name}");
    }
}

proptest! {
    #[test]
    fn no_bytes_of_a_file_are_too_much(
        used in any::<i32>(), bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut file = used.to_ne_bytes().to_vec();
        file.extend(bytes);
        let mut mirror = Mirror::new(100);
        mirror.add(MirrorFile::named("histogram_1.db").unwrap(), &file);
        let _ = mirror.families();
    }

    #[test]
    fn no_rows_are_too_much(
        rows in prop::collection::vec(
            (prop::collection::vec(prop_oneof![Just(b'F'), Just(b'S'), 0..5_u8, any::<u8>()], 0..20),
             prop::collection::vec(0..6_u8, 0..20),
             prop::collection::vec(any::<u64>(), 0..4)), 0..20),
    ) {
        let mut totals = totals();
        totals.fold(worker(0), &refer(&rows), true);
        look(&mut totals, &[(worker(1), &rows)]);
    }
}

#[test]
fn a_generation_that_is_given_up_takes_no_total_away() {
    let counter = one(&shape("x", AppKind::Counter), &[7.0]);
    let other = one(&shape("x", AppKind::Gauge), &[2.0, 1.0]);
    let fresh = one(&shape("y", AppKind::Gauge), &[2.0, 1.0]);
    let later = one(&shape("y", AppKind::Counter), &[3.0]);
    let mut totals = totals();
    // What has ended is in the base.
    totals.fold(worker(0), &refer(&counter), true);
    let candidate = Source { generation: 2, ..worker(2) };
    let living = [(worker(1), &counter), (candidate, &other), (candidate, &fresh)];
    look(&mut totals, &living);
    totals.fold(candidate, &refer(&other), true);
    let found = look(&mut totals, &[(worker(1), &counter), (worker(3), &later)]);
    assert_eq!(found[0].kind, Kind::Counter);
    assert_eq!(numbers(&found[..1]), [(String::new(), 14.0)]);
    assert_eq!(
        (&*found[1].name, found[1].kind),
        ("y", Kind::Counter),
        "a name it had for itself is free"
    );
    assert_eq!(lost(&totals, Loss::Clash), 0);
}
