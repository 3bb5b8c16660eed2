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

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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
}

struct Shared {
    eventfd: EventFd,
    closed: AtomicBool,
    reopen: AtomicBool,
    failed: AtomicU64,
}

impl Pen {
    /// An empty batch, one that has been written if there is any.
    pub(super) fn blank(&mut self) -> Box<Lines> {
        self.back.pop().unwrap_or_default()
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

    /// Lines that could not be written.
    pub fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }
}

/// The other end; belongs to a thread of its own.
pub struct Writer {
    shards: Vec<(Receiver<Lines>, Sender<Lines>)>,
    sleeper: Sleeper,
    shared: Arc<Shared>,
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
        failed: AtomicU64::new(0),
    });
    let (pens, ends) = (0..shards)
        .map(|_| {
            let (to, from) = ring(BATCHES);
            // Room for all that there are: those that wait, and one at each end.
            let (give, back) = ring(BATCHES + 2);
            (Pen { to, back, ringer: ringer.clone(), shared: shared.clone() }, (from, give))
        })
        .unzip();
    Ok((pens, Writer { shards: ends, sleeper, shared: shared.clone() }, Desk(shared)))
}

impl Writer {
    /// Writes until it is closed. `open` opens the file, at first and whenever it is to be
    /// opened anew; a batch that cannot be written is lost and its lines are counted.
    pub fn run<W: io::Write>(mut self, mut open: impl FnMut() -> io::Result<W>) {
        let mut file = None;
        loop {
            // Read first: what was passed on before the closing is in a ring by then.
            let closed = self.shared.closed.load(Ordering::Acquire);
            if file.is_none() || self.shared.reopen.swap(false, Ordering::AcqRel) {
                file = match open() {
                    Ok(file) => Some(file),
                    Err(error) => {
                        tracing::error!(%error, "the access log cannot be opened");
                        file // the old one, if any
                    }
                };
            }
            self.write_all(&mut file);
            if closed {
                return;
            }
            self.sleeper.prepare_to_park();
            let quiet = self.shards.iter().all(|(from, _)| from.is_empty());
            let asked = self.shared.closed.load(Ordering::Acquire)
                || self.shared.reopen.load(Ordering::Acquire);
            if quiet && !asked {
                self.shared.eventfd.wait();
            }
            self.sleeper.unpark();
            self.shared.eventfd.clear();
        }
    }

    fn write_all<W: io::Write>(&mut self, file: &mut Option<W>) {
        for (from, back) in &mut self.shards {
            while let Some(mut lines) = from.pop() {
                let written = match file {
                    Some(file) => file.write_all(&lines.bytes),
                    None => Err(io::ErrorKind::NotFound.into()),
                };
                if let Err(error) = written {
                    let before = self.shared.failed.fetch_add(lines.count, Ordering::Relaxed);
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

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A file that can be looked at.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn batches_arrive_whole_and_in_order_and_their_memory_comes_back() {
        let (mut pens, writer, desk) = access_log(1).unwrap();
        let page = Page::default();
        let thread = std::thread::spawn({
            let page = page.clone();
            move || writer.run(|| Ok(page.clone()))
        });
        let mut expect = Vec::new();
        let mut made = 0;
        for n in 0..2_000u32 {
            let mut lines = pens[0].blank();
            made += u32::from(lines.bytes.capacity() == 0);
            lines.bytes.extend_from_slice(format!("{n}\n").as_bytes());
            lines.count = 1;
            expect.extend_from_slice(&lines.bytes);
            while let Err(full) = pens[0].pass_on(lines) {
                lines = full;
                std::thread::yield_now();
            }
            if n % 100 == 0 {
                std::thread::sleep(std::time::Duration::from_millis(1)); // the writer sleeps
            }
        }
        desk.close();
        thread.join().unwrap();
        assert_eq!(*page.0.lock().unwrap(), expect);
        assert!(made <= 2 * BATCHES as u32 + 2, "{made} batches were made anew");
    }

    #[test]
    fn a_batch_that_finds_no_room_comes_back() {
        let (mut pens, writer, desk) = access_log(1).unwrap();
        for _ in 0..BATCHES {
            pens[0].pass_on(Box::default()).unwrap();
        }
        assert!(pens[0].pass_on(Box::default()).is_err());
        desk.close();
        writer.run(|| Ok(io::sink()));
        assert!(pens[0].pass_on(Box::default()).is_ok(), "there is room again");
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let (mut pens, writer, desk) = access_log(1).unwrap();
        let lines = Lines { bytes: b"a\nb\n".to_vec(), count: 2 };
        pens[0].pass_on(Box::new(lines)).unwrap();
        desk.close();
        writer.run(|| Err::<io::Sink, _>(io::ErrorKind::PermissionDenied.into()));
        assert_eq!(desk.failed(), 2);
    }
}
