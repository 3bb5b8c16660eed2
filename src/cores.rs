//! Which cores the shards run on, and how many there are.

use core_affinity::CoreId;
use shards::partition::MAX_SHARDS;

use crate::args::ServeOptions;

/// One core a shard: by default those of `--cpus`, or one.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub(crate) fn choose(options: &ServeOptions) -> Result<Vec<CoreId>, String> {
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    if allowed.is_empty() && options.cpus.is_none() {
        return Err("the system does not tell which cores there are; use --cpus 0".into());
    }
    let cores = match &options.cpus {
        None => allowed,
        Some(list) => listed(&list.0, &allowed)?,
    };
    let shards = match options.shards {
        Some(shards) => usize::from(shards),
        None if options.cpus.is_some() => cores.len(),
        None => 1,
    };
    if shards == 0 || shards > usize::from(MAX_SHARDS) {
        return Err(format!("--shards {shards}: expected 1 to {MAX_SHARDS}"));
    }
    if shards > cores.len() {
        tracing::warn!(
            "{shards} shards share {} cores: each waits for the others; one a core is best",
            cores.len()
        );
    }
    if let Some(quota) = quota().filter(|quota| *quota < shards) {
        tracing::warn!("{shards} shards, and the control group gives time for {quota} cores");
    }
    Ok((0..shards).map(|n| cores[n % cores.len()]).collect())
}

fn listed(wanted: &[usize], allowed: &[CoreId]) -> Result<Vec<CoreId>, String> {
    let known = |id: &usize| allowed.iter().find(|core| core.id == *id).copied();
    wanted
        .iter()
        .map(|id| {
            known(id).ok_or_else(|| {
                let ids: Vec<usize> = allowed.iter().map(|core| core.id).collect();
                format!("--cpus: core {id} is not among those this process may use ({ids:?})")
            })
        })
        .collect()
}

/// Whole cores of processor time that the control group allows, at least one (cgroup v2
/// `cpu.max`, v1 `cpu.cfs_quota_us`); none where it sets no limit.
fn quota() -> Option<usize> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let (quota, period) = match read("/sys/fs/cgroup/cpu.max") {
        Some(text) => {
            let (quota, period) = text.trim().split_once(' ')?;
            (quota.parse::<u64>().ok()?, period.parse::<u64>().ok()?)
        }
        None => {
            let quota = read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")?;
            let period = read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")?;
            (quota.trim().parse().ok()?, period.trim().parse().ok()?)
        }
    };
    Some((quota / period.max(1)).max(1) as usize)
}
