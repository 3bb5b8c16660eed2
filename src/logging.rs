//! Log lines leave by a thread of their own, so that nobody who logs waits for whoever reads
//! standard error.
//!
//! Owns a bounded queue: a line that finds it full is dropped and counted, and the count is
//! the next line that goes out.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait.
const QUEUED: usize = 1024;
/// How long the end of the process waits for them.
const LAST_LINES: Duration = Duration::from_secs(1);

enum Message {
    Line(Vec<u8>),
    /// Everything before it is out.
    Flush(SyncSender<()>),
}

/// What tracing writes to.
#[derive(Clone)]
struct Queue {
    lines: SyncSender<Message>,
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
        let line = Message::Line(std::mem::take(&mut self.text));
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

/// Lets the last lines out when it is dropped.
pub(crate) struct Guard(SyncSender<Message>);

impl Drop for Guard {
    fn drop(&mut self) {
        let (done, wait) = sync_channel(1);
        if self.0.try_send(Message::Flush(done)).is_ok() {
            // Whoever reads standard error may have stopped; the process ends all the same.
            let _ = wait.recv_timeout(LAST_LINES);
        }
    }
}

/// Starts logging to standard error.
pub(crate) fn start(colours: bool) -> Guard {
    let (lines, queued) = sync_channel(QUEUED);
    let dropped = Arc::new(AtomicU64::new(0));
    let count = dropped.clone();
    let writer = std::thread::Builder::new().name("log".into());
    if let Err(error) = writer.spawn(move || write_out(&queued, &count)) {
        eprintln!("corelane: no log: cannot start a thread: {error}");
    }
    let queue = Queue { lines: lines.clone(), dropped };
    tracing_subscriber::fmt().with_writer(queue).with_ansi(colours).with_target(false).init();
    Guard(lines)
}

fn write_out(queued: &Receiver<Message>, dropped: &AtomicU64) {
    while let Ok(message) = queued.recv() {
        let mut out = io::stderr();
        let missing = dropped.swap(0, Ordering::Relaxed);
        // There is nowhere to report that the log itself cannot be written.
        if missing > 0 {
            let _ = writeln!(out, "{missing} log lines were dropped: the log is read too slowly");
        }
        match message {
            Message::Line(text) => drop(out.write_all(&text)),
            Message::Flush(done) => drop(done.send(())),
        }
    }
}
