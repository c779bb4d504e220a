//! A process's control group for memory: where it lies, and what its files say.
//!
//! Version 2 has one tree, version 1 one for memory; systems that run both keep memory in version 1.
//! A container sees a part of the tree as the whole, so paths are taken relative to what is mounted.

use std::path::{Component, Path, PathBuf};

use super::process::keyed;

/// Which of the two interfaces a group has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `memory.limit_in_bytes`, `memory.oom_control`.
    One,
    /// `memory.max`, `memory.events`.
    Two,
}

/// Where a group's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its interface.
    pub version: Version,
    /// Its directory.
    pub directory: PathBuf,
    /// Where the tree is mounted: the groups above are the directories up to here.
    pub mount: PathBuf,
}

/// The files that are read, by what they tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// The most memory the group may use.
    Max,
    /// What it uses.
    Current,
    /// How often the kernel killed in it.
    Events,
    /// How long its processes waited for memory. Version 2 only.
    Pressure,
}

impl Group {
    /// Finds the group that answers for a process's memory, from its `/proc/<pid>/cgroup` and our
    /// `/proc/self/mountinfo`.
    #[must_use]
    pub fn find(cgroup: &str, mountinfo: &str) -> Option<Self> {
        Self::find_of("memory", cgroup, mountinfo)
    }

    /// The same for another controller of version 1: `cpu`, `cpuacct`.
    #[must_use]
    pub fn find_of(controller: &str, cgroup: &str, mountinfo: &str) -> Option<Self> {
        let of_one = cgroup.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            controllers.split(',').any(|name| name == controller).then_some(path)
        });
        let (version, path) = match of_one {
            Some(path) => (Version::One, path),
            None => (Version::Two, cgroup.lines().find_map(|line| line.strip_prefix("0::"))?),
        };
        let mount = Mount::find(mountinfo, version, controller)?;
        // A group outside of what is mounted here cannot be seen; the mounted one is the nearest.
        let below = Path::new(path).strip_prefix(mount.root).unwrap_or_else(|_| Path::new(""));
        let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        let below = if plain { below } else { Path::new("") };
        let mount = unescaped(mount.point);
        Some(Self { version, directory: mount.join(below), mount })
    }

    /// The path of one of its files; `None` if its version has no such file.
    #[must_use]
    pub fn file(&self, file: File) -> Option<PathBuf> {
        Some(self.directory.join(name(self.version, file)?))
    }

    /// The files that limit its memory: its own and those of the groups above, which hold as well.
    #[must_use]
    pub fn limits(&self) -> Vec<PathBuf> {
        let Some(name) = name(self.version, File::Max) else { return Vec::new() };
        let within = |directory: &&Path| directory.starts_with(&self.mount);
        let groups = self.directory.ancestors().take_while(within).take(DEPTH_MAX);
        groups.map(|directory| directory.join(name)).collect()
    }

    /// How often the kernel has killed a process of the group for want of memory.
    #[must_use]
    pub fn oom_kills(events: &str) -> Option<u64> {
        keyed(events, "oom_kill")
    }
}

/// Groups lie in each other; deeper trees than this are nobody's.
const DEPTH_MAX: usize = 32;

/// What version 1 writes where nothing is limited, rounded down to the largest pages there are.
const NO_LIMIT: u64 = i64::MAX as u64 & !0xffff;

/// A number of bytes from `memory.max`, `memory.current` or their forerunners; `None`: no limit.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < NO_LIMIT)
}

/// What `memory.pressure` says of the last ten seconds: the share of time in which some, and all,
/// processes waited for memory, in hundredths.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// At least one waited.
    pub some: f64,
    /// All that had something to do waited.
    pub full: f64,
}

impl Pressure {
    /// Reads the file.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let average = |kind: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
            let word =
                line.split_ascii_whitespace().find_map(|word| word.strip_prefix("avg10="))?;
            word.parse().ok()
        };
        Some(Self { some: average("some ")?, full: average("full ").unwrap_or(0.0) })
    }
}

const fn name(version: Version, file: File) -> Option<&'static str> {
    match (version, file) {
        (Version::Two, File::Max) => Some("memory.max"),
        (Version::Two, File::Current) => Some("memory.current"),
        (Version::Two, File::Events) => Some("memory.events"),
        (Version::Two, File::Pressure) => Some("memory.pressure"),
        (Version::One, File::Max) => Some("memory.limit_in_bytes"),
        (Version::One, File::Current) => Some("memory.usage_in_bytes"),
        (Version::One, File::Events) => Some("memory.oom_control"),
        (Version::One, File::Pressure) => None,
    }
}

/// A line of `mountinfo`, as far as it matters.
struct Mount<'a> {
    /// What of the tree is mounted.
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

/// What of the tree of version 2 is mounted, and where.
pub(crate) fn version_2_mount(mountinfo: &str) -> Option<(PathBuf, PathBuf)> {
    let mount = Mount::find(mountinfo, Version::Two, "")?;
    Some((unescaped(mount.root), unescaped(mount.point)))
}

impl<'a> Mount<'a> {
    /// The last one covers those before it. Version 2 has one for all controllers.
    fn find(mountinfo: &'a str, version: Version, controller: &str) -> Option<Self> {
        mountinfo.lines().filter_map(Mount::read).rfind(|mount| mount.is_of(version, controller))
    }

    fn read(line: &'a str) -> Option<Self> {
        let (ours, theirs) = line.split_once(" - ")?;
        let mut ours = ours.split(' ').skip(3);
        let mut theirs = theirs.split(' ');
        let (root, point) = (ours.next()?, ours.next()?);
        Some(Self { root, point, kind: theirs.next()?, options: theirs.nth(1)? })
    }

    fn is_of(&self, version: Version, controller: &str) -> bool {
        match version {
            Version::One => {
                self.kind == "cgroup" && self.options.split(',').any(|name| name == controller)
            }
            Version::Two => self.kind == "cgroup2",
        }
    }
}

/// Some characters of paths are written as octal numbers there.
fn unescaped(path: &str) -> PathBuf {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    let text = escapes.iter().fold(path.to_owned(), |text, (code, char)| text.replace(code, char));
    PathBuf::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PURE: &str = "25 1 0:23 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
    const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn a_group_of_version_two_is_found_with_those_above_it() {
        let group = Group::find("0::/system.slice/app.service\n", PURE).unwrap();
        assert_eq!(group.version, Version::Two);
        let events = group.file(File::Events).unwrap();
        assert_eq!(events, Path::new("/sys/fs/cgroup/system.slice/app.service/memory.events"));
        let limits = group.limits();
        assert_eq!(limits.len(), 3);
        assert_eq!(limits[2], Path::new("/sys/fs/cgroup/memory.max"));
    }

    #[test]
    fn a_machine_with_both_keeps_memory_in_version_one() {
        let cgroup = "9:name=systemd:/\n4:cpu,memory:/box/one\n0::/\n";
        let group = Group::find(cgroup, HYBRID).unwrap();
        assert_eq!(group.version, Version::One);
        assert_eq!(group.directory, Path::new("/sys/fs/cgroup/memory/box/one"));
        assert_eq!(group.file(File::Pressure), None);
        let events = group.file(File::Events).unwrap();
        assert_eq!(events, Path::new("/sys/fs/cgroup/memory/box/one/memory.oom_control"));
    }

    #[test]
    fn another_controller_has_a_tree_of_its_own() {
        let cgroup = "9:cpu:/box\n4:memory:/other\n0::/\n";
        let group = Group::find_of("cpu", cgroup, HYBRID).unwrap();
        assert_eq!(group.directory, Path::new("/sys/fs/cgroup/cpu/box"));
        let group = Group::find_of("cpu", "0::/a\n", PURE).unwrap();
        assert_eq!(group.directory, Path::new("/sys/fs/cgroup/a"));
    }

    #[test]
    fn a_container_sees_its_own_part_of_the_tree() {
        let mountinfo =
            "31 23 0:28 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let group = Group::find("4:memory:/docker/abc/sub\n", mountinfo).unwrap();
        assert_eq!(group.directory, Path::new("/sys/fs/cgroup/memory/sub"));
        // Its process may be named as the host sees it, or from outside of the part that is mounted.
        let group = Group::find("4:memory:/elsewhere\n", mountinfo).unwrap();
        assert_eq!(group.directory, Path::new("/sys/fs/cgroup/memory"));
        let group = Group::find("0::/../other\n", PURE).unwrap();
        assert_eq!(group.directory, Path::new("/sys/fs/cgroup"));
    }

    #[test]
    fn where_there_is_no_group_none_is_found() {
        assert_eq!(Group::find("", HYBRID), None);
        assert_eq!(Group::find("0::/x\n", ""), None);
        assert_eq!(Group::find("nonsense\n1:2\n", "nonsense - a\n"), None);
    }

    #[test]
    fn what_the_files_say_is_read() {
        assert_eq!(bytes("max\n"), None);
        assert_eq!(bytes("9223372036854771712\n"), None);
        assert_eq!(bytes("209715200\n"), Some(209_715_200));
        let events = "low 0\nhigh 2\nmax 9\noom 3\noom_kill 2\noom_group_kill 0\n";
        assert_eq!(Group::oom_kills(events), Some(2));
        assert_eq!(Group::oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"), Some(5));
        let pressure = "some avg10=1.50 avg60=0.10 avg300=0.00 total=22\n\
                        full avg10=0.25 avg60=0.00 avg300=0.00 total=2\n";
        assert_eq!(Pressure::read(pressure), Some(Pressure { some: 1.5, full: 0.25 }));
        assert_eq!(Pressure::read("nonsense"), None);
    }
}
