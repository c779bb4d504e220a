//! Hooks that a process may be in when it is waited for: what hangs is named by it.

/// Those of zygotes, and those that a worker runs before it is ready.
const AWAITED: [&str; 11] = [
    "on_starting",
    "nworkers_changed",
    "when_ready",
    "on_reload",
    "pre_fork",
    "child_exit",
    "pre_exec",
    "pre_stop",
    "on_exit",
    "post_fork",
    "post_worker_init",
];

/// A hook that somebody waits for, by the name that a process says; nothing for what is none.
#[must_use]
pub fn awaited_hook(name: &str) -> Option<&'static str> {
    AWAITED.into_iter().find(|hook| *hook == name)
}

/// What is added to the news that a process takes too long: the hook that it is in.
pub(super) fn in_hook(hook: Option<&str>) -> String {
    hook.map_or_else(String::new, |hook| format!(": the hook {hook} has not returned"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_hooks_are_taken() {
        assert_eq!(awaited_hook("child_exit"), Some("child_exit"));
        assert_eq!(awaited_hook("pre_request"), None);
        assert_eq!(awaited_hook("x\nCritical: "), None);
    }
}
