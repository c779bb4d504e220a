//! The kernel's files about memory, as text. What is not there is `None`: kernels, containers and
//! rights differ, and nothing here is worth failing for. `indrik-core` makes sense of the texts.

use std::fs;
use std::path::Path;

/// How many file descriptors a process has open; `None` if /proc hides it, or it has gone.
#[must_use]
pub fn descriptors(pid: u32) -> Option<u64> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    Some(entries.count() as u64)
}

/// Resident and other memory of a process, in pages.
#[must_use]
pub fn statm(pid: u32) -> Option<String> {
    of_process(pid, "statm")
}

/// All mappings of a process, summed up. The kernel walks over every page for it.
#[must_use]
pub fn smaps_rollup(pid: u32) -> Option<String> {
    of_process(pid, "smaps_rollup")
}

/// How long a process has run, among other things.
#[must_use]
pub fn stat(pid: u32) -> Option<String> {
    of_process(pid, "stat")
}

/// How a process's main thread is, among other things how often it went to sleep.
#[must_use]
pub fn status(pid: u32) -> Option<String> {
    of_process(pid, "status")
}

/// How long a process's main thread ran and waited.
#[must_use]
pub fn schedstat(pid: u32) -> Option<String> {
    of_process(pid, "schedstat")
}

/// The control groups of a process.
#[must_use]
pub fn control_groups(pid: u32) -> Option<String> {
    of_process(pid, "cgroup")
}

/// What is mounted where, as this process sees it.
#[must_use]
pub fn mounts() -> Option<String> {
    file(Path::new("/proc/self/mountinfo"))
}

/// The machine's memory.
#[must_use]
pub fn machine() -> Option<String> {
    file(Path::new("/proc/meminfo"))
}

/// What the kernel counts about memory, of the whole machine.
#[must_use]
pub fn counters() -> Option<String> {
    file(Path::new("/proc/vmstat"))
}

/// Any of the kernel's files.
#[must_use]
pub fn file(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Bytes in a page.
#[must_use]
pub fn page_bytes() -> u64 {
    // SAFETY: it reads a constant of the system and no memory of ours.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}

fn of_process(pid: u32, name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/{name}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_read_and_number_zero_cannot() {
        let own = std::process::id();
        assert!(statm(own).unwrap().split(' ').count() >= 2);
        assert!(control_groups(own).is_some() && mounts().is_some() && machine().is_some());
        assert_eq!(statm(0), None);
        assert_eq!(file(Path::new("/proc/no-such-file")), None);
        assert!(page_bytes().is_power_of_two());
    }
}
