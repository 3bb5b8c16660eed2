//! The access log's file, and the life of the thread that writes it.
//!
//! Owns how the file is opened, which never waits. Lines and their order are `dataplane`'s.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use dataplane::proxy::{Desk, Pen, access_log};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

/// The access log's thread; writes what is left when it is dropped.
pub(crate) struct AccessLog {
    desk: Desk,
    /// Hears when its thread has ended.
    ended: Receiver<()>,
}

/// How long the last lines may take: a pipe that nobody reads may take none for ever.
const LAST_LINES: Duration = Duration::from_secs(1);

impl AccessLog {
    /// Starts it.
    ///
    /// # Errors
    /// One line for the operator.
    fn start(path: &Path, shards: usize) -> Result<(Self, Vec<Pen>), String> {
        let failed = |error: io::Error| format!("--access-log {}: {error}", path.display());
        // A wrong name is known at once, and a pipe's reader sees no end before the first line.
        let mut first = Some(open(path).map_err(failed)?);
        let (pens, writer, desk) = access_log(shards).map_err(failed)?;
        let path: PathBuf = path.to_owned();
        let (ends, ended) = mpsc::channel();
        let again = move || match first.take() {
            Some(file) => Ok(file),
            None => open(&path)
                .map_err(|error| io::Error::other(format!("{}: {error}", path.display()))),
        };
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || {
                writer.run(again);
                drop(ends);
            })
            .map_err(failed)?;
        Ok((Self { desk, ended }, pens))
    }

    /// Starts one if the user wants it; with the shards' ends.
    ///
    /// # Errors
    /// One line for the operator.
    pub(crate) fn of(
        path: Option<&Path>,
        shards: usize,
    ) -> Result<(Option<Self>, Option<Vec<Pen>>), String> {
        let started = path.map(|path| Self::start(path, shards)).transpose()?;
        Ok(started.unzip())
    }

    /// What opens the file anew after it has been moved away.
    pub(crate) fn desk(&self) -> Desk {
        self.desk.clone()
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.desk.close();
        // Disconnected, which is its end, or too late.
        let _ = self.ended.recv_timeout(LAST_LINES);
    }
}

/// Opens it to add to its end. A named pipe must have a reader: without one, opening would wait
/// until it comes.
fn open(path: &Path) -> io::Result<File> {
    let without_waiting = OFlags::NONBLOCK.bits() as i32; // all flags are low bits
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .custom_flags(without_waiting)
        .open(path)
        .map_err(|error| explain(path, error))?;
    // Writes may wait: the thread is there for that.
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

fn explain(path: &Path, error: io::Error) -> io::Error {
    let is_pipe = |about: Metadata| about.file_type().is_fifo();
    match Errno::from_io_error(&error) {
        Some(Errno::NXIO) if std::fs::metadata(path).is_ok_and(is_pipe) => {
            io::Error::other("this pipe has no reader; start the program that reads it first")
        }
        Some(Errno::NXIO) => io::Error::other("no file; name a file or a pipe (`mkfifo`)"),
        _ => error,
    }
}
