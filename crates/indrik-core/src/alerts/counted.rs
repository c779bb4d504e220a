//! What was counted until a moment, as alerts need it, read from the families that a scraper would get.

use std::collections::BTreeMap;

use crate::metrics::{Distribution, Family, Sample, Value};

/// Routes that are told apart; requests of others count for the server as a whole.
const ROUTES_MAX: usize = 1_000;
/// Reasons, and disks: more are not told apart.
const WORDS_MAX: usize = 64;
/// Answers that an operator wanted.
const ON_PURPOSE: [&str; 2] = ["paused", "maintenance"];
/// Refusals for want of something.
const LACKING: [&str; 5] =
    ["queue_full", "queue_timeout", "no_worker", "no_memory", "no_descriptor"];

/// What was counted until a moment. What is not known is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    pub(super) cpu_s: Option<f64>,
    pub(super) cpu_allowed: Option<f64>,
    pub(super) memory_used: Option<f64>,
    pub(super) memory_allowed: Option<f64>,
    pub(super) requests: f64,
    /// With a status from 500, or none.
    pub(super) failed: f64,
    /// Refused because an operator wanted it.
    pub(super) on_purpose: f64,
    /// Of each route: requests, and those with a status from 500.
    pub(super) routes: BTreeMap<String, (f64, f64)>,
    /// Requests by the native bucket of their duration.
    pub(super) times: BTreeMap<i32, u64>,
    pub(super) time_sum: f64,
    pub(super) waiting: Option<f64>,
    pub(super) oldest_wait_s: f64,
    pub(super) refused: BTreeMap<String, f64>,
    pub(super) worker_ends: f64,
    pub(super) breaker: Option<f64>,
    pub(super) ready: Option<f64>,
    pub(super) reloads_failed: f64,
    pub(super) throttled_s: Option<f64>,
    /// Of each disk: free and all, bytes.
    pub(super) disks: BTreeMap<String, (f64, f64)>,
    /// Seconds since 1970.
    pub(super) certificate_ends: Option<f64>,
}

impl Counted {
    /// What these families say.
    #[must_use]
    pub fn of(families: &[Family]) -> Self {
        let mut counted = Self::default();
        for family in families {
            for sample in &family.samples {
                match &sample.value {
                    Value::Number(number) if number.is_finite() => {
                        counted.take(&family.name, sample, *number);
                    }
                    Value::Distribution(times)
                        if family.name == "indrik_http_request_duration_seconds" =>
                    {
                        counted.take_times(times);
                    }
                    Value::Number(_) | Value::Distribution(_) | Value::Sum { .. } => {}
                }
            }
        }
        counted
    }

    fn take(&mut self, family: &str, sample: &Sample, number: f64) {
        let label = |name: &str| label(sample, name);
        match family {
            "indrik_cpu_seconds" => self.cpu_s = Some(number),
            "indrik_cpu_allowed" => self.cpu_allowed = Some(number),
            "indrik_cpu_throttled_seconds" => self.throttled_s = Some(number),
            "indrik_memory_used_bytes" => self.memory_used = Some(number),
            "indrik_memory_allowed_bytes" => self.memory_allowed = Some(number),
            "indrik_http_requests" => {
                self.take_requests(label("route"), label("class"), number);
            }
            "indrik_http_refused" => self.take_refused(label("reason"), number),
            "indrik_http_requests_waiting" => {
                self.waiting = Some(self.waiting.unwrap_or_default() + number);
            }
            "indrik_http_requests_oldest_waiting_seconds" => {
                self.oldest_wait_s = self.oldest_wait_s.max(number);
            }
            "indrik_worker_ends" if is_own_end(label("reason")) => self.worker_ends += number,
            "indrik_breaker_open" => self.breaker = Some(number),
            "indrik_ready" => self.ready = Some(number),
            "indrik_reloads" if label("result") == "failed" => self.reloads_failed += number,
            "indrik_disk_free_bytes" => {
                self.disk(label("disk")).into_iter().for_each(|disk| disk.0 = number);
            }
            "indrik_disk_size_bytes" => {
                self.disk(label("disk")).into_iter().for_each(|disk| disk.1 = number);
            }
            "indrik_tls_certificate_expiry_timestamp_seconds" => {
                self.certificate_ends = Some(number);
            }
            _ => {}
        }
    }

    fn take_requests(&mut self, route: &str, class: &str, number: f64) {
        self.requests += number;
        if matches!(class, "5xx" | "none") {
            self.failed += number;
        }
        let errors = if class == "5xx" { number } else { 0.0 };
        if let Some(of_route) = place(&mut self.routes, route, ROUTES_MAX) {
            of_route.0 += number;
            of_route.1 += errors;
        }
    }

    fn take_refused(&mut self, reason: &str, number: f64) {
        if ON_PURPOSE.contains(&reason) {
            self.on_purpose += number;
        }
        if LACKING.contains(&reason)
            && let Some(count) = place(&mut self.refused, reason, WORDS_MAX)
        {
            *count += number;
        }
    }

    fn take_times(&mut self, times: &Distribution) {
        self.time_sum += times.sum;
        let Some(native) = &times.native else { return };
        *self.times.entry(i32::MIN).or_default() += native.zero_count;
        for (bucket, count) in &native.buckets {
            *self.times.entry(*bucket).or_default() += count;
        }
    }

    fn disk(&mut self, name: &str) -> Option<&mut (f64, f64)> {
        place(&mut self.disks, name, WORDS_MAX)
    }

    /// Something that only grows has become less: what counts has begun anew.
    #[must_use]
    pub(super) fn is_behind(&self, before: &Self) -> bool {
        self.requests < before.requests
            || self.worker_ends < before.worker_ends
            || self.reloads_failed < before.reloads_failed
    }
}

/// The place of a name, if there is one or room for one.
fn place<'a, T: Default>(
    map: &'a mut BTreeMap<String, T>,
    name: &str,
    most: usize,
) -> Option<&'a mut T> {
    if !map.contains_key(name) {
        if map.len() >= most {
            return None;
        }
        map.insert(name.to_owned(), T::default());
    }
    map.get_mut(name)
}

/// A worker's end that nobody wanted.
fn is_own_end(reason: &str) -> bool {
    reason.starts_with("crash:")
        || reason.starts_with("exit:")
        || matches!(
            reason,
            "oom" | "timeout" | "deadlock" | "channel_broken" | "boot_failed" | "boot_timeout"
        )
}

fn label<'a>(sample: &'a Sample, name: &str) -> &'a str {
    sample.labels.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}
