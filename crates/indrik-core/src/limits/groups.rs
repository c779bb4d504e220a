//! Control groups (version 2): where this server's is, and how it is divided.
//!
//! The group that the server was started in is the base. A group with limits for others may hold no
//! processes itself, so the server moves one down:
//!
//! ```text
//! base                   delegated to us
//!  ├─ indrik.server      supervisor, front, zygotes
//!  └─ indrik.workers     cpu.weight, against indrik.server's 100
//!      ├─ worker-4711    memory.high, memory.max
//!      └─ worker-4712
//! ```

use std::fmt;
use std::path::{Path, PathBuf};

use crate::memory::cgroup::version_2_mount;
use crate::settings::Config;

/// The group of supervisor, front and zygotes.
pub const SERVER_GROUP: &str = "indrik.server";
/// The group of all workers' groups.
pub const WORKERS_GROUP: &str = "indrik.workers";
/// What the name of a worker's group begins with; its process number follows.
pub const WORKER_PREFIX: &str = "worker-";
/// Steps up the tree of processes that are looked at: one that is deeper is a stranger.
const ANCESTORS_MAX: usize = 64;
/// Strangers that a message names.
const NAMED_MAX: usize = 5;

/// What control groups are to limit; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupLimits {
    /// Bytes above which a worker is slowed down and its memory reclaimed.
    pub memory_high: u64,
    /// Bytes above which the kernel kills in the worker's group.
    pub memory_max: u64,
    /// The share of all workers together, against the server's 100.
    pub cpu_weight: u32,
}

impl GroupLimits {
    /// As the settings have them.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            memory_high: config.worker_memory_high,
            memory_max: config.worker_memory_max,
            cpu_weight: config.worker_cpu_weight,
        }
    }

    /// The names of the settings that are set.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let all = [
            ("worker_memory_high", self.memory_high > 0),
            ("worker_memory_max", self.memory_max > 0),
            ("worker_cpu_weight", self.cpu_weight > 0),
        ];
        all.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect()
    }

    /// Nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether each worker has a limit of its own.
    #[must_use]
    pub fn limits_memory(&self) -> bool {
        self.memory_high > 0 || self.memory_max > 0
    }

    /// The kernel's controllers that are needed.
    #[must_use]
    pub fn controllers(&self) -> Vec<&'static str> {
        let all = [("cpu", self.cpu_weight > 0), ("memory", self.limits_memory())];
        all.iter().filter(|(_, needed)| *needed).map(|(name, _)| *name).collect()
    }

    /// What is written into a worker's group: file and text.
    #[must_use]
    pub fn of_a_worker(&self) -> Vec<(&'static str, String)> {
        let all = [("memory.high", self.memory_high), ("memory.max", self.memory_max)];
        let set = all.iter().filter(|(_, bytes)| *bytes > 0);
        set.map(|(file, bytes)| (*file, bytes.to_string())).collect()
    }

    /// What is written into the group of all workers.
    #[must_use]
    pub fn of_all_workers(&self) -> Vec<(&'static str, String)> {
        if self.cpu_weight == 0 {
            return Vec::new();
        }
        vec![("cpu.weight", self.cpu_weight.to_string())]
    }
}

/// Why this process's group cannot be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoGroup {
    /// The kernel or its set-up has version 1 only.
    NoVersion2,
    /// `/proc/self/mountinfo` shows no such mount.
    NotMounted,
    /// The group lies outside of what is mounted here.
    Outside,
}

impl fmt::Display for NoGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoVersion2 => "this system has no control groups of version 2",
            Self::NotMounted => "control groups of version 2 are not mounted here",
            Self::Outside => "the group of this process lies outside of what is mounted here",
        })
    }
}

impl std::error::Error for NoGroup {}

/// The directory of this process's group, from the texts of `/proc/self/cgroup` and
/// `/proc/self/mountinfo`.
///
/// # Errors
/// When there is none to be seen.
pub fn own_group(cgroup: &str, mountinfo: &str) -> Result<PathBuf, NoGroup> {
    let path =
        cgroup.lines().find_map(|line| line.strip_prefix("0::")).ok_or(NoGroup::NoVersion2)?;
    let (root, point) = version_2_mount(mountinfo).ok_or(NoGroup::NotMounted)?;
    let below = Path::new(path).strip_prefix(&root).map_err(|_| NoGroup::Outside)?;
    if below.components().any(|part| part.as_os_str() == "..") {
        return Err(NoGroup::Outside);
    }
    // Joining nothing would add a slash.
    Ok(if below.as_os_str().is_empty() { point } else { point.join(below) })
}

/// The base, from the group of this process: a server that another one started is in that one's group.
#[must_use]
pub fn base_of(own: &Path) -> PathBuf {
    match own.parent() {
        Some(parent) if own.file_name().is_some_and(|name| name == SERVER_GROUP) => parent.into(),
        Some(_) | None => own.to_owned(),
    }
}

/// The controllers that are needed and not there, by the text of `cgroup.controllers`.
#[must_use]
pub fn missing(needed: &[&'static str], available: &str) -> Vec<&'static str> {
    let is_there = |name: &str| available.split_whitespace().any(|word| word == name);
    needed.iter().filter(|name| !is_there(name)).copied().collect()
}

/// What is written into `cgroup.subtree_control` to hand controllers down.
#[must_use]
pub fn handed_down(controllers: &[&str]) -> String {
    controllers.iter().map(|name| format!("+{name}")).collect::<Vec<_>>().join(" ")
}

/// The processes of a group, by the text of `cgroup.procs`: this server's, and strangers, who are not
/// ours to move. 0 stands for a process that cannot be seen from here.
#[must_use]
pub fn told_apart(
    processes: &str,
    own: u32,
    parent_of: impl Fn(u32) -> Option<u32>,
) -> (Vec<u32>, Vec<u32>) {
    let is_ours = |pid: u32| {
        let line = std::iter::successors(Some(pid), |pid| parent_of(*pid));
        line.take(ANCESTORS_MAX).any(|pid| pid == own)
    };
    processes.lines().filter_map(|line| line.trim().parse().ok()).partition(|pid| is_ours(*pid))
}

/// How a message names strangers.
#[must_use]
pub fn named(strangers: &[u32]) -> String {
    let names: Vec<_> = strangers.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    let more = if strangers.len() > NAMED_MAX { ", …" } else { "" };
    format!("{}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNT: &str = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

    fn group(cgroup: &str, mountinfo: &str) -> Result<String, NoGroup> {
        own_group(cgroup, mountinfo).map(|path| path.to_string_lossy().into_owned())
    }

    #[test]
    fn the_group_is_below_the_mount_of_version_2() {
        let unit = "/sys/fs/cgroup/system.slice/shop.service";
        assert_eq!(group("0::/system.slice/shop.service\n", MOUNT), Ok(unit.to_owned()));
        assert_eq!(group("0::/\n", MOUNT), Ok("/sys/fs/cgroup".to_owned()));
        let hybrid = "5 1 0:9 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      6 1 0:10 / /sys/fs/cgroup/my\\040own rw shared:9 master:1 - cgroup2 none rw\n";
        let found = group("4:memory:/elsewhere\n0::/a\n", hybrid);
        assert_eq!(found, Ok("/sys/fs/cgroup/my own/a".to_owned()));
    }

    #[test]
    fn a_mount_of_a_part_of_the_tree_shows_that_part() {
        let part = "31 23 0:28 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(group("0::/docker/1/app\n", part), Ok("/sys/fs/cgroup/app".to_owned()));
        assert_eq!(group("0::/docker/2\n", part), Err(NoGroup::Outside));
        assert_eq!(group("0::/../other\n", MOUNT), Err(NoGroup::Outside));
    }

    #[test]
    fn without_version_2_there_is_no_group() {
        assert_eq!(group("4:memory:/a\n", MOUNT), Err(NoGroup::NoVersion2));
        let old = "5 1 0:9 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert_eq!(group("0::/a\n", old), Err(NoGroup::NotMounted));
        assert_eq!(group("0::/a\n", "nonsense\n - \n"), Err(NoGroup::NotMounted));
    }

    #[test]
    fn a_server_that_another_one_started_shares_its_base() {
        let base = Path::new("/sys/fs/cgroup/shop.service");
        assert_eq!(base_of(base), base);
        assert_eq!(base_of(&base.join(SERVER_GROUP)), base);
        assert_eq!(base_of(Path::new("/")), Path::new("/"));
    }

    #[test]
    fn each_limit_needs_its_controller_and_is_written_where_it_acts() {
        let limits = GroupLimits { memory_high: 1 << 20, memory_max: 0, cpu_weight: 50 };
        assert_eq!(limits.controllers(), ["cpu", "memory"]);
        assert_eq!(limits.of_a_worker(), [("memory.high", "1048576".to_owned())]);
        assert_eq!(limits.of_all_workers(), [("cpu.weight", "50".to_owned())]);
        assert_eq!(limits.names(), ["worker_memory_high", "worker_cpu_weight"]);
        assert!(!limits.is_empty() && GroupLimits::default().is_empty());
        assert_eq!(GroupLimits { cpu_weight: 50, ..GroupLimits::default() }.controllers(), ["cpu"]);
    }

    #[test]
    fn controllers_are_compared_by_whole_words() {
        assert_eq!(missing(&["cpu", "memory"], "cpuset cpu io\n"), ["memory"]);
        assert_eq!(missing(&["cpu"], "cpuset memory\n"), ["cpu"]);
        assert_eq!(handed_down(&["cpu", "memory"]), "+cpu +memory");
    }

    #[test]
    fn only_this_server_and_what_it_started_is_moved() {
        let parents = |pid| match pid {
            7 => Some(1),
            8 => Some(7),
            9 => Some(8),
            _ => None,
        };
        assert_eq!(told_apart("7\n8\n9\n", 7, parents), (vec![7, 8, 9], vec![]));
        assert_eq!(told_apart("1\n7\n12\n0\n", 7, parents), (vec![7], vec![1, 12, 0]));
        assert_eq!(named(&[1, 2, 3, 4, 5, 6]), "1, 2, 3, 4, 5, …");
    }

    #[test]
    fn processes_that_are_each_others_parents_are_strangers() {
        assert_eq!(
            told_apart("3\n", 7, |pid| Some(if pid == 3 { 4 } else { 3 })),
            (vec![], vec![3])
        );
    }
}
