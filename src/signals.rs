//! SIGTERM and SIGINT: the first drains the node, the second ends it at once. SIGHUP: see
//! `reload`.

use std::sync::Arc;

use dataplane::cache_server::{Control, Order};
use dataplane::runtime::Waker;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::reload::Reload;

/// Listens on a thread of its own.
///
/// # Errors
/// In words, when signals cannot be caught.
pub(crate) fn spawn(
    node: Arc<[Arc<Control>]>,
    wakers: Vec<Waker>,
    mut reload: Reload,
) -> Result<(), String> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])
        .map_err(|error| format!("cannot catch signals: {error}"))?;
    let order = move |order: Order| {
        node.iter().zip(&wakers).for_each(|(control, waker)| control.give(order, waker));
    };
    let listen = move || {
        let mut ending = false;
        for signal in signals.forever() {
            if signal == SIGHUP {
                reload.reload();
                continue;
            }
            if !std::mem::replace(&mut ending, true) {
                tracing::info!("draining: no new connections, 30 s for what is under way");
                order(Order::Drain);
            } else {
                tracing::info!("ending at once");
                order(Order::Stop);
            }
        }
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(listen)
        .map(drop)
        .map_err(|error| format!("cannot start a thread: {error}"))
}
