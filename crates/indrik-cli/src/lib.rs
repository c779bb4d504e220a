//! The `indrik` command: reads the command line, gathers what a launch is made of, and hands it
//! to the server. Every mistake is told as `indrik: error: …` with a hint below it.
//!
//! Exit codes here: 0 done, 1 wrong settings, 2 wrong usage (as argparse has it). The server adds
//! Gunicorn's 3 and 4 for applications that fail.
#![forbid(unsafe_code)]

mod arguments;
mod explain;
mod gather;

use std::io::Write as _;

use indrik_core::settings::{Launch, Problem, render};

use arguments::{Action, Arguments};

/// Runs the command. `args` begins with the program's own name; `python_executable` is the Python
/// that will run zygote and workers. Returns the process's exit code.
pub fn main(args: Vec<String>, python_executable: String) -> i32 {
    match run(args, python_executable) {
        Ok(code) => code,
        Err(failure) => {
            print_error(&render::problems(&failure.problems));
            failure.exit_code
        }
    }
}

fn run(args: Vec<String>, python_executable: String) -> Result<i32, Failure> {
    let arguments = Arguments::parse(args.into_iter().skip(1))?;
    match arguments.action {
        Action::Help => print(&render::help()),
        Action::Version => print(concat!("indrik ", env!("CARGO_PKG_VERSION"), "\n")),
        Action::Explain(name) => {
            let launch = gather::launch(arguments.layer, python_executable)?;
            print(&explain::explain(&launch, &name)?);
        }
        Action::Run => {
            let launch = gather::launch(arguments.layer, python_executable)?;
            need_application(&launch)?;
            return Ok(indrik_server::run(launch));
        }
    }
    Ok(0)
}

/// Without any configuration file nothing can name the application later: say so before Python is
/// started. With one, the server resolves the settings once the file has been read.
fn need_application(launch: &Launch) -> Result<(), Failure> {
    let has_file =
        launch.config_request().is_some() || launch.cwd.join(gather::CONFIG_FILE).exists();
    if has_file {
        return Ok(());
    }
    indrik_core::settings::resolve(launch, None).map(drop).map_err(Failure::settings)
}

/// Why the command gives up.
struct Failure {
    problems: Vec<Problem>,
    exit_code: i32,
}

impl Failure {
    /// The command line cannot be understood.
    fn usage(problem: Problem) -> Self {
        Self { problems: vec![problem], exit_code: 2 }
    }

    /// What was asked for cannot be done.
    fn settings(problems: Vec<Problem>) -> Self {
        Self { problems, exit_code: 1 }
    }
}

/// A reader that has seen enough and closed the pipe is no error.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Nowhere is left to complain about a closed standard error.
fn print_error(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
