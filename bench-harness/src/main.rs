//! `corelane-bench`: what a server's users wait for, measured from outside.
//!
//! Open loop: every send time is fixed before the run and latency counts from it, so that
//! a server that stalls is charged for all who would have come meanwhile (what Gil Tene
//! calls coordinated omission does not happen). A run judges itself: when the harness was
//! late, or answers are missing, it says so and exits with status 2.

#![forbid(unsafe_code)]

mod arrivals;
mod clients;
mod disturb;
mod engine;
mod plan;
mod record;
mod report;
mod run;
mod validity;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Open-loop latency measurements.
#[derive(Debug, Parser)]
#[command(name = "corelane-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Offer a fixed rate of requests and show how long their answers took.
    Run(plan::RunOptions),
}

fn main() -> ExitCode {
    let Command::Run(options) = Cli::parse().command;
    match options.validate().and_then(|plan| run::run(&plan)) {
        Ok(validity::Verdict::Valid) => ExitCode::SUCCESS,
        Ok(validity::Verdict::Invalid) => ExitCode::from(2),
        Err(message) => {
            eprintln!("corelane-bench: {message}");
            ExitCode::FAILURE
        }
    }
}
