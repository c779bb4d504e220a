//! A profile as https://www.speedscope.app reads it.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::collapsed::Collapsed;

/// The profile under this name.
#[must_use]
pub fn speedscope(profile: &Collapsed, name: &str) -> Json {
    let mut frames = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    let (mut samples, mut weights) = (Vec::new(), Vec::new());
    for (stack, weight) in profile.stacks() {
        let mut sample = Vec::new();
        for frame in stack.split(';') {
            let at = *places.entry(frame).or_insert_with(|| {
                frames.push(shown(frame));
                frames.len() - 1
            });
            sample.push(at);
        }
        samples.push(sample);
        weights.push(weight);
    }
    json!({
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "shared": {"frames": frames},
        "profiles": [{
            "type": "sampled",
            "name": name,
            "unit": "microseconds",
            "startValue": 0,
            "endValue": profile.total(),
            "samples": samples,
            "weights": weights,
        }],
        "name": name,
        "activeProfileIndex": 0,
        "exporter": "indrik",
    })
}

/// `function (file:line)`, taken apart.
fn shown(frame: &str) -> Json {
    let place = frame.strip_suffix(')').and_then(|rest| rest.rsplit_once(" ("));
    let place = place.and_then(|(name, place)| Some((name, place.rsplit_once(':')?)));
    match place.and_then(|(name, (file, line))| Some((name, file, line.parse::<u32>().ok()?))) {
        Some((name, file, line)) => json!({"name": name, "file": file, "line": line}),
        None => json!({"name": frame}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stack_is_a_sample_of_frames_that_stand_once() {
        let profile =
            Collapsed::parse("main (a.py:1);work (b.py:7) 20\nmain (a.py:1) 5\n").unwrap();
        let made = speedscope(&profile, "it");
        assert_eq!(
            made["shared"]["frames"],
            json!([{"name": "main", "file": "a.py", "line": 1}, {"name": "work", "file": "b.py", "line": 7}])
        );
        assert_eq!(made["profiles"][0]["samples"], json!([[0], [0, 1]]));
        assert_eq!(made["profiles"][0]["weights"], json!([5, 20]));
        assert_eq!(made["profiles"][0]["endValue"], 25);
    }
}
