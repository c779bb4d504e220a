//! What the process that started this one passed on: listening sockets of the service manager, or of a
//! running server that this one is to replace.

use std::env;

/// The number of a service manager's first descriptor.
const FIRST_FD: i32 = 3;
/// Sockets that are taken at most.
const SOCKETS_MAX: i32 = 1024;

/// Where a successor finds the sockets of the admin listener: a list of descriptor and address, as JSON.
pub(crate) const ADMIN_VARIABLE: &str = "INDRIK_ADMIN_FDS";

/// The maintenance that the running server is in, as JSON.
pub(crate) const MAINTENANCE: &str = "INDRIK_MAINTENANCE";

/// Where a successor finds what the server before it remembers: a descriptor.
pub(crate) const HISTORY_VARIABLE: &str = "INDRIK_HISTORY_FD";

/// Where a successor finds what alerts the server before it has told: a descriptor.
pub(crate) const ALERTS_VARIABLE: &str = "INDRIK_ALERTS_FD";

/// Variables that are for this process alone: not for workers, nor for a successor.
pub(crate) const OWN_VARIABLES: [&str; 10] = [
    ADMIN_VARIABLE,
    MAINTENANCE,
    HISTORY_VARIABLE,
    ALERTS_VARIABLE,
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "GUNICORN_PID",
    "GUNICORN_FD",
    super::word::VARIABLE,
];

/// One socket of the service manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemdSocket {
    /// Its number.
    pub fd: i32,
    /// Its name in the unit file, or `unknown`.
    pub name: String,
}

/// The running server that this one is to replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partner {
    /// Its process.
    pub pid: u32,
    /// Its listening sockets.
    pub fds: Vec<i32>,
    /// Those of its admin listener, with their addresses.
    pub admin: Vec<(i32, String)>,
}

/// What was passed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inheritance {
    /// Empty without socket activation.
    pub systemd: Vec<SystemdSocket>,
    /// Set when this process was started by USR2.
    pub partner: Option<Partner>,
    /// The maintenance that the server before is in, as it was ordered.
    pub maintenance: Option<String>,
    /// What was passed on and cannot be read, for the log.
    pub notices: Vec<String>,
}

impl Inheritance {
    /// What this process's environment says. What another server passed on is for this process alone: zygotes are
    /// started before all of it is taken.
    #[must_use]
    pub fn from_environment() -> Self {
        let found = Self::read(std::process::id(), |name| env::var(name).ok());
        let sockets = found.partner.iter().flat_map(|partner| {
            partner.fds.iter().copied().chain(partner.admin.iter().map(|(fd, _)| *fd))
        });
        let others = [HISTORY_VARIABLE, super::word::VARIABLE];
        let others = others.iter().filter_map(|name| env::var(name).ok()?.parse().ok());
        // A typed number is never one of the streams.
        indrik_sys::process::keep_from_children(sockets.chain(others).filter(|fd| *fd >= FIRST_FD));
        found
    }

    fn read(own_pid: u32, variable: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name: &str| variable(name)?.trim().parse::<u32>().ok();
        let mut notices = Vec::new();
        let count = sockets_passed(own_pid, &variable).unwrap_or_else(|notice| {
            notices.push(notice);
            0
        });
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').filter(|name| !name.is_empty());
        let systemd = (0..count)
            .map(|at| SystemdSocket {
                fd: FIRST_FD + at,
                name: names.next().unwrap_or("unknown").to_owned(),
            })
            .collect();
        let partner = number("GUNICORN_PID").map(|pid| {
            let fds = variable("GUNICORN_FD").unwrap_or_default();
            let admin = variable(ADMIN_VARIABLE).unwrap_or_default();
            Partner {
                pid,
                fds: fds.split(',').filter_map(|fd| fd.trim().parse().ok()).collect(),
                // A server that has no such listener says nothing.
                admin: serde_json::from_str(&admin).unwrap_or_default(),
            }
        });
        let maintenance = variable(MAINTENANCE).filter(|_| partner.is_some());
        Self { systemd, partner, maintenance, notices }
    }
}

/// How many sockets the service manager passes to this process; those of another process are none.
fn sockets_passed(own_pid: u32, variable: impl Fn(&str) -> Option<String>) -> Result<i32, String> {
    let (Some(count), Some(pid)) = (variable("LISTEN_FDS"), variable("LISTEN_PID")) else {
        return Ok(0);
    };
    let wrong = |name: &str, value: &str, what: &str| {
        let value = value.escape_debug();
        Err(format!(
            "{name} is '{value}', which is not {what}: no socket of the service manager is used; \
             unset LISTEN_FDS and LISTEN_PID if there is none"
        ))
    };
    match pid.trim().parse::<u32>() {
        Ok(pid) if pid == own_pid => {}
        Ok(_) => return Ok(0),
        Err(_) => return wrong("LISTEN_PID", &pid, "the number of a process"),
    }
    match count.trim().parse::<i32>() {
        Ok(count @ 0..=SOCKETS_MAX) => Ok(count),
        _ => wrong("LISTEN_FDS", &count, "a number of sockets from 0 to 1024"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Inheritance {
        Inheritance::read(7, |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn sockets_of_the_service_manager_are_ours_only_if_it_meant_this_process() {
        let meant = read(&[("LISTEN_PID", "7"), ("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "web:")]);
        assert_eq!(meant.systemd.len(), 2);
        assert_eq!(meant.systemd[0], SystemdSocket { fd: 3, name: "web".into() });
        assert_eq!(meant.systemd[1].name, "unknown");
        assert_eq!(read(&[("LISTEN_PID", "8"), ("LISTEN_FDS", "2")]), Inheritance::default());
        assert_eq!(read(&[("LISTEN_FDS", "2")]), Inheritance::default());
    }

    #[test]
    fn a_number_of_sockets_that_cannot_be_read_is_told() {
        for count in ["abc", "-1", "1025", ""] {
            let told = read(&[("LISTEN_PID", "7"), ("LISTEN_FDS", count)]);
            assert!(told.systemd.is_empty());
            assert!(told.notices[0].starts_with(&format!("LISTEN_FDS is '{count}'")), "{told:?}");
        }
        let told = read(&[("LISTEN_PID", "x"), ("LISTEN_FDS", "1")]);
        assert!(told.notices[0].starts_with("LISTEN_PID is 'x'"), "{told:?}");
    }

    #[test]
    fn a_partner_is_named_with_its_sockets() {
        let partner = read(&[("GUNICORN_PID", "5"), ("GUNICORN_FD", "5,6")]).partner;
        assert_eq!(partner, Some(Partner { pid: 5, fds: vec![5, 6], admin: Vec::new() }));
        let admin = ("INDRIK_ADMIN_FDS", "[[7,\"127.0.0.1:9000\"]]");
        let partner = read(&[("GUNICORN_PID", "5"), admin]).partner.unwrap();
        assert_eq!(partner.admin, [(7, "127.0.0.1:9000".to_owned())]);
        assert_eq!(read(&[]).partner, None);
    }
}
