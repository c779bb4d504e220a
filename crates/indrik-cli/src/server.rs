//! Which server a command is for, and the exit codes of the commands that steer one.

use clap::{Arg, ArgAction, ArgMatches, Command};
use indrik_core::settings::Problem;
use indrik_server::control::client::{Connection, Kind, Target, Trouble};

use crate::ctl;
use crate::failure::Failure;

const JSON: &str = "json";
const HELP: &str = "help";

/// No server was found, or it is not clear which one is meant.
pub(crate) const NO_SERVER: i32 = 3;
/// What was waited for did not come in time, or the server does not answer.
pub(crate) const NOT_IN_TIME: i32 = 4;

/// What every help text says of the options that name a server.
pub(crate) const OPTIONS: &str = "\
  -b, --bind ADDRESS   the server that listens there: 127.0.0.1:8000, :8000, unix:/run/app.sock
      --chdir DIR      the server that runs in this directory
      --app NAME       the server of this application: main:app, or its proc_name
  -p, --pid PID        the number of its master process, or its pid file
  -s, --socket SOCKET  its control socket: a path, or @NAME for an abstract one
  -j, --json           print JSON

Without them the only server of this user is meant.
Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no such server, or several, 4 not in time.
";

/// The words after a command's name, and what is common to all of them.
pub(crate) struct Asked {
    pub(crate) target: Target,
    pub(crate) json: bool,
    pub(crate) help: bool,
    pub(crate) matches: ArgMatches,
}

impl Asked {
    /// Parses them; `own` are the command's own.
    pub(crate) fn parse(
        name: &'static str,
        own: impl IntoIterator<Item = Arg>,
        args: impl Iterator<Item = String>,
    ) -> Result<Self, Failure> {
        let command = Command::new(name)
            .args(ctl::target_arguments())
            .arg(switch(JSON).short('j'))
            .arg(switch(HELP).short('h'))
            .args(own);
        let matches =
            ctl::parse(command, args, &format!("indrik {name} --help shows how it is used"))?;
        let target = ctl::target(&matches);
        Ok(Self { target, json: matches.get_flag(JSON), help: matches.get_flag(HELP), matches })
    }

    /// A connection for looking: any server that is meant.
    pub(crate) fn connect(&self) -> Result<Connection, Failure> {
        Connection::open(&self.target).map_err(failure)
    }

    /// A connection for changing something: to the server that serves.
    pub(crate) fn connect_to_change(&self) -> Result<Connection, Failure> {
        let connection = self.connect()?;
        Ok(connection.that_serves(&self.target).map_err(failure)?.0)
    }
}

/// A flag without a value.
pub(crate) fn switch(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue)
}

/// Trouble with its exit code.
pub(crate) fn failure(trouble: Trouble) -> Failure {
    let exit_code = match trouble.kind {
        Kind::NoServer => NO_SERVER,
        Kind::Silent => NOT_IN_TIME,
        Kind::Refused => 1,
    };
    Failure { exit_code, ..ctl::failure(trouble) }
}

/// A failure with its own exit code.
pub(crate) fn failed(exit_code: i32, what: impl Into<String>, hint: &str) -> Failure {
    let hint = (!hint.is_empty()).then(|| hint.to_owned());
    let problem = Problem { what: what.into(), place: None, hint };
    Failure { exit_code, ..Failure::settings(vec![problem]) }
}

#[cfg(test)]
mod tests {
    use indrik_server::control::Marks;

    use super::*;

    fn target(line: &str) -> Target {
        let asked = Asked::parse("status", [], line.split_whitespace().map(str::to_owned));
        asked.unwrap_or_else(|failure| panic!("{:?}", failure.problems)).target
    }

    #[test]
    fn a_server_is_named_by_its_number_its_socket_or_its_marks() {
        assert_eq!(target(""), Target::Only);
        assert_eq!(target("-p 7 -b :8000"), Target::Pid(7));
        let marks = Marks { bind: Some(":8000".to_owned()), ..Marks::default() };
        assert_eq!(target("-b :8000"), Target::Marked(marks));
        let marks =
            Marks { directory: Some("/".into()), application: Some("a:b".to_owned()), bind: None };
        assert_eq!(target("--chdir / --app a:b"), Target::Marked(marks));
    }
}
