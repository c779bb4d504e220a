//! What a process may take: the kernel's limits, its niceness, its turn when memory runs out.

use std::fs;
use std::io;

use rustix::process::{self, Pid, Resource, Rlimit};

/// The resource of that name, as `setrlimit(2)` has it in small letters.
#[must_use]
pub fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rtprio" => Resource::Rtprio,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return None,
    })
}

/// Sets both limits of a process; `None` is no limit.
///
/// # Errors
/// When this process may not, or there is no such process.
pub fn limit(pid: u32, of: Resource, soft: Option<u64>, hard: Option<u64>) -> io::Result<()> {
    process::prlimit(Some(to_pid(pid)?), of, Rlimit { current: soft, maximum: hard })?;
    Ok(())
}

/// This process's own hard limit; `None` is none.
#[must_use]
pub fn hard_limit(of: Resource) -> Option<u64> {
    process::getrlimit(of).maximum
}

/// Whether this process may give its children this hard limit. Found out by taking it for a moment:
/// which right it takes differs between kernels, containers and resources.
#[must_use]
pub fn may_have_hard_limit(of: Resource, hard: Option<u64>) -> bool {
    let before = process::getrlimit(of);
    let above = |one: Option<u64>, other: Option<u64>| match (one, other) {
        (Some(one), Some(other)) => one > other,
        (one, other) => one.is_none() && other.is_some(),
    };
    if !above(hard, before.maximum) {
        return true;
    }
    let may = process::setrlimit(of, Rlimit { maximum: hard, ..before }).is_ok();
    // Lowering a limit is always allowed.
    let _ = process::setrlimit(of, before);
    may
}

/// Sets the niceness of a process with one thread.
///
/// # Errors
/// When this process may not, or there is no such process.
pub fn set_niceness(pid: u32, niceness: i32) -> io::Result<()> {
    Ok(process::setpriority_process(Some(to_pid(pid)?), niceness)?)
}

/// Whether this process may give its children that niceness. Found out by taking it for a moment.
#[must_use]
pub fn may_have_niceness(niceness: i32) -> bool {
    let Ok(before) = process::getpriority_process(None) else { return false };
    if niceness >= before {
        return true;
    }
    let may = process::setpriority_process(None, niceness).is_ok();
    // Giving way to others is always allowed.
    let _ = process::setpriority_process(None, before);
    may
}

/// This process's turn when memory runs out (`oom_score_adj`).
///
/// # Errors
/// When /proc does not say.
pub fn oom_score_adj() -> io::Result<i32> {
    let text = fs::read_to_string("/proc/self/oom_score_adj")?;
    text.trim().parse().map_err(io::Error::other)
}

/// Sets the turn of another process when memory runs out.
///
/// # Errors
/// When /proc cannot be written, this process may not, or there is no such process.
pub fn set_oom_score_adj(pid: u32, score: i32) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/oom_score_adj"), score.to_string())
}

/// Makes the calling thread, and all it starts, unable to gain rights by running a program
/// (`no_new_privs`), for good.
///
/// # Errors
/// When the system forbids it.
pub fn gain_no_rights() -> io::Result<()> {
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// The parent of a process, if it is there.
#[must_use]
pub fn parent_of(pid: u32) -> Option<u32> {
    parent_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name of a program may hold spaces and parentheses, so fields are counted from its last one.
fn parent_in(stat: &str) -> Option<u32> {
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

fn to_pid(pid: u32) -> io::Result<Pid> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    raw.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_limit_may_be_had_and_asking_changes_nothing() {
        let before = process::getrlimit(Resource::Nofile);
        assert!(may_have_hard_limit(Resource::Nofile, Some(16)));
        // Whoever may, may; the answer differs between machines.
        let _ = may_have_hard_limit(Resource::Nofile, before.maximum.map(|most| most + 1));
        let after = process::getrlimit(Resource::Nofile);
        assert_eq!((after.current, after.maximum), (before.current, before.maximum));
    }

    #[test]
    fn no_limit_is_more_than_any() {
        let before = process::getrlimit(Resource::Core);
        if before.maximum.is_none() {
            assert!(may_have_hard_limit(Resource::Core, None));
        }
        assert_eq!(hard_limit(Resource::Core), before.maximum);
    }

    #[test]
    fn asking_for_a_niceness_changes_nothing() {
        let before = process::getpriority_process(None).unwrap();
        assert!(may_have_niceness(19));
        let _ = may_have_niceness(-20);
        assert_eq!(process::getpriority_process(None).unwrap(), before);
    }

    #[test]
    fn a_parent_is_found_behind_every_name() {
        assert_eq!(parent_in("12 (a) b (c)) S 7 12 12 0"), Some(7));
        assert_eq!(parent_in("12 (a"), None);
        assert_eq!(parent_of(std::process::id()), Some(crate::process::parent()));
        assert!(oom_score_adj().is_ok());
    }
}
