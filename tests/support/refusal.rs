//! Starts that must come to nothing: each is told in one line.

use std::process::Command;
use std::time::Duration;

use super::node::binary;
use super::tools;

/// Runs the binary to its end, which must be a failure told in one line; returns the line.
#[track_caller]
pub fn refused(command: &mut Command) -> String {
    let output = tools::run(command, Duration::from_secs(10));
    assert!(!output.status.success(), "it must not start");
    assert!(output.status.code().is_some(), "it ends by itself: {}", output.status);
    let text = String::from_utf8(output.stderr).expect("text");
    let is_log = |line: &&str| line.contains("INFO") && !line.starts_with("corelane:");
    let lines: Vec<_> =
        text.lines().filter(|line| !line.trim().is_empty() && !is_log(line)).collect();
    assert_eq!(lines.len(), 1, "one line that says what to do:\n{text}");
    lines[0].to_owned()
}

/// `corelane serve` on free ports, but for those that are given.
pub fn serve(driver: &str, args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("serve").args(["--driver", driver]);
    for flag in ["--resp", "--admin", "--cluster", "--http"] {
        if !args.contains(&flag) {
            command.args([flag, "127.0.0.1:0"]);
        }
    }
    command.args(args);
    command
}
