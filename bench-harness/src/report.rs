//! What a run says: a table for people, JSON for programs.

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use shards::time::Nanos;

use crate::plan::Plan;
use crate::record::Distribution;

/// What was measured.
pub(crate) struct Outcome {
    /// The whole run, or the windows in which the server was left alone.
    pub(crate) idle: Distribution,
    /// The windows with the disturbance.
    pub(crate) disturbed: Option<Distribution>,
    /// How long the disturbing commands took.
    pub(crate) answers: Vec<Nanos>,
}

const QUANTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)];

/// Prints the table and writes the JSON where asked for.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn show(plan: &Plan, outcome: &Outcome, objections: &[String]) -> Result<(), String> {
    let to_stdout = plan.json.as_deref() == Some("-");
    if !to_stdout {
        table(plan, outcome);
    }
    for objection in objections {
        eprintln!("NOT VALID: {objection}");
    }
    let Some(path) = &plan.json else { return Ok(()) };
    let text = format!("{:#}\n", document(plan, outcome, objections));
    if to_stdout {
        print!("{text}");
        return Ok(());
    }
    std::fs::write(path, text).map_err(|error| format!("--json {path}: {error}"))
}

fn table(plan: &Plan, outcome: &Outcome) {
    println!(
        "{} at {}/s over {} connections, {:?} arrivals, seed {}, driver {}",
        plan.target, plan.rate, plan.connections, plan.arrivals, plan.seed, plan.driver.kind
    );
    print!("{:24}{:>10}", "us from when due", "requests");
    QUANTILES.iter().for_each(|(name, _)| print!("{name:>10}"));
    println!();
    let name = if outcome.disturbed.is_some() { "left alone" } else { "latency" };
    row(name, &outcome.idle.latency);
    if let Some(disturbed) = &outcome.disturbed {
        row("disturbed", &disturbed.latency);
        println!("p99 disturbed / left alone: {:.2}", ratio(&outcome.idle, disturbed));
        let longest = outcome.answers.iter().max().copied().unwrap_or_default();
        println!(
            "the disturbing command was answered within {:.1} ms, {} times",
            longest.0 as f64 / 1e6,
            outcome.answers.len()
        );
    }
    row("the harness was late by", &outcome.idle.lateness);
}

fn row(name: &str, histogram: &Histogram<u64>) {
    print!("{name:24}{:>10}", histogram.len());
    for (_, quantile) in QUANTILES {
        print!("{:>10.1}", histogram.value_at_quantile(quantile) as f64 / 1e3);
    }
    println!();
}

fn ratio(idle: &Distribution, disturbed: &Distribution) -> f64 {
    let p99 = |of: &Distribution| of.latency.value_at_quantile(0.99) as f64;
    p99(disturbed) / p99(idle)
}

fn document(plan: &Plan, outcome: &Outcome, objections: &[String]) -> Value {
    let part = |histogram: &Histogram<u64>| {
        let mut part = json!({"requests": histogram.len()});
        for (name, quantile) in QUANTILES {
            part[format!("{name}_us")] = json!(histogram.value_at_quantile(quantile) as f64 / 1e3);
        }
        part
    };
    let mut document = json!({
        "target": plan.target.to_string(),
        "rate": plan.rate,
        "connections": plan.connections,
        "seed": plan.seed,
        "driver": plan.driver.kind.name(),
        "latency": part(&outcome.idle.latency),
        "lateness": part(&outcome.idle.lateness),
        "valid": objections.is_empty(),
        "objections": objections,
    });
    if let Some(disturbed) = &outcome.disturbed {
        document["disturbed"] = part(&disturbed.latency);
        document["p99_ratio"] = json!(ratio(&outcome.idle, disturbed));
        document["answers_ms"] =
            outcome.answers.iter().map(|a| a.0 as f64 / 1e6).collect::<Vec<_>>().into();
    }
    document
}
