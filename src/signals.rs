//! SIGTERM and SIGINT: the first drains the node, the second ends it at once.

use std::sync::Arc;

use dataplane::cache_server::{Control, Order};
use dataplane::runtime::Waker;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Listens on a thread of its own.
///
/// # Errors
/// In words, when signals cannot be caught.
pub(crate) fn spawn(node: Arc<[Arc<Control>]>, wakers: Vec<Waker>) -> Result<(), String> {
    let mut signals = Signals::new([SIGTERM, SIGINT])
        .map_err(|error| format!("cannot catch signals: {error}"))?;
    let order = move |order: Order| {
        node.iter().zip(&wakers).for_each(|(control, waker)| control.give(order, waker));
    };
    let listen = move || {
        for (n, _) in signals.forever().enumerate() {
            if n == 0 {
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
