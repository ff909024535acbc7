//! The `zktorch` command. The library does the work; this crate reads arguments, prints and exits.

mod args;
mod bench;
mod commands;
mod process;
mod ui;

use args::Cli;
use clap::Parser as _;
use std::process::ExitCode;
use ui::Ui;

/// How a command ends.
pub enum Outcome {
    /// Done, or verified.
    Done,
    /// The proof is rejected; the command has said why.
    Rejected,
}

/// Why a command fails.
pub enum Failure {
    /// The library says no.
    Library(Box<zktorch::Error>),
    /// The command line or its environment does not fit.
    Usage {
        /// Stable code.
        code: &'static str,
        /// What is wrong.
        message: String,
        /// What to do.
        help: String,
    },
}

impl<E: Into<zktorch::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Library(Box::new(error.into()))
    }
}

impl Failure {
    fn report(&self, ui: &Ui) {
        match self {
            Failure::Library(e) => ui.error(e.code(), &e.to_string(), e.help().as_deref()),
            Failure::Usage { code, message, help } => ui.error(code, message, Some(help)),
        }
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let ui = Ui::new(cli.common);
    // This thread is one of the pool's: handing every short loop to another one and waiting would take longer than the loop.
    let threads = cli.common.threads.map_or(0, usize::from);
    if let Err(error) = rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread().build_global() {
        let wanted = if threads == 0 { "threads".to_owned() } else { format!("{threads} threads") };
        ui.error("E0901", &format!("cannot start {wanted}: {error}"), Some("ask for fewer with --threads"));
        return ExitCode::from(2);
    }
    match commands::dispatch(cli, &ui) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Rejected) => ExitCode::from(1),
        Err(failure) => {
            failure.report(&ui);
            ExitCode::from(2)
        }
    }
}

/// Help and version are answers (exit 0); everything else is a mistake (exit 2), as JSON if `--json` is anywhere on the line.
fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|a| a == "--json") {
        let ui = Ui::new(args::Common { json: true, quiet: false, verbose: false, threads: None });
        let text = error.render().to_string();
        let message = text.trim().strip_prefix("error: ").unwrap_or(text.trim());
        ui.error("E0900", message, Some("see zktorch --help"));
        return ExitCode::from(2);
    }
    // Nothing can be done if even this cannot be printed.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}
