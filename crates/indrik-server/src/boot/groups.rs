//! Control groups of workers: dividing the group that was delegated to this server, and giving each
//! worker one of its own. `indrik_core::limits::groups` draws the tree.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use indrik_core::limits::groups::{
    GroupLimits, SERVER_GROUP, WORKER_PREFIX, WORKERS_GROUP, base_of, handed_down, missing, named,
    own_group, told_apart,
};
use indrik_sys::limits::parent_of;

use super::error::BootError;

/// Processes fork while they are moved: after so many rounds somebody is in the way.
const ROUNDS_MAX: usize = 8;
/// Groups that could not be removed yet, since a process that their worker started lives on.
const LEFT_MAX: usize = 1024;

/// The kernel's own.
const CPU_WEIGHT_DEFAULT: &str = "100";

const HOW_TO_DELEGATE: &str = "let systemd delegate one (Delegate=cpu memory), or leave the \
                               settings out: docs/manual/resource-limits.md";

/// The tree of groups, once it stands.
#[derive(Debug)]
pub struct Groups {
    base: PathBuf,
    /// Oldest first; those beyond the limit are left to whoever removes the base.
    left: VecDeque<PathBuf>,
}

impl Groups {
    /// Divides the group that this process is in.
    ///
    /// # Errors
    /// When there is none, it is not ours, or others are in it.
    pub fn of_this_process(limits: &GroupLimits) -> Result<Self, BootError> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let own = own_group(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
        let own = own.map_err(|error| failed(limits, error))?;
        Self::divide(base_of(&own), limits, std::process::id())
    }

    /// Divides the group `base`, in which this process runs as `own`.
    fn divide(base: PathBuf, limits: &GroupLimits, own: u32) -> Result<Self, BootError> {
        let fail = |error: String| failed(limits, error);
        let needed = limits.controllers();
        let available = read(&base.join("cgroup.controllers")).map_err(fail)?;
        let missing = missing(&needed, &available);
        if !missing.is_empty() {
            let missing = missing.join(" and ");
            return Err(fail(format!("{} has no controller for {missing}", base.display())));
        }
        let server = base.join(SERVER_GROUP);
        make(&server).map_err(fail)?;
        move_into(&server, &base, own).map_err(fail)?;
        let groups = Self { base, left: VecDeque::new() };
        groups.change(limits)?;
        groups.remove_forgotten();
        Ok(groups)
    }

    /// Takes the limits of another generation into use: what holds for all workers changes now.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn change(&self, limits: &GroupLimits) -> Result<(), BootError> {
        self.hand_down(limits).map_err(|error| failed(limits, error))
    }

    fn hand_down(&self, limits: &GroupLimits) -> Result<(), String> {
        write(&self.base, "cgroup.subtree_control", &handed_down(&limits.controllers()))?;
        let workers = self.workers();
        make(&workers)?;
        if limits.limits_memory() {
            write(&workers, "cgroup.subtree_control", &handed_down(&["memory"]))?;
        }
        if limits.cpu_weight == 0 {
            // It may have been another; without the controller there is none to set back.
            let _ = write(&workers, "cpu.weight", CPU_WEIGHT_DEFAULT);
        }
        limits.of_all_workers().iter().try_for_each(|(file, text)| write(&workers, file, text))
    }

    /// Puts a worker into a group of its own.
    ///
    /// # Errors
    /// When the tree has been taken away, or the kernel refuses.
    pub fn add(&mut self, worker: u32, limits: &GroupLimits) -> Result<(), String> {
        if !self.workers().exists() {
            // The other server of an upgrade took it along when it left.
            self.hand_down(limits)?;
        }
        let group = self.group_of(worker);
        make(&group)?;
        let result = limits
            .of_a_worker()
            .iter()
            .try_for_each(|(file, text)| write(&group, file, text))
            .and_then(|()| write(&group, "cgroup.procs", &worker.to_string()));
        if result.is_err() {
            let _ = fs::remove_dir(&group);
        }
        result
    }

    /// Takes a worker that has become a zygote out of its group; its limits were a worker's.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn take_out(&mut self, worker: u32) -> Result<(), String> {
        write(&self.base.join(SERVER_GROUP), "cgroup.procs", &worker.to_string())?;
        self.remove(worker);
        Ok(())
    }

    /// Removes the group of a worker that has ended, and those that could not be removed before.
    pub fn remove(&mut self, worker: u32) {
        self.left.push_back(self.group_of(worker));
        self.left.retain(|group| is_in_use(fs::remove_dir(group)));
        while self.left.len() > LEFT_MAX {
            self.left.pop_front();
        }
    }

    fn workers(&self) -> PathBuf {
        self.base.join(WORKERS_GROUP)
    }

    fn group_of(&self, worker: u32) -> PathBuf {
        self.workers().join(format!("{WORKER_PREFIX}{worker}"))
    }

    /// A server that was killed leaves empty groups behind. Those with processes refuse to go.
    fn remove_forgotten(&self) {
        let Ok(entries) = fs::read_dir(self.workers()) else { return };
        for entry in entries.flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(WORKER_PREFIX.as_bytes()) {
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}

/// The group of this process stays: no process can remove its own.
impl Drop for Groups {
    fn drop(&mut self) {
        self.left.retain(|group| is_in_use(fs::remove_dir(group)));
        // In use while a successor has workers there.
        let _ = fs::remove_dir(self.workers());
    }
}

/// Moves this server's processes out of the base.
fn move_into(server: &Path, base: &Path, own: u32) -> Result<(), String> {
    for _ in 0..ROUNDS_MAX {
        let processes = read(&base.join("cgroup.procs"))?;
        let (ours, strangers) = told_apart(&processes, own, parent_of);
        if !strangers.is_empty() {
            return Err(format!(
                "{} also holds processes that are not this server's ({})",
                base.display(),
                named(&strangers)
            ));
        }
        if ours.is_empty() {
            return Ok(());
        }
        for pid in ours {
            // One that has ended meanwhile is not there in the next round.
            match write(server, "cgroup.procs", &pid.to_string()) {
                Err(error) if parent_of(pid).is_some() => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
    }
    Err(format!("processes keep appearing in {}", base.display()))
}

fn is_in_use(removed: io::Result<()>) -> bool {
    removed.is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
}

fn make(group: &Path) -> Result<(), String> {
    match fs::create_dir(group) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(format!("cannot make {}: {error}", group.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// In one call: the kernel takes each as a whole order.
fn write(group: &Path, file: &str, text: &str) -> Result<(), String> {
    let path = group.join(file);
    let opened = fs::OpenOptions::new().write(true).open(&path);
    opened
        .and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()))
        .map_err(|error| format!("cannot write '{text}' to {}: {error}", path.display()))
}

fn failed(limits: &GroupLimits, error: impl std::fmt::Display) -> BootError {
    BootError {
        message: format!("no control groups for {}: {error}", limits.names().join(", ")),
        hint: HOW_TO_DELEGATE,
        in_use: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: GroupLimits =
        GroupLimits { memory_high: 1 << 20, memory_max: 1 << 21, cpu_weight: 30 };

    /// A directory that looks like a delegated group; the kernel makes the files of real ones.
    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new(controllers: &str, processes: &str) -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            tree.group("", &["cgroup.subtree_control"]);
            tree.put("cgroup.controllers", controllers);
            tree.put("cgroup.procs", processes);
            tree.group(SERVER_GROUP, &["cgroup.procs"]);
            tree.group(WORKERS_GROUP, &["cgroup.subtree_control", "cpu.weight"]);
            tree
        }

        fn group(&self, name: &str, files: &[&str]) {
            fs::create_dir_all(self.0.path().join(name)).unwrap();
            for file in files {
                self.put(&format!("{name}/{file}"), "");
            }
        }

        fn put(&self, file: &str, text: &str) {
            fs::write(self.0.path().join(file.trim_start_matches('/')), text).unwrap();
        }

        fn text(&self, file: &str) -> String {
            fs::read_to_string(self.0.path().join(file)).unwrap()
        }

        fn divide(&self) -> Result<Groups, String> {
            let own = std::process::id();
            let divided = Groups::divide(self.0.path().to_owned(), &LIMITS, own);
            divided.map_err(|error| error.to_string())
        }
    }

    #[test]
    fn controllers_are_handed_down_to_the_workers() {
        let tree = Tree::new("cpuset cpu io memory pids\n", "");
        tree.divide().unwrap();
        assert_eq!(tree.text("cgroup.subtree_control"), "+cpu +memory");
        assert_eq!(tree.text("indrik.workers/cgroup.subtree_control"), "+memory");
        assert_eq!(tree.text("indrik.workers/cpu.weight"), "30");
    }

    #[test]
    fn a_worker_gets_its_limits_before_it_is_put_under_them() {
        let tree = Tree::new("cpu memory\n", "");
        let mut groups = tree.divide().unwrap();
        tree.group("indrik.workers/worker-77", &["memory.high", "memory.max", "cgroup.procs"]);
        groups.add(77, &LIMITS).unwrap();
        assert_eq!(tree.text("indrik.workers/worker-77/memory.high"), "1048576");
        assert_eq!(tree.text("indrik.workers/worker-77/memory.max"), "2097152");
        assert_eq!(tree.text("indrik.workers/worker-77/cgroup.procs"), "77");
    }

    #[test]
    fn the_share_of_all_workers_changes_with_the_settings() {
        let tree = Tree::new("cpu memory\n", "");
        let groups = tree.divide().unwrap();
        groups.change(&GroupLimits { cpu_weight: 50, ..LIMITS }).unwrap();
        assert_eq!(tree.text("indrik.workers/cpu.weight"), "50");
        groups.change(&GroupLimits::default()).unwrap();
        assert_eq!(tree.text("indrik.workers/cpu.weight"), "100");
    }

    #[test]
    fn a_group_without_the_controllers_says_which() {
        let error = Tree::new("cpu pids\n", "").divide().unwrap_err();
        assert!(error.contains("has no controller for memory ("), "{error}");
        let names =
            "no control groups for worker_memory_high, worker_memory_max, worker_cpu_weight";
        assert!(error.starts_with(names), "{error}");
    }

    #[test]
    fn strangers_are_named_and_left_where_they_are() {
        let tree = Tree::new("cpu memory\n", &format!("1\n{}\n", std::process::id()));
        let error = tree.divide().unwrap_err();
        assert!(error.contains("processes that are not this server's (1)"), "{error}");
        assert_eq!(tree.text("indrik.server/cgroup.procs"), "");
    }

    #[test]
    fn what_cannot_be_read_or_written_is_named() {
        let tree = Tree::new("cpu memory\n", "");
        fs::remove_file(tree.0.path().join("cgroup.subtree_control")).unwrap();
        let error = tree.divide().unwrap_err();
        assert!(error.contains("cannot write '+cpu +memory' to "), "{error}");
        let error = Groups::divide(tree.0.path().join("none"), &LIMITS, 1).unwrap_err().to_string();
        assert!(error.contains("cannot read "), "{error}");
    }

    #[test]
    fn groups_of_workers_that_have_ended_go() {
        let tree = Tree::new("cpu memory\n", "");
        let mut groups = tree.divide().unwrap();
        tree.group("indrik.workers/worker-5", &[]);
        groups.remove(5);
        groups.remove(6);
        assert!(!tree.0.path().join("indrik.workers/worker-5").exists());
        assert!(groups.left.is_empty());
    }

    #[test]
    fn a_worker_that_becomes_a_zygote_goes_to_the_server() {
        let tree = Tree::new("cpu memory\n", "");
        let mut groups = tree.divide().unwrap();
        tree.group("indrik.workers/worker-5", &[]);
        groups.take_out(5).unwrap();
        assert_eq!(tree.text("indrik.server/cgroup.procs"), "5");
        assert!(!tree.0.path().join("indrik.workers/worker-5").exists());
    }

    #[test]
    fn what_a_killed_server_left_behind_is_removed() {
        let tree = Tree::new("cpu memory\n", "");
        tree.group("indrik.workers/worker-5", &[]);
        tree.group("indrik.workers/mine", &[]);
        tree.divide().unwrap();
        assert!(!tree.0.path().join("indrik.workers/worker-5").exists());
        assert!(tree.0.path().join("indrik.workers/mine").exists());
    }

    /// Where this machine lets us, the same with the kernel's own tree and a controller that it has.
    #[test]
    fn the_kernel_takes_the_tree() {
        let Some(scratch) = Scratch::new() else { return };
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        scratch.put("cgroup.procs", &child.id().to_string());
        let server = scratch.0.join(SERVER_GROUP);
        make(&server).unwrap();
        // Its parent is this process, which is not in the group.
        move_into(&server, &scratch.0, std::process::id()).unwrap();
        assert_eq!(scratch.text("indrik.server/cgroup.procs"), format!("{}\n", child.id()));
        assert_eq!(scratch.text("cgroup.procs"), "");
        let mut groups = Groups { base: scratch.0.clone(), left: VecDeque::new() };
        make(&groups.workers()).unwrap();
        groups.add(child.id(), &GroupLimits::default()).unwrap();
        groups.remove(child.id());
        assert_eq!(groups.left.len(), 1, "a group with a process in it stays");
        child.kill().unwrap();
        child.wait().unwrap();
        groups.remove(1);
        assert!(groups.left.is_empty());
        drop(groups);
        assert!(!scratch.0.join(WORKERS_GROUP).exists());
    }

    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Option<Self> {
            let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
            let own = own_group(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo")).ok()?;
            let path = own.join(format!("indrik-test-{}", std::process::id()));
            fs::create_dir(&path).ok()?;
            Some(Self(path))
        }

        fn put(&self, file: &str, text: &str) {
            write(&self.0, file, text).unwrap();
        }

        fn text(&self, file: &str) -> String {
            fs::read_to_string(self.0.join(file)).unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir(self.0.join(SERVER_GROUP));
            let _ = fs::remove_dir(&self.0);
        }
    }
}
