//! `indrik token new`: a token for the admin listener.

use std::fs::File;
use std::io::Read as _;

use clap::{Arg, ArgAction, Command};
use indrik_core::admin::access::Scope;
use indrik_core::admin::tokens;
use indrik_core::settings::Problem;

use crate::ctl;
use crate::failure::Failure;
use crate::output::print_error;

const HELP: &str = "\
Make a token for the admin listener. It is printed once, on standard output; the line that lets the server know it, which
does not tell the token, is appended to FILE, or printed on standard error.

Usage: indrik token new NAME [--scope read|operate] [--file FILE]

      --scope SCOPE    read: looking; operate: looking and changing (default: read)
      --file FILE      the file of admin_tokens; made, for its owner only, if it is not there
";
/// Bytes of chance in a token.
const TOKEN_BYTES: usize = 32;

/// Does what the words after `token` say; the text to print.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Result<String, Failure> {
    let command = Command::new("indrik token")
        .arg(Arg::new("scope").long("scope").default_value("read"))
        .arg(Arg::new("file").long("file"))
        .arg(Arg::new("help").short('h').long("help").action(ArgAction::SetTrue))
        .arg(Arg::new("words").num_args(0..));
    let matches = ctl::parse(command, args, HINT)?;
    if matches.get_flag("help") {
        return Ok(HELP.to_owned());
    }
    let words: Vec<&String> = matches.get_many("words").into_iter().flatten().collect();
    let [new, name] = words.as_slice() else { return Err(usage("say: indrik token new NAME")) };
    if *new != "new" {
        return Err(usage("say: indrik token new NAME"));
    }
    let scope = matches.get_one::<String>("scope").map_or("", String::as_str);
    let scope = Scope::named(scope).ok_or_else(|| usage("the scope is read or operate"))?;
    let token = token().map_err(|error| failed(&format!("no chance to be had: {error}")))?;
    let line = tokens::line(name, scope, &token).map_err(|why| usage(&why))?;
    match matches.get_one::<String>("file") {
        None => print_error(&format!("{line}\n")),
        Some(path) => indrik_server::paths::add_line(path.as_ref(), &line)
            .map_err(|error| failed(&format!("cannot write to {path}: {error}")))?,
    }
    Ok(format!("{token}\n"))
}

const HINT: &str = "indrik token --help shows how it is used";

fn token() -> std::io::Result<String> {
    let mut bytes = [0; TOKEN_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("indrik_{hex}"))
}

fn usage(what: &str) -> Failure {
    Failure::usage(Problem { what: what.to_owned(), place: None, hint: Some(HINT.to_owned()) })
}

fn failed(what: &str) -> Failure {
    Failure::settings(vec![Problem { what: what.to_owned(), place: None, hint: None }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(words: &[&str]) -> Result<String, Failure> {
        run(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn a_token_is_known_by_the_line_in_the_file_and_no_two_are_equal() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tokens").display().to_string();
        let one = tell(&["new", "deploy", "--scope", "operate", "--file", &file]).ok().unwrap();
        let two = tell(&["new", "grafana", "--file", &file]).ok().unwrap();
        assert_ne!(one, two);
        let known = tokens::Tokens::read(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(known.whose(one.trim()), Some(("deploy", Scope::Operate)));
        assert_eq!(known.whose(two.trim()), Some(("grafana", Scope::Read)));
    }

    #[test]
    fn a_wrong_scope_name_or_word_is_wrong_usage() {
        for words in [&["new"][..], &["make", "x"], &["new", "x", "--scope", "root"], &["new", "ä"]]
        {
            assert_eq!(tell(words).unwrap_err().exit_code, 2, "{words:?}");
        }
    }
}
