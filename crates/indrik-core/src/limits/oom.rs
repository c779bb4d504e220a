//! Whom the kernel kills first when memory runs out: workers before their zygote, that before the front.

/// The most a score can be.
const SCORE_MAX: i32 = 1000;
/// How much likelier workers are killed than the front, unless a setting says a score.
const WORKERS_ABOVE: i32 = 100;

/// Scores (`oom_score_adj`) of the processes below the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scores {
    /// A zygote's, if it is to be another than the front's.
    pub zygote: Option<i32>,
    /// A worker's.
    pub worker: i32,
}

/// The scores below a front with the score `own`; `wanted` is the setting.
///
/// Whoever loses a worker loses its requests, whoever loses a zygote waits for the next one; with the
/// front goes everything.
#[must_use]
pub fn scores(own: i32, wanted: Option<i32>) -> Scores {
    let worker = wanted.unwrap_or_else(|| own.saturating_add(WORKERS_ABOVE)).min(SCORE_MAX);
    let between = own + (worker - own) / 2;
    Scores { zygote: (between > own).then_some(between), worker }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_die_first_then_the_zygote_then_the_front() {
        assert_eq!(scores(0, None), Scores { zygote: Some(50), worker: 100 });
        assert_eq!(scores(-1000, None), Scores { zygote: Some(-950), worker: -900 });
        assert_eq!(scores(0, Some(500)), Scores { zygote: Some(250), worker: 500 });
    }

    #[test]
    fn a_front_that_dies_first_of_all_anyway_leaves_nothing_to_add() {
        assert_eq!(scores(1000, None), Scores { zygote: None, worker: 1000 });
        assert_eq!(scores(950, None), Scores { zygote: Some(975), worker: 1000 });
    }

    #[test]
    fn workers_that_are_to_be_spared_do_not_make_the_zygote_so() {
        assert_eq!(scores(0, Some(-500)), Scores { zygote: None, worker: -500 });
    }
}
