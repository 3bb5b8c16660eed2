//! From the model to the compiled configuration: references are resolved, conflicts are found.
//!
//! Owns the errors between documents. A reference to a document that is wrong by itself is no
//! error of its own: that one is told already.
//!
//! The same documents in the same order have the same bytes.

mod backends;
mod limits;
mod listeners;
mod routes;

use shards::config::draft::Draft;
use shards::config::{MAX_CANDIDATES, Snapshot};

use crate::resources::model::Model;
use crate::resources::{Diagnostic, Known, Spot};

/// Resolves and compiles; of `partial` documents, which have errors of their own, it checks
/// references from them, and to those that are targets.
///
/// # Errors
/// All that is wrong between documents.
pub(crate) fn compile(
    model: &Model,
    partial: &Model,
    known: &Known,
    generation: u64,
) -> Result<Snapshot, Vec<Diagnostic>> {
    let mut faults = Vec::new();
    let listeners = listeners::Listeners::of(model, partial, known, &mut faults);
    let backends = backends::Backends::of(model, partial, known, &mut faults);
    let limits = limits::Limits::of(model, partial, known, &mut faults);
    let context = routes::Context { known, listeners: &listeners, backends: &backends };
    let mut draft = Draft { generation, ..Draft::default() };
    for route in &model.routes {
        let limits = limits.of_route(&route.id);
        draft.routes.push(routes::resolve(route, &context, limits, &mut faults));
    }
    for route in &partial.routes {
        routes::resolve(route, &context, &[], &mut faults);
    }
    check_size(model, &draft, &mut faults);
    if !faults.is_empty() {
        return Err(faults);
    }
    draft.listeners = listeners.drafts;
    draft.backends = backends.drafts;
    draft.limits = limits.drafts;
    draft.compile().map_err(|why| {
        vec![Diagnostic::new(&Spot::file("configuration"), format!("cannot be compiled: {why}"))]
    })
}

/// Complains about the first route for which the tables have no room. `draft` has those of the
/// model in their order.
fn check_size(model: &Model, draft: &Draft, faults: &mut Vec<Diagnostic>) {
    let mut sum = 0usize;
    for (route, laid_out) in model.routes.iter().zip(&draft.routes) {
        sum = sum.saturating_add(laid_out.candidates());
        if sum > MAX_CANDIDATES {
            let text = format!(
                "spec: with this route there are {sum} matches, each counted for every hostname \
                 and listener of its route; expected at most {MAX_CANDIDATES}"
            );
            return faults.push(Diagnostic::new(&route.spot, text));
        }
    }
}
