//! `indrik reload`: new code and settings in a running server, and how that went.

use crate::ctl::Ctl;
use crate::failure::Failure;

const HELP: &str = "\
Load code and settings anew in a running server, and wait until they serve.

Usage: indrik reload [-s SOCKET | -p PID] [-j] [--no-wait]

  -b, --bind ADDRESS   the server that listens there; also --chdir DIR, --app NAME
  -s, --socket SOCKET  its control socket: a path, or @NAME for an abstract one
  -p, --pid PID        the number of its master process, or its pid file
  -j, --json           print the answer as JSON
      --no-wait        ask for it only

Without these the only server of this user is meant.
Exit code 0: the new generation serves. 1: it does not, and the old one does; the reason and the
traceback are printed.
";

/// Does what the words after `reload` say; the text to print.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Result<String, Failure> {
    let ctl = Ctl::parse(std::iter::once("reload".to_owned()).chain(args))?;
    if ctl.help { Ok(HELP.to_owned()) } else { ctl.run() }
}
