//! One run from plan to verdict.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use dataplane::net;
use dataplane::runtime::epoll::Epoll;
use dataplane::runtime::uring::Uring;
use dataplane::runtime::{Driver, DriverKind, clock};
use shards::time::Nanos;

use crate::disturb::{Side, Windows};
use crate::engine::Engine;
use crate::plan::Plan;
use crate::record::{Record, Window};
use crate::report::{self, Outcome};
use crate::validity::{self, Verdict};

/// Descriptors besides the load's connections.
const OWN_DESCRIPTORS: u64 = 32;
/// Of a thread that gives way to all others.
const LOWEST_PRIORITY: i32 = 19;
/// From when everything is connected to the start of the schedule.
const LEAD: Nanos = Nanos(20_000_000);
/// The longest that a disturbed run may last, and the most requests it may take: how long
/// preparations take is not known beforehand.
const LONGEST_DISTURBED: Nanos = Nanos(1_800_000_000_000);
const MOST_DISTURBED: u64 = 20_000_000;

/// Runs and reports.
///
/// # Errors
/// One line, when there is nothing to report.
pub(crate) fn run(plan: &Plan) -> Result<Verdict, String> {
    let files = net::raise_file_limit();
    if files < plan.connections as u64 + OWN_DESCRIPTORS {
        return Err(format!(
            "--connections {}: only {files} open files are allowed; raise `ulimit -n`",
            plan.connections
        ));
    }
    let lost = |error: io::Error| format!("{}: {error}", plan.target);
    if plan.fill {
        let mut side = Side::connect(plan.target).map_err(lost)?;
        side.fill(plan.keys, plan.value_bytes).map_err(lost)?;
    }
    let (record, windows) = match plan.driver.kind {
        DriverKind::Uring => load(Uring::new, plan),
        DriverKind::Epoll => load(Epoll::new, plan),
        DriverKind::Sim => return Err("a simulated network carries no load".into()),
    }?;
    let outcome = match windows {
        Some(windows) => Outcome {
            idle: record.within(&windows.idle),
            disturbed: Some(record.within(&windows.disturbed)),
            answers: windows.answers,
        },
        None => {
            let (from, to) = (plan.warmup, plan.warmup.after(plan.duration));
            let idle = record.within(&[Window { from, to }]);
            Outcome { idle, disturbed: None, answers: Vec::new() }
        }
    };
    let measured: Vec<_> =
        [Some(&outcome.idle), outcome.disturbed.as_ref()].into_iter().flatten().collect();
    let objections = validity::objections(&record, &measured);
    report::show(plan, &outcome, &objections)?;
    Ok(if objections.is_empty() { Verdict::Valid } else { Verdict::Invalid })
}

/// Keeps the disturbing client off the server's cores: it shares the load's and gives way,
/// or its own work would pass for the server's.
fn step_aside(plan: &Plan) {
    let aside = core_affinity::set_for_current(plan.cpu)
        && rustix::process::setpriority_process(None, LOWEST_PRIORITY).is_ok();
    if !aside {
        eprintln!("corelane-bench: the disturbing client could not be kept out of the way");
    }
}

/// Runs the load on this thread, the disturbance on another.
fn load<D: Driver>(
    driver: fn() -> io::Result<D>,
    plan: &Plan,
) -> Result<(Record, Option<Windows>), String> {
    let lost = |error: io::Error| format!("{}: {error}", plan.target);
    let driver = driver().map_err(|error| format!("the driver could not be set up: {error}"))?;
    let engine = Engine::connect(driver, plan).map_err(lost)?;
    let span = match plan.disturb {
        Some(_) => {
            Nanos(LONGEST_DISTURBED.0.min(MOST_DISTURBED * Nanos::SECOND.0 / u64::from(plan.rate)))
        }
        None => plan.warmup.after(plan.duration),
    };
    let schedule = plan.arrivals.schedule(plan.rate, span, plan.seed);
    let start = clock::monotonic().after(LEAD);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let side = plan.disturb.as_ref().map(|disturb| {
            let stop = &stop;
            scope.spawn(move || {
                step_aside(plan);
                let windows = Side::connect(plan.target)
                    .and_then(|mut side| side.disturb(disturb, plan.duration, start));
                stop.store(true, Ordering::Relaxed);
                windows
            })
        });
        if !core_affinity::set_for_current(plan.cpu) {
            eprintln!("corelane-bench: not pinned to core {}; figures may be noisy", plan.cpu.id);
        }
        let record = engine.run(&schedule, start, &stop);
        if side.is_some() && !stop.load(Ordering::Relaxed) && record.is_ok() {
            return Err(format!(
                "the disturbances took more than {} s; use a lower --rate",
                span.0 / Nanos::SECOND.0
            ));
        }
        let windows = side.map(|side| {
            side.join()
                .map_err(|_| "the disturbing client has panicked".to_string())?
                .map_err(|error| format!("the disturbing client: {}: {error}", plan.target))
        });
        Ok((record?, windows.transpose()?))
    })
}
