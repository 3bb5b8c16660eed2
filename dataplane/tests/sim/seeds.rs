//! Which seeds are run, and what is said of one that fails.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::trace::Trace;

/// What a seed's run comes to.
type Attempt<R> = fn(u64, &mut Trace) -> Result<R, String>;

/// `SIM_SEEDS`: one number, or `from..to`; else the usual ones.
pub fn wanted(usual: Range<u64>) -> Range<u64> {
    let Ok(text) = std::env::var("SIM_SEEDS") else { return usual };
    let number = |text: &str| text.trim().parse::<u64>().expect("SIM_SEEDS=from..to or a number");
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(&text)..number(&text) + 1,
    }
}

/// Runs a seed; when it fails, runs it again in words and says how `test` repeats it.
pub fn check<R>(seed: u64, test: &str, run: Attempt<R>) -> R {
    let first = match attempt(seed, &mut Trace::new(false), run) {
        Ok(run) => return run,
        Err(why) => why,
    };
    let mut trace = Trace::new(true);
    let second = attempt(seed, &mut trace, run).err();
    let second = second.unwrap_or_else(|| "it did not fail again!".into());
    println!("{}", trace.last_lines());
    let same = if first == second { String::new() } else { format!("\nand then: {second}") };
    panic!(
        "seed {seed} failed: {first}{same}\n\
         again: SIM_SEEDS={seed} cargo test -p dataplane --test sim {test} -- --exact --nocapture"
    );
}

fn attempt<R>(seed: u64, trace: &mut Trace, run: Attempt<R>) -> Result<R, String> {
    let caught = catch_unwind(AssertUnwindSafe(|| run(seed, trace)));
    caught.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}
