//! The numbers that are remembered, and how those of a longer step come from shorter ones.

/// What stands for several numbers of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fold {
    /// Their mean: rates, shares, sizes.
    Mean,
    /// The largest: times and queues, of which a mean would hide what hurt.
    Peak,
    /// The smallest: what there should be.
    Low,
}

macro_rules! series {
    ($($(#[$doc:meta])* $variant:ident $name:literal $fold:ident;)*) => {
        /// A number that is remembered.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Series { $($(#[$doc])* $variant,)* }

        impl Series {
            /// All of them.
            pub const ALL: [Self; [$(Self::$variant),*].len()] = [$(Self::$variant),*];

            /// Its name, on the page and in what is handed on.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            pub(super) const fn fold(self) -> Fold {
                match self { $(Self::$variant => Fold::$fold,)* }
            }
        }
    };
}

series! {
    /// Requests that ended, in a second.
    Requests "requests" Mean;
    /// Of them with a status from 400 to 499.
    Errors4xx "errors_4xx" Mean;
    /// Of them with a status from 500, or none.
    Errors5xx "errors_5xx" Mean;
    /// Requests that the front refused, in a second.
    Refused "refused" Mean;
    /// Half of the requests took no longer, in seconds.
    P50 "p50" Peak;
    /// 95 of 100 did.
    P95 "p95" Peak;
    /// 99 of 100 did.
    P99 "p99" Peak;
    /// The mean time of a request before it was whole, in seconds.
    PhaseClient "phase_client" Mean;
    /// The mean time that it waited, in the queue and in a ring.
    PhaseQueue "phase_queue" Mean;
    /// The mean time that the application had it.
    PhaseApp "phase_app" Mean;
    /// The mean time that its client took for the answer.
    PhaseAnswer "phase_answer" Mean;
    /// Requests that wait for a worker.
    Waiting "waiting" Peak;
    /// For how long the oldest of them has.
    Oldest "oldest" Peak;
    /// Requests with workers.
    InFlight "in_flight" Peak;
    /// Open connections.
    Connections "connections" Peak;
    /// Open WebSockets.
    WebSockets "websockets" Peak;
    /// Bytes from clients, in a second.
    BytesIn "bytes_in" Mean;
    /// Bytes to clients.
    BytesOut "bytes_out" Mean;
    /// The share of their time in which workers ran requests.
    Busy "busy" Mean;
    /// Processor seconds in a second: workers.
    CpuWorkers "cpu_workers" Mean;
    /// Processor seconds in a second: the front and the supervisor.
    CpuFront "cpu_front" Mean;
    /// The share of time that the control group was held back.
    Throttled "throttled" Mean;
    /// Resident memory of all workers together.
    Rss "rss" Peak;
    /// Their proportional share of it.
    Pss "pss" Peak;
    /// What the front holds for clients.
    FrontMemory "front_memory" Peak;
    /// Memory of the control group or machine, as a share of what is allowed.
    MemoryShare "memory_share" Peak;
    /// Workers that are ready.
    WorkersReady "workers_ready" Low;
    /// Workers that are wanted.
    WorkersWanted "workers_wanted" Low;
    /// The largest share of time that an event loop was blocked.
    LoopBlocked "loop_blocked" Peak;
    /// The largest share of time that a GIL was kept.
    GilBlocked "gil_blocked" Peak;
    /// Workers that ended and should not have.
    Crashes "crashes" Mean;
}

/// How many there are.
pub(super) const COUNT: usize = Series::ALL.len();

/// The numbers of one moment. What is not known is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Row([f32; COUNT]);

impl Default for Row {
    fn default() -> Self {
        Self([f32::NAN; COUNT])
    }
}

impl Row {
    /// Sets a number. One that is none, or below zero, is missing.
    pub fn set(&mut self, series: Series, value: f64) {
        #[expect(clippy::cast_possible_truncation, reason = "seven digits are enough for a chart")]
        let short = value as f32;
        self.0[series as usize] = known(short);
    }

    /// A number, if it is known.
    #[must_use]
    pub fn get(&self, series: Series) -> Option<f32> {
        let value = self.0[series as usize];
        (!value.is_nan()).then_some(value)
    }
}

/// The number, or that there is none.
pub(super) fn known(value: f32) -> f32 {
    if value.is_finite() && value >= 0.0 { value } else { f32::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_missing() {
        let mut row = Row::default();
        for (value, kept) in
            [(f64::NAN, None), (f64::INFINITY, None), (-1.0, None), (1.5, Some(1.5))]
        {
            row.set(Series::Busy, value);
            assert_eq!(row.get(Series::Busy), kept);
        }
        assert_eq!(row.get(Series::Rss), None);
    }

    #[test]
    fn no_two_series_have_one_name() {
        let names: std::collections::BTreeSet<_> = Series::ALL.map(Series::name).into();
        assert_eq!(names.len(), COUNT);
    }
}
