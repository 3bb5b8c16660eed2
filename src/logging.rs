//! Log lines leave by a thread of their own, so that nobody who logs waits for whoever reads
//! standard error.
//!
//! Owns a bounded channel: a line that finds it full is dropped and counted, and the count is
//! the next line that goes out. A shard's lines go there by the bridge, since a channel locks.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use dataplane::bridge::{Closer, Dock, bridge};
use flume::{Receiver, Sender};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait.
const QUEUED: usize = 1024;
/// How long the end of the process waits for them.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Something for the thread that writes.
pub(crate) enum Message {
    Line(Vec<u8>),
    /// So many lines of shards were dropped.
    Dropped(u64),
    /// Everything before it is out.
    Flush(Sender<()>),
}

thread_local! {
    /// On a shard's thread, where its lines go.
    static DOCK: RefCell<Option<Dock<Message>>> = const { RefCell::new(None) };
}

/// The lines of this thread, a shard's, go over the bridge from now on.
pub(crate) fn over(dock: Dock<Message>) {
    DOCK.set(Some(dock));
}

/// What tracing writes to.
#[derive(Clone)]
struct Queue {
    lines: Sender<Message>,
    dropped: Arc<AtomicU64>,
}

/// One line being written; leaves when it is dropped.
struct Line {
    text: Vec<u8>,
    queue: Queue,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut line = Some(Message::Line(std::mem::take(&mut self.text)));
        // A thread that ends may have let go of its dock.
        let _ = DOCK.try_with(|dock| {
            if let Some(dock) = dock.borrow_mut().as_mut() {
                line.take().into_iter().for_each(|line| dock.send(line));
            }
        });
        let Some(line) = line else { return };
        if self.queue.lines.try_send(line).is_err() {
            self.queue.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl MakeWriter<'_> for Queue {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        Line { text: Vec::new(), queue: self.clone() }
    }
}

/// The log; lets the last lines out when it is dropped.
pub(crate) struct Log(Sender<Message>);

/// What carries the lines of shards; passes on what is left when it is dropped.
pub(crate) struct LogBridge {
    closer: Closer,
    thread: Option<JoinHandle<()>>,
}

impl Log {
    /// A bridge for the lines of so many shards, and their ends of it.
    ///
    /// # Errors
    /// In words, when the system has no thread or descriptor for it.
    pub(crate) fn bridge(&self, shards: usize) -> Result<(Vec<Dock<Message>>, LogBridge), String> {
        let failed = |error: io::Error| format!("no bridge from the shards: {error}");
        let (docks, bridge, closer) = bridge(shards).map_err(failed)?;
        let lines = self.0.clone();
        let thread = std::thread::Builder::new()
            .name("bridge".into())
            .spawn(move || bridge.run(&lines, Message::Dropped))
            .map_err(failed)?;
        Ok((docks, LogBridge { closer, thread: Some(thread) }))
    }
}

impl Drop for LogBridge {
    fn drop(&mut self) {
        self.closer.close();
        // It never waits for anybody, so it ends.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let (done, wait) = flume::bounded(1);
        if self.0.try_send(Message::Flush(done)).is_ok() {
            // Whoever reads standard error may have stopped; the process ends all the same.
            let _ = wait.recv_timeout(LAST_LINES);
        }
    }
}

/// Starts logging to standard error.
pub(crate) fn start(colours: bool) -> Log {
    let (lines, queued) = flume::bounded(QUEUED);
    let dropped = Arc::new(AtomicU64::new(0));
    let count = dropped.clone();
    let writer = std::thread::Builder::new().name("log".into());
    if let Err(error) = writer.spawn(move || write_out(&queued, &count)) {
        eprintln!("corelane: no log: cannot start a thread: {error}");
    }
    let queue = Queue { lines: lines.clone(), dropped };
    tracing_subscriber::fmt().with_writer(queue).with_ansi(colours).with_target(false).init();
    Log(lines)
}

fn write_out(queued: &Receiver<Message>, dropped: &AtomicU64) {
    while let Ok(message) = queued.recv() {
        let mut out = io::stderr();
        let of_shards = if let Message::Dropped(lines) = message { lines } else { 0 };
        let missing = dropped.swap(0, Ordering::Relaxed) + of_shards;
        // There is nowhere to report that the log itself cannot be written.
        if missing > 0 {
            let _ = writeln!(out, "{missing} log lines were dropped: the log is read too slowly");
        }
        match message {
            Message::Line(text) => drop(out.write_all(&text)),
            Message::Dropped(_) => {}
            Message::Flush(done) => drop(done.send(())),
        }
    }
}
