//! Which cores the shards run on, and how many there are.

use std::num::NonZero;

use core_affinity::CoreId;
use shards::partition::MAX_SHARDS;

use crate::args::{ServeOptions, parse_cpus};

/// Shards for each core at the most. More wait for each other all the same, and cost memory: 5 MB
/// each, and 33 KB for each other one, since any two have parcels for each other.
const MOST_A_CORE: usize = 8;

/// One core a shard: those of `--cpus`, or all that this process may use and has time for.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub(crate) fn choose(options: &ServeOptions) -> Result<Vec<CoreId>, String> {
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    if allowed.is_empty() && options.cpus.is_none() {
        return Err("the system does not tell which cores there are; use --cpus 0".into());
    }
    let machine = Machine {
        online: std::fs::read_to_string("/sys/devices/system/cpu/online")
            .ok()
            .and_then(|list| parse_cpus(list.trim()).ok())
            .map_or(allowed.len(), |list| list.0.len()),
        allowed: allowed.len(),
        // Affinity and the control groups' quotas, whole cores.
        time_for: std::thread::available_parallelism().map_or(allowed.len(), NonZero::get),
    };
    let cores = match &options.cpus {
        None => allowed,
        Some(list) => listed(&list.0, &allowed)?,
    };
    let listed = options.cpus.as_ref().map(|_| cores.len());
    let (shards, remarks) = machine.shards(options.shards.map(usize::from), listed)?;
    for remark in remarks {
        match remark {
            Remark::Choice(text) => tracing::info!("{text}"),
            Remark::Doubt(text) => tracing::warn!("{text}"),
        }
    }
    Ok((0..shards).map(|n| cores[n % cores.len()]).collect())
}

/// What the operator should know.
#[derive(Debug)]
enum Remark {
    /// Why there are so many.
    Choice(String),
    /// That what was asked for is not wise.
    Doubt(String),
}

/// Cores, by who gives them.
#[derive(Clone, Copy, Debug)]
struct Machine {
    online: usize,
    allowed: usize,
    time_for: usize,
}

impl Machine {
    /// How many shards to run, and what to say about it. `asked` is
    /// `--shards`, `listed` the number of cores in `--cpus`.
    fn shards(
        self,
        asked: Option<usize>,
        listed: Option<usize>,
    ) -> Result<(usize, Vec<Remark>), String> {
        let Self { online, allowed, time_for } = self;
        let cores = listed.unwrap_or(allowed);
        let most = usize::from(MAX_SHARDS).min(MOST_A_CORE * cores);
        let own_choice = if listed.is_some() { cores } else { cores.min(time_for) };
        let shards = asked.unwrap_or(own_choice.min(most));
        if shards == 0 || shards > most {
            return Err(too_many(shards, most, cores, listed.is_some()));
        }
        let mut remarks = Vec::new();
        if asked.is_none() && listed.is_none() && shards < online {
            let why = match () {
                () if time_for < allowed => {
                    format!("the control group gives time for {time_for}")
                }
                () if allowed < online => format!("this process may use {allowed}"),
                () => format!("a node has at most {most} shards"),
            };
            remarks.push(Remark::Choice(format!("{online} cores, {shards} with a shard: {why}")));
        } else if time_for < cores && shards > time_for {
            let quota =
                format!("{shards} shards, and the control group gives time for {time_for} cores");
            remarks.push(Remark::Doubt(quota));
        }
        if shards > cores {
            let crowd = "each waits for the others; one a core is best";
            remarks.push(Remark::Doubt(format!("{shards} shards share {cores} cores: {crowd}")));
        }
        Ok((shards, remarks))
    }
}

fn too_many(shards: usize, most: usize, cores: usize, are_listed: bool) -> String {
    if most == usize::from(MAX_SHARDS) {
        return format!("--shards {shards}: expected 1 to {most}");
    }
    let cores = if cores == 1 { "1 core".into() } else { format!("{cores} cores") };
    let whose = if are_listed { "in --cpus" } else { "that this process may use" };
    format!(
        "--shards {shards}: expected 1 to {most}, {MOST_A_CORE} for each of the {cores} {whose}: any \
         two shards hold memory for each other"
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_shards_as_cores_unless_told_or_held_back() {
        let machine = |online, allowed, time_for| Machine { online, allowed, time_for };
        for (machine, asked, listed, shards, said) in [
            (machine(4, 4, 4), None, None, 4, ""),
            (machine(4, 2, 2), None, None, 2, "may use 2"),
            (machine(4, 4, 1), None, None, 1, "control group gives time for 1"),
            (machine(4, 4, 1), Some(2), None, 2, "control group gives time for 1"),
            (machine(4, 4, 1), None, Some(3), 3, "control group gives time for 1"),
            (machine(4, 4, 4), Some(1), None, 1, ""),
            (machine(4, 4, 4), Some(6), None, 6, "6 shards share 4 cores"),
            (machine(4, 4, 4), Some(3), Some(2), 3, "3 shards share 2 cores"),
            (machine(4, 4, 4), None, Some(2), 2, ""),
            (machine(4096, 4096, 4096), None, None, MAX_SHARDS.into(), "at most"),
        ] {
            let (chosen, remarks) = machine.shards(asked, listed).unwrap();
            assert_eq!(chosen, shards, "{machine:?} {asked:?} {listed:?}");
            assert_eq!(remarks.is_empty(), said.is_empty(), "{remarks:?}");
            assert!(format!("{remarks:?}").contains(said), "{remarks:?}");
        }
    }

    #[test]
    fn more_shards_than_there_is_room_for_are_refused() {
        let refused = |cores, asked, listed| {
            let machine = Machine { online: cores, allowed: cores, time_for: cores };
            machine.shards(Some(asked), listed).expect_err("refused")
        };
        for (cores, asked, listed, said) in [
            (4, 0, None, "expected 1 to 32, 8 for each of the 4 cores that this process may use"),
            (4, 33, None, "expected 1 to 32, "),
            (4, 9, Some(1), "expected 1 to 8, 8 for each of the 1 core in --cpus"),
            (256, 1025, None, "--shards 1025: expected 1 to 1024"),
        ] {
            let text = refused(cores, asked, listed);
            assert!(text.contains(said), "{text}");
        }
        let two = Machine { online: 2, allowed: 2, time_for: 1 };
        assert_eq!(two.shards(Some(16), None).expect("as many as there may be").0, 16);
    }
}
