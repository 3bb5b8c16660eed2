//! What the command line does with configurations: load, validate, explain, print.

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

use controlplane::resources::{self, Diagnostic, Spot};
use controlplane::{Loaded, PROXY_FLAG, Sources};
use shards::config::EndpointId;

use crate::args::ServeOptions;
use crate::listeners::Listeners;

/// The configuration of a node, from its files and flags; at start, and anew when it is told to.
pub(crate) fn load(options: &ServeOptions, generation: u64) -> Result<Loaded, Vec<Diagnostic>> {
    let sources = Sources { paths: options.config.clone(), proxy: options.proxy.clone() };
    controlplane::load(&sources, generation)
}

/// Refuses endpoints that are the node's own listeners: RFC 9110 section 7.6 forbids forwarding
/// a message to oneself without an end.
///
/// # Errors
/// All of them, a line each.
pub(crate) fn refuse_own(loaded: &Loaded, listeners: &Listeners) -> Result<(), String> {
    let mut faults = Vec::new();
    for endpoint in (0..loaded.snapshot.endpoints()).map(EndpointId) {
        let endpoint = loaded.snapshot.endpoint(endpoint);
        let Some(own) = listeners.reached_by(endpoint) else { continue };
        for spot in loaded.places.of(endpoint) {
            let text = format!(
                "{endpoint} leads back to this node, which listens on {own}: requests would go \
                 round; name another server"
            );
            faults.push(match &*spot.file {
                PROXY_FLAG => {
                    Diagnostic::new(&Spot::file(&format!("{PROXY_FLAG} http://{endpoint}")), text)
                }
                _ => Diagnostic::new(spot, format!("ports: {text}")),
            });
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(described(&faults)) }
}

/// All that is wrong, a line each, and how much that is; in one line where that is no matter of
/// lines.
pub(crate) fn described(faults: &[Diagnostic]) -> String {
    if let [one] = faults
        && one.spot.line == 0
    {
        return one.to_string();
    }
    let lines: String = faults.iter().map(|fault| format!("\n{fault}")).collect();
    let errors = if faults.len() == 1 { "error" } else { "errors" };
    format!("{} {errors} in the configuration{lines}", faults.len())
}

/// `corelane validate`
pub(crate) fn validate(files: Vec<PathBuf>) -> Result<(), String> {
    let sources = Sources { paths: files, ..Sources::default() };
    let loaded = controlplane::load(&sources, 1).map_err(|faults| described(&faults))?;
    say(&format!("valid: {}\n", loaded.summary))
}

/// `corelane serve --print`
pub(crate) fn print(options: &ServeOptions) -> Result<(), String> {
    load(options, 1).map_err(|faults| described(&faults))?;
    say(&controlplane::manifests(&options.proxy))
}

/// `corelane explain`
pub(crate) fn explain(what: Option<&str>) -> Result<(), String> {
    say(&what.map_or_else(|| Ok(resources::kinds()), resources::explain)?)
}

/// `corelane schema`
pub(crate) fn schema(kind: Option<&str>) -> Result<(), String> {
    say(&match kind {
        Some(kind) => resources::json_schema_of(kind)?,
        None => resources::json_schema(),
    })
}

/// To standard output; who has closed it wants no more.
fn say(text: &str) -> Result<(), String> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.to_string()),
        _ => Ok(()),
    }
}
