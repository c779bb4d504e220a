//! Flame graphs of profiles, and of the difference of two.

use std::io::Cursor;

use indrik_core::profile::Collapsed;
use inferno::{differential, flamegraph};

/// A profile as SVG.
///
/// # Errors
/// Why it cannot be drawn.
pub fn graph(profile: &Collapsed, title: &str) -> Result<Vec<u8>, String> {
    let text = profile.text();
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options(title), text.lines(), &mut svg).map_err(not_drawn)?;
    Ok(svg)
}

/// What has become more is red, what has become less is blue, as shares of each profile.
///
/// # Errors
/// Why it cannot be drawn.
pub fn difference(old: &Collapsed, new: &Collapsed, title: &str) -> Result<Vec<u8>, String> {
    let how = differential::Options { normalize: true, ..differential::Options::default() };
    let (old, new) = (Cursor::new(old.text()), Cursor::new(new.text()));
    let mut lines = Vec::new();
    differential::from_readers(how, old, new, &mut lines).map_err(not_drawn)?;
    let mut svg = Vec::new();
    let mut options = options(&format!("{title}: what has changed"));
    flamegraph::from_reader(&mut options, Cursor::new(lines), &mut svg).map_err(not_drawn)?;
    Ok(svg)
}

fn options(title: &str) -> flamegraph::Options<'static> {
    let mut options = flamegraph::Options::default();
    options.title = title.to_owned();
    options.count_name = "µs".to_owned();
    options
}

fn not_drawn(error: impl std::fmt::Display) -> String {
    format!("the flame graph cannot be drawn: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flame_graph_has_its_functions_and_a_comparison_has_both() {
        let old = Collapsed::parse("main (a.py:1);old (a.py:5) 50\nmain (a.py:1) 5\n")
            .unwrap_or_default();
        let new = Collapsed::parse("main (a.py:1);new (a.py:9) 50\nmain (a.py:1) 5\n")
            .unwrap_or_default();
        let text =
            |svg: Result<Vec<u8>, String>| String::from_utf8(svg.unwrap()).unwrap_or_default();
        let svg = text(graph(&new, "CPU <time>"));
        assert!(svg.contains("new (a.py:9)") && svg.contains("CPU &lt;time&gt;"), "{svg}");
        let svg = text(difference(&old, &new, "CPU time"));
        assert!(svg.contains("new (a.py:9)") && svg.contains("what has changed"), "{svg}");
    }
}
