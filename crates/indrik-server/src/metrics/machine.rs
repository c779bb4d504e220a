//! What the machine and the server's control group allow, and what of it is used.
//!
//! Every number is read when somebody asks. What a kernel or a container does not say is left out.

use std::path::{Path, PathBuf};

use indrik_core::limits::groups::base_of;
use indrik_core::machine;
use indrik_core::memory::cgroup::{self, File, Group, Version};
use indrik_core::memory::process;
use indrik_core::metrics::{Family, generated as metrics};
use indrik_sys::memory;

/// What processes may wait for.
const RESOURCES: [&str; 3] = ["cpu", "memory", "io"];

/// All of it but disks.
pub(crate) fn families() -> Vec<Family> {
    let groups = Groups::find();
    let mut families = Vec::from(groups.memory());
    families.extend(groups.cpu());
    families.extend(groups.pressure());
    families
}

/// The groups of supervisor and workers together.
struct Groups {
    memory: Option<Group>,
    cpu: Option<Group>,
}

impl Groups {
    fn find() -> Self {
        let cgroup = memory::control_groups(std::process::id()).unwrap_or_default();
        let mounts = memory::mounts().unwrap_or_default();
        // Where the server has divided its group, the whole is meant.
        let find = |controller: &str| {
            let group = Group::find_of(controller, &cgroup, &mounts)?;
            Some(Group { directory: base_of(&group.directory), ..group })
        };
        Self { memory: find("memory"), cpu: find("cpu") }
    }

    /// The group whose limit is the least, if one limits memory; else the machine.
    fn memory(&self) -> [Family; 2] {
        let limit = self.memory.iter().flat_map(Group::limits).filter_map(|path| {
            let bytes = cgroup::bytes(&memory::file(&path)?)?;
            Some((bytes, path.parent()?.to_owned()))
        });
        let (used, limit) = match (limit.min(), &self.memory) {
            (Some((limit, directory)), Some(group)) => {
                let group = Group { directory, ..group.clone() };
                (used_by(&group), Some(limit as f64))
            }
            _ => used_of_machine(),
        };
        [
            metrics::MEMORY_USED_BYTES.family(used.map(|bytes| ([], bytes))),
            metrics::MEMORY_ALLOWED_BYTES.family(limit.map(|bytes| ([], bytes))),
        ]
    }

    fn cpu(&self) -> [Family; 2] {
        let groups = self.cpu.iter().flat_map(|group| {
            let within = |directory: &&Path| directory.starts_with(&group.mount);
            group.directory.ancestors().take_while(within).map(|it| (group.version, it))
        });
        let quotas = groups.filter_map(|(version, directory)| quota(version, directory));
        let processors = indrik_sys::cpus::available() as f64;
        let allowed = quotas.fold(processors, f64::min);
        let stat = self.cpu.as_ref().and_then(|it| memory::file(&it.directory.join("cpu.stat")));
        let throttled = stat.as_deref().and_then(machine::throttled);
        [
            metrics::CPU_ALLOWED.family([([], allowed)]),
            metrics::CPU_THROTTLED_SECONDS.family(throttled.map(|seconds| ([], seconds))),
        ]
    }

    /// Of the group, or of the machine where groups do not say.
    fn pressure(&self) -> [Family; 1] {
        let read = |resource: &str| {
            let group = self.memory.as_ref().filter(|group| group.version == Version::Two);
            let of_group = group
                .and_then(|it| memory::file(&it.directory.join(format!("{resource}.pressure"))));
            let text =
                of_group.or_else(|| memory::file(&Path::new("/proc/pressure").join(resource)))?;
            machine::stalled(&text)
        };
        let samples = RESOURCES.into_iter().filter_map(|resource| {
            let (some, full) = read(resource)?;
            let kind = |kind: &'static str| [resource.into(), kind.into()];
            Some([(kind("some"), some), (kind("full"), full)])
        });
        [metrics::PRESSURE_SECONDS.family(samples.flatten())]
    }
}

/// What a group uses and the kernel could not take away at once.
fn used_by(group: &Group) -> Option<f64> {
    let current = cgroup::bytes(&memory::file(&group.file(File::Current)?)?)? as f64;
    let stat = memory::file(&group.directory.join("memory.stat"));
    let reclaimable = stat.as_deref().and_then(machine::reclaimable).unwrap_or(0.0);
    Some((current - reclaimable).max(0.0))
}

/// What of the machine's memory nobody could have, and all of it.
fn used_of_machine() -> (Option<f64>, Option<f64>) {
    let text = memory::machine().unwrap_or_default();
    let total = process::total(&text).map(|bytes| bytes as f64);
    let available = machine::available(&text);
    let used = total.zip(available).map(|(total, available)| (total - available).max(0.0));
    (used, total)
}

fn quota(version: Version, directory: &Path) -> Option<f64> {
    let read = |name: &str| memory::file(&directory.join(name));
    match version {
        Version::Two => machine::quota(&read("cpu.max")?),
        Version::One => {
            machine::quota_of_one(&read("cpu.cfs_quota_us")?, &read("cpu.cfs_period_us")?)
        }
    }
}

/// The disks of these directories, with what they are for.
pub(super) fn disks(directories: &[(&'static str, PathBuf)]) -> [Family; 2] {
    let sizes = directories.iter().filter_map(|(what, path)| {
        let path = path.clone();
        // A disk that does not answer is not waited for.
        let stat = crate::paths::within(move || rustix::fs::statvfs(&path)).ok()?.ok()?;
        let bytes = |blocks: u64| blocks as f64 * stat.f_frsize as f64;
        Some((*what, bytes(stat.f_bavail), bytes(stat.f_blocks)))
    });
    let sizes: Vec<_> = sizes.collect();
    let free = sizes.iter().map(|(what, free, _)| ([(*what).into()], *free));
    let size = sizes.iter().map(|(what, _, size)| ([(*what).into()], *size));
    [metrics::DISK_FREE_BYTES.family(free), metrics::DISK_SIZE_BYTES.family(size)]
}

#[cfg(test)]
mod tests {
    use indrik_core::metrics::{Format, expose};

    use super::*;

    #[test]
    fn this_machine_says_what_it_allows_and_how_much_is_free() {
        let directories = [("tmp", std::env::temp_dir()), ("logs", "/no/such/directory".into())];
        let mut all = families();
        all.extend(disks(&directories));
        let exposed = expose(all, Format::Text);
        let text = String::from_utf8(exposed.body).unwrap();
        assert_eq!(exposed.left_out, 0);
        let number = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
        };
        assert!(number("indrik_cpu_allowed") > 0.0);
        let used = number("indrik_memory_used_bytes");
        assert!(used > 0.0 && used <= number("indrik_memory_allowed_bytes"));
        let free = number("indrik_disk_free_bytes{disk=\"tmp\"}");
        assert!(free <= number("indrik_disk_size_bytes{disk=\"tmp\"}"));
        assert!(!text.contains("disk=\"logs\""));
    }
}
