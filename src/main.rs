//! The binary: command line and wiring.

#![forbid(unsafe_code)]

mod access_log;
mod args;
mod cluster;
mod config;
mod cores;
mod doors;
mod http;
mod listeners;
mod logging;
mod memory;
mod metrics;
mod reload;
mod serve;
mod signals;

use std::io::IsTerminal;
use std::process::ExitCode;

fn main() -> ExitCode {
    let ended = match args::read() {
        args::Command::Serve(options) if options.print => config::print(&options),
        args::Command::Serve(options) => serve(options),
        args::Command::Validate { files } => config::validate(files),
        args::Command::Explain { what } => config::explain(what.as_deref()),
        args::Command::Schema { kind } => config::schema(kind.as_deref()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("corelane: {message}");
            ExitCode::FAILURE
        }
    }
}

fn serve(options: args::ServeOptions) -> Result<(), String> {
    let early = signals::hold_back()?;
    let log = logging::start(std::io::stderr().is_terminal());
    serve::run(options, &log, early)
}
