//! CONFIG and TIME.

#![forbid(unsafe_code)]

use crate::glob;
use crate::settings::{PARAMETERS, Parameter, Refusal, Settings, parameter};
use crate::stats::Baseline;

use super::{Args, CommandError, Context};

type Done = Result<(), CommandError>;

pub(super) fn config_get(c: &mut Context<'_>) -> Done {
    let patterns = (2..c.args.len()).map(|n| c.pattern(n)).collect::<Result<Vec<_>, _>>()?;
    let fits = |p: &&Parameter| patterns.iter().any(|g| glob::matches(g, p.name.as_bytes(), true));
    let matching: Vec<&Parameter> = PARAMETERS.iter().filter(fits).collect();
    c.reply.map(matching.len());
    for parameter in matching {
        c.reply.bulk(parameter.name.as_bytes());
        c.reply.bulk(&(parameter.get)(&c.shard.settings));
    }
    Ok(())
}

pub(super) fn config_set(c: &mut Context<'_>) -> Done {
    if !c.args.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    let args = *c.args;
    c.shard.settings = c.host.change_settings(&mut |old| changed(&args, old))?;
    c.reply.ok();
    Ok(())
}

/// All or nothing: the settings in force change only when every pair was taken.
fn changed(args: &Args<'_>, old: &Settings) -> Result<Settings, CommandError> {
    let mut settings = old.clone();
    let mut seen: Vec<&str> = Vec::new();
    for n in (2..args.len()).step_by(2) {
        let name = String::from_utf8_lossy(args.at(n)).into_owned();
        let Some(parameter) = parameter(&name) else {
            let text =
                format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'");
            return Err(CommandError::Other(text));
        };
        let refuse = |why| not_set(&name, why);
        if seen.contains(&parameter.name) {
            return Err(refuse("duplicate parameter"));
        }
        seen.push(parameter.name);
        let set = parameter.set.ok_or_else(|| refuse("can't set immutable config"))?;
        set(&mut settings, args.at(n + 1)).map_err(refuse)?;
    }
    settings.check(&seen).map_err(|(name, why)| not_set(name, why))?;
    Ok(settings)
}

fn not_set(name: &str, why: Refusal) -> CommandError {
    CommandError::Other(format!(
        "ERR CONFIG SET failed (possibly related to argument '{name}') - {why}"
    ))
}

pub(super) fn config_resetstat(c: &mut Context<'_>) -> Done {
    c.shard.baseline = Baseline {
        stats: c.shard.stats.copy(),
        accepted: c.host.connections_accepted(),
        refused: c.host.connections_refused(),
    };
    c.reply.ok();
    Ok(())
}

pub(super) fn time(c: &mut Context<'_>) -> Done {
    c.reply.array(2);
    c.reply.text(c.now.unix_seconds());
    c.reply.text(c.now.wall_us % 1_000_000);
    Ok(())
}
