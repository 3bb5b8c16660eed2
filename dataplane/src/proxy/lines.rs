//! How lines of the access log get from the shards to the thread that writes them.
//!
//! Owns the rings: full batches one way, written ones back, so that their memory serves again.
//! A shard never waits: a batch that finds no room stays with it, and its lines are lost and
//! counted.
//!
//! ```text
//! shard 0 --ring--> writer's thread --> file
//!         <--ring-- \--doorbell, only while the writer sleeps
//! ```

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::mesh::bell::{Ringer, Sleeper, bell};
use crate::mesh::ring::{Receiver, Sender, ring};
use crate::runtime::EventFd;

/// Batches of one shard that may wait: two megabytes.
const BATCHES: usize = 16;

/// A batch of whole lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) bytes: Vec<u8>,
    /// How many.
    pub(super) count: u64,
}

/// A shard's end. Belongs to its thread.
pub struct Pen {
    to: Sender<Lines>,
    back: Receiver<Lines>,
    ringer: Ringer,
    shared: Arc<Shared>,
    failed: Arc<AtomicU64>,
}

struct Shared {
    eventfd: EventFd,
    closed: AtomicBool,
    reopen: AtomicBool,
}

impl Pen {
    /// Lines that could not be written.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// An empty batch, one that has been written if there is any.
    pub(super) fn blank(&mut self) -> Box<Lines> {
        self.back.pop().unwrap_or_default()
    }

    /// Waits until a batch will find room, if that does not take too long. For who ends.
    pub(super) fn await_room(&mut self, patience: Duration) {
        let end = Instant::now() + patience;
        while self.to.is_full() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Passes a batch on.
    ///
    /// # Errors
    /// The batch: there is no room for it.
    pub(super) fn pass_on(&mut self, lines: Box<Lines>) -> Result<(), Box<Lines>> {
        self.to.push(lines)?;
        if self.ringer.must_ring() {
            self.shared.eventfd.ring();
        }
        Ok(())
    }
}

impl std::fmt::Debug for Pen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pen")
    }
}

/// The handle of whoever starts and ends the writer.
#[derive(Clone)]
pub struct Desk(Arc<Shared>);

impl Desk {
    /// The shards have ended: what they have passed on is written, and the writer ends.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.eventfd.ring();
    }

    /// The file is opened anew before the next batch, since it may have been moved away.
    pub fn reopen(&self) {
        self.0.reopen.store(true, Ordering::Release);
        self.0.eventfd.ring();
    }
}

/// Where lines are written to.
pub trait Page: io::Write {
    /// Takes back the last bytes that have been written.
    ///
    /// # Errors
    /// When they cannot be, as in a pipe.
    fn take_back(&mut self, bytes: u64) -> io::Result<()>;

    /// Whether both are one file, opened twice.
    fn is_same(&self, other: &Self) -> bool;
}

impl Page for File {
    fn take_back(&mut self, bytes: u64) -> io::Result<()> {
        let len = self.metadata()?;
        if !len.is_file() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.set_len(len.len().saturating_sub(bytes))
    }

    fn is_same(&self, other: &Self) -> bool {
        let identity = |file: &Self| file.metadata().map(|about| (about.dev(), about.ino()));
        matches!((identity(self), identity(other)), (Ok(one), Ok(two)) if one == two)
    }
}

/// The writer's end of one shard's lines.
struct End {
    from: Receiver<Lines>,
    back: Sender<Lines>,
    failed: Arc<AtomicU64>,
}

/// The other end; belongs to a thread of its own.
pub struct Writer {
    shards: Vec<End>,
    sleeper: Sleeper,
    shared: Arc<Shared>,
    /// Whether the last line of the file is only the beginning of one.
    torn: bool,
}

/// The ends for so many shards, the writer's, and the handle.
///
/// # Errors
/// When the kernel has no eventfd for us.
pub fn access_log(shards: usize) -> io::Result<(Vec<Pen>, Writer, Desk)> {
    let (sleeper, ringer) = bell();
    let shared = Arc::new(Shared {
        eventfd: EventFd::new()?,
        closed: AtomicBool::new(false),
        reopen: AtomicBool::new(false),
    });
    let (pens, ends) = (0..shards)
        .map(|_| {
            let (to, from) = ring(BATCHES);
            // Room for all that there are: those that wait, and one at each end.
            let (give, back) = ring(BATCHES + 2);
            let failed: Arc<AtomicU64> = Arc::default();
            let (ringer, shared) = (ringer.clone(), shared.clone());
            let end = End { from, back: give, failed: failed.clone() };
            (Pen { to, back, ringer, shared, failed }, end)
        })
        .unzip();
    Ok((pens, Writer { shards: ends, sleeper, shared: shared.clone(), torn: false }, Desk(shared)))
}

impl Writer {
    /// Writes until it is closed. `open` opens the file, at first and whenever it is to be
    /// opened anew; a batch that cannot be written is lost and its lines are counted.
    pub fn run<W: Page>(mut self, mut open: impl FnMut() -> io::Result<W>) {
        let mut file = None;
        loop {
            // Read first: what was passed on before the closing is in a ring by then.
            let closed = self.shared.closed.load(Ordering::Acquire);
            if file.is_none() || self.shared.reopen.swap(false, Ordering::AcqRel) {
                match open() {
                    Ok(new) => {
                        // What another file ends with is no concern of this one.
                        self.torn &= file.as_ref().is_some_and(|old| new.is_same(old));
                        file = Some(new);
                    }
                    // The old one, if any, goes on.
                    Err(error) => tracing::error!(%error, "the access log cannot be opened"),
                }
            }
            self.write_all(&mut file);
            if closed {
                return;
            }
            self.sleeper.prepare_to_park();
            let quiet = self.shards.iter().all(|end| end.from.is_empty());
            let asked = self.shared.closed.load(Ordering::Acquire)
                || self.shared.reopen.load(Ordering::Acquire);
            if quiet && !asked {
                self.shared.eventfd.wait();
            }
            self.sleeper.unpark();
            self.shared.eventfd.clear();
        }
    }

    fn write_all<W: Page>(&mut self, file: &mut Option<W>) {
        for End { from, back, failed } in &mut self.shards {
            while let Some(mut lines) = from.pop() {
                let written = match file {
                    Some(file) => write(file, &lines.bytes, &mut self.torn),
                    None => Err((0, io::ErrorKind::NotFound.into())),
                };
                if let Err((whole, error)) = written {
                    let lost = lines.count.saturating_sub(whole);
                    let before = failed.fetch_add(lost, Ordering::Relaxed);
                    if before == 0 {
                        tracing::error!(%error, "the access log cannot be written; lines are lost");
                    }
                }
                lines.bytes.clear();
                lines.count = 0;
                // The shard makes a new one when this is lost.
                let _ = back.push(lines);
            }
        }
    }
}

/// Writes lines; if not all, says how many are whole in the file. Of the next one nothing stays
/// there, or else (`torn`) its beginning on a line of its own.
fn write<W: Page>(file: &mut W, bytes: &[u8], torn: &mut bool) -> Result<(), (u64, io::Error)> {
    if *torn {
        file.write_all(b"\n").map_err(|error| (0, error))?;
        *torn = false;
    }
    let mut written = 0;
    while written < bytes.len() {
        let error = match file.write(&bytes[written..]) {
            Ok(0) => io::ErrorKind::WriteZero.into(),
            Ok(n) => {
                written += n;
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => error,
        };
        let ends = bytes[..written].iter().rposition(|byte| *byte == b'\n');
        let whole = ends.map_or(0, |at| at + 1);
        *torn = whole < written && file.take_back((written - whole) as u64).is_err();
        let lines = bytes[..whole].iter().filter(|byte| **byte == b'\n').count();
        return Err((lines as u64, error));
    }
    Ok(())
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
