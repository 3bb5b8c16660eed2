//! SIGTERM and SIGINT: the first drains the node, the second ends it at once. SIGHUP: see
//! `reload`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};

use dataplane::cache_server::{Control, Order};
use dataplane::runtime::Waker;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::memory::{self, Memory};
use crate::reload::Reload;

/// By how much the control thread is nicer than shards.
const POLITE: i32 = 15;

/// Whether SIGHUP has come before anybody could heed it.
pub(crate) struct Early(Arc<AtomicBool>);

/// From here on SIGHUP does not end the process.
///
/// # Errors
/// In words, when signals cannot be caught.
pub(crate) fn hold_back() -> Result<Early, String> {
    let early = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGHUP, early.clone())
        .map_err(|error| format!("cannot catch signals: {error}"))?;
    Ok(Early(early))
}

/// Listens on a thread of its own.
///
/// # Errors
/// In words, when signals cannot be caught.
pub(crate) fn spawn(
    node: Arc<[Arc<Control>]>,
    wakers: Vec<Waker>,
    mut reload: Reload,
    early: &Early,
) -> Result<(), String> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])
        .map_err(|error| format!("cannot catch signals: {error}"))?;
    let mut memory = Memory::new(node.clone());
    let order = move |order: Order| {
        node.iter().zip(&wakers).for_each(|(control, waker)| control.give(order, waker));
    };
    // Reading anew may take its time, and nothing else is to wait for it. Signals that come
    // meanwhile ask for one more reading, together.
    let (again, asked) = mpsc::sync_channel(1);
    thread("control", move || {
        // What it does takes long, and shards that share its core are not to wait for it.
        if let Err(error) = rustix::process::nice(POLITE) {
            tracing::warn!(%error, "the control thread keeps its priority");
        }
        loop {
            match asked.recv_timeout(memory::LOOK) {
                Ok(()) => reload.reload(),
                Err(RecvTimeoutError::Timeout) => {
                    reload.collect();
                    memory.look();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    })?;
    if early.0.load(Ordering::Acquire) {
        let _ = again.try_send(()); // perhaps once more than it was asked for
    }
    let listen = move || {
        let mut ending = false;
        for signal in signals.forever() {
            if signal == SIGHUP && ending {
                tracing::warn!("SIGHUP: the node is ending, and its configuration stays as it was");
                continue;
            }
            if signal == SIGHUP {
                let _ = again.try_send(()); // full: it has been asked for
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
    thread("signals", listen)
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), String> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map(drop)
        .map_err(|error| format!("cannot start a thread: {error}"))
}
