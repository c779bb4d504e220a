//! An alert in words.

use std::time::Duration;

use super::row::{Row, Unit};

/// What stands for requests that no route had.
const NO_ROUTE: &str = "no route";

/// What is wrong, in a sentence.
#[must_use]
pub fn summary(row: &Row, subject: &str, value: f64, instance: &str, window: Duration) -> String {
    // What comes from outside is put in last: it may have braces of its own.
    let text = row.summary.replace("{window}", &time(window.as_secs_f64()));
    let text = text.replace("{value}", &shown(row.unit, value));
    let parts = text.split_inclusive('}').map(|part| {
        let (before, place) = part.split_at(part.find('{').unwrap_or(part.len()));
        let put_in = match place {
            "{instance}" => instance,
            "{subject}" if subject.is_empty() => NO_ROUTE,
            "{subject}" => subject,
            other => other,
        };
        format!("{before}{put_in}")
    });
    parts.collect()
}

/// A value as people want to read it.
#[must_use]
pub fn shown(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Ratio => format!("{} %", short(100.0 * value)),
        Unit::Seconds => time(value),
        Unit::Number => short(value),
    }
}

fn time(seconds: f64) -> String {
    match seconds.abs() {
        size if size < 1.0 => format!("{:.0} ms", seconds * 1e3),
        size if size < 60.0 => format!("{} s", short(seconds)),
        size if size < 3_600.0 => format!("{} min", short(seconds / 60.0)),
        size if size < 2.0 * 86_400.0 => format!("{} h", short(seconds / 3_600.0)),
        _ => format!("{} days", short(seconds / 86_400.0)),
    }
}

/// With one or two digits behind the point where they say something.
fn short(number: f64) -> String {
    let text = if number.abs() < 10.0 { format!("{number:.2}") } else { format!("{number:.1}") };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::generated::ROWS;
    use super::*;

    #[test]
    fn a_sentence_has_everything_put_in_and_takes_foreign_braces_as_they_are() {
        let row = ROWS.iter().find(|row| row.key == "route_errors").unwrap();
        let text = summary(row, "/{value}/{instance}", 0.125, "web-1", Duration::ZERO);
        assert_eq!(text, "12.5 % of the requests of /{value}/{instance} on web-1 fail");
        for row in ROWS {
            let text = summary(row, "x", 2.0, "web-1", Duration::from_secs(600));
            assert!(!text.contains(['{', '}']), "{text}");
        }
    }

    #[test]
    fn numbers_are_short() {
        for (unit, value, text) in [
            (Unit::Ratio, 0.994, "99.4 %"),
            (Unit::Ratio, 1.0, "100 %"),
            (Unit::Seconds, 0.25, "250 ms"),
            (Unit::Seconds, 90.0, "1.5 min"),
            (Unit::Seconds, 1_209_600.0, "14 days"),
            (Unit::Seconds, -7_200.0, "-2 h"),
            (Unit::Number, 7.0, "7"),
            (Unit::Number, 0.0, "0"),
        ] {
            assert_eq!(shown(unit, value), text);
        }
    }
}
