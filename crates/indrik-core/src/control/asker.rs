//! Who asks for something, which of the commands they may give, and the line of the log about it.
//!
//! Two ways lead to the commands, the control socket and the admin listener. What may be asked for, and what is
//! written of it, is decided here for both.

use super::command::Command;
use super::steer::Maintenance;
use crate::logs::escape;

/// Characters of what was asked for, in the line about it.
const ASKED_CHARS_MAX: usize = 200;
/// Characters of what came of it.
const RESULT_CHARS_MAX: usize = 400;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// As the log calls them: `token deploy`, `user 0 (pid 4711)`.
    pub name: String,
    /// The server's own user, or root: whoever could read and write all that the server can.
    pub is_owner: bool,
}

impl Asker {
    /// Whether they may give this command.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn may(&self, command: &Command) -> Result<(), String> {
        match names_file(command) {
            true if !self.is_owner => Err(format!(
                "{} may not name a file: it would be read with the server's rights; as the server's own user or root: \
                 indrik maintenance on --page FILE",
                escape::line(&self.name, ASKED_CHARS_MAX)
            )),
            true | false => Ok(()),
        }
    }
}

/// Whether the command has the server open a path that it names.
fn names_file(command: &Command) -> bool {
    match command {
        Command::Maintenance(Maintenance::On(order)) => order.page.is_some(),
        Command::Maintenance(Maintenance::Off)
        | Command::Show(_)
        | Command::AddWorkers(_)
        | Command::RemoveWorkers(_)
        | Command::ReplaceWorker(_)
        | Command::Scale(_)
        | Command::Recycle(_)
        | Command::Restart(_)
        | Command::Pause(_)
        | Command::Resume
        | Command::Dirty
        | Command::Reload
        | Command::ReloadAndWait
        | Command::Upgrade
        | Command::Reopen
        | Command::Record(_)
        | Command::TestAlerts
        | Command::ShutDown(_)
        | Command::Inside(_)
        | Command::Help => false,
    }
}

/// The line about somebody who asked for something. Whatever they wrote, it is one line and a short one.
#[must_use]
pub fn told(who: &str, what: &str, result: &str) -> String {
    format!(
        "{} asked for \"{}\": {}",
        escape::line(who, ASKED_CHARS_MAX),
        escape::quoted(what, ASKED_CHARS_MAX),
        escape::line(result, RESULT_CHARS_MAX)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker(is_owner: bool) -> Asker {
        Asker { name: "token deploy".to_owned(), is_owner }
    }

    fn command(words: &[&str]) -> Command {
        Command::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn only_the_owner_has_the_server_open_a_path() {
        let page = command(&["maintenance", "on", "page", "/etc/shadow"]);
        assert_eq!(asker(true).may(&page), Ok(()));
        let why = asker(false).may(&page).unwrap_err();
        assert!(why.contains("token deploy may not name a file"), "{why}");
        for words in [&["maintenance", "on", "allow", "::1"][..], &["scale", "3"], &["shutdown"]] {
            assert_eq!(asker(false).may(&command(words)), Ok(()), "{words:?}");
        }
    }

    #[test]
    fn what_was_asked_for_is_one_short_line_whatever_it_says() {
        let forged = "x\n[2026-12-01 10:00:00 +0000] [1] [INFO] Admin: token alice asked for \"shutdown\": done";
        let line = told("token\nbob", &format!("set {forged}{}", "y".repeat(100_000)), forged);
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.starts_with("token\\x0abob asked for \"set x\\x0a["), "{line}");
        assert!(line.contains("\\\"shutdown\\\""), "a quote cannot end what was asked for: {line}");
        assert!(line.chars().count() < 2_000, "{}", line.len());
        let plain = told("user 0 (pid 7)", "scale 3", "done");
        assert_eq!(plain, "user 0 (pid 7) asked for \"scale 3\": done");
    }
}
