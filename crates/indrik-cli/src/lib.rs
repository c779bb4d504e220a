//! The `indrik` command: reads the command line, gathers what a launch is made of, and hands it
//! to the server. Every mistake is told as `indrik: error: …` with a hint below it.
//!
//! Exit codes here: 0 done, 1 wrong settings, 2 wrong usage (as argparse has it); the commands that steer a server have
//! two more (`server`). The server adds
//! Gunicorn's 3 and 4 for applications that fail.
#![forbid(unsafe_code)]

mod abbreviation;
mod alerts;
mod arguments;
mod check;
mod ctl;
mod events;
mod explain;
mod failure;
mod foreign;
mod gather;
mod look;
mod memory;
mod output;
mod profile;
mod record;
mod reload;
mod reloaded;
mod seen;
mod server;
mod set;
mod stacks;
mod status;
mod steer;
mod token;
mod top;
mod upgrade;

pub use indrik_core::settings::Typed;
use indrik_core::settings::{Launch, render};
use indrik_server::Outcome;

use arguments::{Action, Arguments};
use failure::Failure;
use output::{print, print_error};

/// Runs the command. Its arguments begin with the program's own name. Returns the process's exit code.
pub fn main(typed: Typed) -> i32 {
    match run(typed) {
        Ok(code) => code,
        Err(failure) => {
            let problems = render::problems(&failure.problems);
            // A server that waits for this one to take its place hears of it too.
            indrik_server::say_wrong(&format!("{}{problems}", failure.traceback));
            print_error(&failure.traceback);
            print_error(&problems);
            failure.exit_code
        }
    }
}

fn run(typed: Typed) -> Result<i32, Failure> {
    // What is not UTF-8 is no setting's name, and is told with the character that stands for such bytes.
    let args = typed.arguments.iter().map(|word| word.to_string_lossy().into_owned());
    let mut args = args.skip(1).collect::<Vec<_>>().into_iter().peekable();
    if args.next_if(|word| word == "ctl").is_some() {
        print(&ctl::Ctl::parse(args)?.run()?);
        return Ok(0);
    }
    if args.next_if(|word| word == "reload").is_some() {
        print(&reload::run(args)?);
        return Ok(0);
    }
    if !is_gunicorn(&typed) && args.next_if(|word| word == "record").is_some() {
        print(&record::run(args)?);
        return Ok(0);
    }
    if args.next_if(|word| word == "set").is_some() {
        print(&set::run(args)?);
        return Ok(0);
    }
    if args.next_if(|word| word == "token").is_some() {
        print(&token::run(args)?);
        return Ok(0);
    }
    if args.next_if(|word| word == "upgrade").is_some() {
        print(&upgrade::run(args)?);
        return Ok(0);
    }
    if args.next_if(|word| word == "stacks").is_some() {
        print(&stacks::run(args)?);
        return Ok(0);
    }
    if args.next_if(|word| word == "memory").is_some() {
        print(&memory::run(args)?);
        return Ok(0);
    }
    if args.next_if(|word| word == "profile").is_some() {
        print(&profile::run(args)?);
        return Ok(0);
    }
    if !is_gunicorn(&typed)
        && let Some(word) = args.peek().cloned()
        && let Some(done) = look_or_steer(&word, args.clone().skip(1))
    {
        print(&done?);
        return Ok(0);
    }
    let arguments = Arguments::parse(args)?;
    match arguments.action {
        Action::Help => print(&render::help()),
        // The form that scripts take apart for Gunicorn.
        Action::Version => print(concat!("indrik (version ", env!("CARGO_PKG_VERSION"), ")\n")),
        Action::Explain(ref explained) => {
            let explained = explained.clone();
            let launch = gather::launch(arguments, typed)?;
            print(&explain::explain(&launch, &explained)?);
        }
        Action::Check => check::check(&gather::launch(arguments, typed)?)?,
        Action::Run => return serve(gather::launch(arguments, typed)?),
    }
    Ok(0)
}

/// Typed as `gunicorn`, the words stand for modules: its users may have one of such a name.
fn is_gunicorn(typed: &Typed) -> bool {
    let program = typed.arguments.first().map(std::path::Path::new);
    program.and_then(|path| path.file_name()).is_some_and(|name| name == "gunicorn")
}

/// The commands of an operator; `None`: the word is none of them.
fn look_or_steer(
    word: &str,
    args: impl Iterator<Item = String>,
) -> Option<Result<String, Failure>> {
    match word {
        "logs" => Some(events::run(events::Of::Logs, args)),
        "events" => Some(events::run(events::Of::Events, args)),
        "alerts" => Some(alerts::run(args)),
        "status" => Some(status::status(args)),
        "requests" => Some(status::requests(args)),
        "top" => Some(top::run(args)),
        _ => steer::command(word).map(|command| steer::run(command, args)),
    }
}

fn serve(launch: Launch) -> Result<i32, Failure> {
    if check::is_asked_for(&launch) {
        return check::check_config(&launch).map(|()| 0);
    }
    need_application(&launch)?;
    match indrik_server::run(launch.clone()) {
        Outcome::Exit(code) => Ok(code),
        Outcome::CheckOnly => check::check_config(&launch).map(|()| 0),
    }
}

/// Without any configuration file nothing can name the application later: say so before Python is
/// started. With one, the server resolves the settings once the file has been read.
fn need_application(launch: &Launch) -> Result<(), Failure> {
    let has_file =
        launch.config_request().is_some() || launch.cwd.join(gather::CONFIG_FILE).exists();
    if has_file || launch.env.contains_key(EMBEDDED) {
        return Ok(());
    }
    indrik_core::settings::resolve(launch, None).map(drop).map_err(Failure::settings)
}

/// Names the program that embeds the server, and whose configuration Python reads; see
/// `python/indrik/facade/_embed.py`.
const EMBEDDED: &str = "INDRIK_EMBEDDED";
