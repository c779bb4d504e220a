//! What a start would fail at, looked for without starting: files and directories that the settings name.
//!
//! Nothing is written and nothing that runs is touched. Whether an address is free is not looked at: the
//! server that has it may be the one whose settings are checked.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use indrik_core::settings::{BindAddress, Config, Launch, LogTarget, Problem, words};
use rustix::fs::{Access, access};

use crate::boot::{check_pid_file, could_bind};
use crate::{front, paths};

/// Everything that would end a start with these settings.
#[must_use]
pub fn preflight(config: &Config) -> Vec<Problem> {
    let mut problems: Vec<Problem> = [
        check_sources(config),
        check_upload_dir(config),
        check_pid(config),
        check_certificates(config),
        check_alerts(config),
    ]
    .into_iter()
    .filter_map(Result::err)
    .collect();
    let logs = [("error", Some(&config.errorlog)), ("access", config.accesslog.as_ref())];
    for (name, target) in logs {
        if let Some(LogTarget::File(path)) = target {
            problems.extend(check_log(name, path).err());
        }
    }
    for address in &config.bind {
        let checked = match address {
            BindAddress::Unix { path } => check_socket(path),
            BindAddress::Tcp { .. } | BindAddress::Fd { .. } => check_address(address),
        };
        problems.extend(checked.err());
    }
    problems
}

/// Whether the file system answers for the configuration file, which Python is about to read: nothing can end
/// its wait.
///
/// # Errors
/// When it does not.
pub(crate) fn look_at_config(launch: &Launch) -> io::Result<()> {
    let Some(path) = launch.config_request() else { return Ok(()) };
    if path.starts_with("python:") {
        return Ok(());
    }
    let path = path.strip_prefix("file:").unwrap_or(&path);
    paths::must_answer(&launch.cwd.join(path)).map_err(|error| {
        io::Error::new(error.kind(), format!("the configuration file {path:?}: {error}"))
    })
}

/// Whether the file system answers for what Python opens, or goes to, because a setting names it.
///
/// # Errors
/// When it does not.
pub(crate) fn check_sources(config: &Config) -> Result<(), Problem> {
    let paste = config.paste.as_deref().map(|uri| uri.split('#').next().unwrap_or(uri).into());
    let files = [
        ("chdir", Some(config.chdir.clone())),
        ("logconfig", config.logconfig.clone()),
        ("logconfig_json", config.logconfig_json.clone()),
        ("paste", paste),
    ];
    let directories = config.pythonpath.iter().map(|path| ("pythonpath", Some(path.into())));
    for (name, path) in files.into_iter().chain(directories) {
        let Some(path) = path else { continue };
        let path: PathBuf = path;
        paths::must_answer(&config.chdir.join(&path)).map_err(|error| Problem {
            what: format!("{name}: cannot use {}: {error}", path.display()),
            place: None,
            hint: Some("look at the server that this path is mounted from".to_owned()),
        })?;
    }
    Ok(())
}

/// Whether large bodies find a place: who sends one must not be the first to notice.
///
/// # Errors
/// When there is no such directory, or it may not be written to.
pub(crate) fn check_upload_dir(config: &Config) -> Result<(), Problem> {
    let Some(path) = &config.tmp_upload_dir else { return Ok(()) };
    is_writable_directory(path).map_err(|problem| Problem {
        what: format!("tmp_upload_dir: cannot use {}: {problem}", path.display()),
        place: None,
        hint: Some("name a directory that large bodies may be put into".to_owned()),
    })
}

fn check_pid(config: &Config) -> Result<(), Problem> {
    let Some(path) = &config.pidfile else { return Ok(()) };
    check_pid_file(path).map_err(|error| Problem {
        what: format!("pidfile: {}", error.message),
        place: None,
        hint: Some(error.hint.to_owned()),
    })?;
    is_writable_directory(directory_of(path)).map_err(|problem| Problem {
        what: format!(
            "pidfile: cannot write the pid file {}: its directory: {problem}",
            path.display()
        ),
        place: None,
        hint: Some(
            "name a file in a directory that may be written to, or leave pidfile out".to_owned(),
        ),
    })
}

/// Whether the front could speak TLS, if it is to.
///
/// # Errors
/// When a file cannot be read, or what is in one does not fit.
pub(crate) fn check_certificates(config: &Config) -> Result<(), Problem> {
    front::check_tls(config).map_err(|error| Problem {
        what: error.to_string(),
        place: None,
        hint: Some(error.hint().to_owned()),
    })
}

/// Whether messages of alerts could be sent and run. A start does not fail for it: it is told in the log.
fn check_alerts(config: &Config) -> Result<(), Problem> {
    let problem = |name: &str, path: &Path, error: io::Error, hint: &str| Problem {
        what: format!("{name}: cannot use {}: {error}", path.display()),
        place: None,
        hint: Some(hint.to_owned()),
    };
    if let Some(path) = &config.alert_webhook_ca {
        let hint = "name a file with certificates of authorities, PEM";
        paths::read(path).map_err(|error| problem("alert_webhook_ca", path, error, hint))?;
    }
    let words = config.alert_exec.as_deref().and_then(|text| words::split(text).ok());
    if let Some(program) = words.and_then(|words| words.into_iter().next())
        && program.contains('/')
    {
        let path = config.chdir.join(program);
        let looked = path.clone();
        let found =
            paths::within(move || access(&looked, Access::EXEC_OK)).and_then(|found| Ok(found?));
        let hint = "name a program that may be run, with its arguments";
        found.map_err(|error| problem("alert_exec", &path, error, hint))?;
    }
    Ok(())
}

/// A log that is not there yet is not made.
fn check_log(name: &str, path: &Path) -> Result<(), Problem> {
    let owned = path.to_owned();
    let found = paths::within(move || std::fs::symlink_metadata(owned)).and_then(|found| found);
    let result = match found {
        Ok(_) => paths::append(path).map(drop).map_err(|error| error.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            is_writable_directory(directory_of(path))
                .map_err(|problem| format!("its directory: {problem}"))
        }
        Err(error) => Err(error.to_string()),
    };
    result.map_err(|problem| unwritable_log(name, path, &problem))
}

/// Whether the logs can be opened, which makes those that are not there.
///
/// # Errors
/// When one cannot.
pub(crate) fn open_logs(config: &Config) -> Result<(), Problem> {
    let logs = [("error", Some(&config.errorlog)), ("access", config.accesslog.as_ref())];
    for (name, target) in logs {
        let Some(LogTarget::File(path)) = target else { continue };
        paths::append(path).map_err(|error| unwritable_log(name, path, &error))?;
    }
    Ok(())
}

fn unwritable_log(name: &str, path: &Path, problem: &dyn std::fmt::Display) -> Problem {
    Problem {
        what: format!("{name}log: cannot open the {name} log {}: {problem}", path.display()),
        place: None,
        hint: Some("name a file that may be written to, or - for the standard stream".to_owned()),
    }
}

/// A socket that is passed under a number is not passed to a command that looks.
fn check_address(address: &BindAddress) -> Result<(), Problem> {
    could_bind(address).map_err(|error| Problem {
        what: format!("bind: {}", error.message),
        place: None,
        hint: Some(error.hint.to_owned()),
    })
}

fn check_socket(path: &Path) -> Result<(), Problem> {
    let result = match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => Ok(()),
        Ok(_) => Err("there is something else than a socket".to_owned()),
        Err(_) => is_writable_directory(directory_of(path))
            .map_err(|problem| format!("its directory: {problem}")),
    };
    result.map_err(|problem| Problem {
        what: format!("bind: cannot listen at unix:{}: {problem}", path.display()),
        place: None,
        hint: Some("name a path that is free, in a directory that may be written to".to_owned()),
    })
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn is_writable_directory(path: &Path) -> Result<(), String> {
    let directory = path.to_owned();
    let look = move || {
        let metadata = std::fs::metadata(&directory)?;
        Ok((metadata.is_dir(), access(&directory, Access::WRITE_OK | Access::EXEC_OK)))
    };
    match paths::within(look).and_then(|found: io::Result<_>| found) {
        Ok((false, _)) => Err("it is not a directory".to_owned()),
        Ok((true, Ok(()))) => Ok(()),
        Ok((true, Err(errno))) => Err(io::Error::from(errno).to_string()),
        Err(error) => Err(error.to_string()),
    }
}
