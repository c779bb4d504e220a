//! What the kernel's files say of processors, of waiting, and of processes: texts in, numbers out.

/// Processors' time that a control group of version 2 may use in a second (`cpu.max`); `None`: no limit.
#[must_use]
pub fn quota(cpu_max: &str) -> Option<f64> {
    let mut words = cpu_max.split_ascii_whitespace().map(str::parse::<f64>);
    let (quota, period) = (words.next()?.ok()?, words.next()?.ok()?);
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

/// The same of version 1 (`cpu.cfs_quota_us`, `cpu.cfs_period_us`).
#[must_use]
pub fn quota_of_one(quota: &str, period: &str) -> Option<f64> {
    let (quota, period) = (quota.trim().parse::<f64>().ok()?, period.trim().parse::<f64>().ok()?);
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

/// For how many seconds a group was held back because it had used its quota (`cpu.stat` of both versions).
#[must_use]
pub fn throttled(cpu_stat: &str) -> Option<f64> {
    let micros = keyed(cpu_stat, "throttled_usec").map(|micros| micros / 1e6);
    micros.or_else(|| keyed(cpu_stat, "throttled_time").map(|nanos| nanos / 1e9))
}

/// For how many seconds some, and all, processes waited for something (`cpu.pressure` and the like).
#[must_use]
pub fn stalled(pressure: &str) -> Option<(f64, f64)> {
    let total = |kind: &str| {
        let line = pressure.lines().find_map(|line| line.strip_prefix(kind))?;
        let word = line.split_ascii_whitespace().find_map(|word| word.strip_prefix("total="))?;
        word.parse::<f64>().ok().map(|micros| micros / 1e6)
    };
    Some((total("some ")?, total("full ").unwrap_or(0.0)))
}

/// What of a group's memory the kernel could take away at once, in bytes (`memory.stat` of both versions): files that
/// were not read lately.
#[must_use]
pub fn reclaimable(memory_stat: &str) -> Option<f64> {
    keyed(memory_stat, "total_inactive_file").or_else(|| keyed(memory_stat, "inactive_file"))
}

/// What the machine has for whoever asks, in bytes (`/proc/meminfo`).
#[must_use]
pub fn available(meminfo: &str) -> Option<f64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib * 1024.0)
}

/// The kernel tells processes' times in hundredths of a second, whatever its own clock is.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processors' time of a process and of the children that it has waited for, in seconds (`/proc/PID/stat`). Its name
/// may have any characters, so what counts begins behind the last bracket.
#[must_use]
pub fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let times = fields.split_ascii_whitespace().skip(11).take(4);
    let times: Vec<u64> = times.map_while(|time| time.parse().ok()).collect();
    (times.len() == 4).then(|| times.iter().sum::<u64>() as f64 / TICKS_PER_SECOND)
}

fn keyed(text: &str, key: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_told_in_processors() {
        assert_eq!(quota("150000 100000\n"), Some(1.5));
        assert_eq!(quota("max 100000\n"), None);
        assert_eq!(quota("1"), None);
        assert_eq!(quota_of_one("50000\n", "100000\n"), Some(0.5));
        assert_eq!(quota_of_one("-1\n", "100000\n"), None);
        assert_eq!(quota_of_one("5", "0"), None);
    }

    #[test]
    fn waiting_is_told_in_seconds() {
        assert_eq!(throttled("usage_usec 5\nnr_throttled 1\nthrottled_usec 2500000\n"), Some(2.5));
        assert_eq!(throttled("nr_throttled 1\nthrottled_time 1500000000\n"), Some(1.5));
        assert_eq!(throttled("usage_usec 5\n"), None);
        let pressure = "some avg10=1.50 avg60=0.10 avg300=0.00 total=2200000\n\
                        full avg10=0.25 avg60=0.00 avg300=0.00 total=100000\n";
        assert_eq!(stalled(pressure), Some((2.2, 0.1)));
        assert_eq!(stalled("some total=1000000"), Some((1.0, 0.0)));
        assert_eq!(stalled(""), None);
    }

    #[test]
    fn memory_that_can_be_had_is_read() {
        assert_eq!(reclaimable("inactive_file 7\ntotal_inactive_file 9\n"), Some(9.0));
        assert_eq!(reclaimable("anon 1\ninactive_file 7\n"), Some(7.0));
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:   2 kB\n"), Some(2048.0));
    }

    #[test]
    fn a_process_with_an_odd_name_is_read_behind_it() {
        let stat = "42 (a) b) (c) S 1 42 42 0 -1 4194304 1 2 3 4 50 60 7 8 20 0 1 0 99\n";
        assert_eq!(cpu_seconds(stat), Some(1.25));
        assert_eq!(cpu_seconds("42 (a) S 1"), None);
    }
}
