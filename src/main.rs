//! The binary: command line and wiring.

#![forbid(unsafe_code)]

mod args;
mod metrics;
mod serve;
mod signals;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false)
        .init();
    let args::Command::Serve(options) = cli.command();
    match serve::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("corelane: {message}");
            ExitCode::FAILURE
        }
    }
}
