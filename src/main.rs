//! The binary: command line and wiring.

#![forbid(unsafe_code)]

mod args;
mod cluster;
mod cores;
mod http;
mod logging;
mod metrics;
mod reload;
mod serve;
mod signals;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let log = logging::start(std::io::stderr().is_terminal());
    let args::Command::Serve(options) = cli.command();
    let ended = serve::run(options, &log);
    drop(log);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("corelane: {message}");
            ExitCode::FAILURE
        }
    }
}
