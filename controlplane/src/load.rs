//! From files and flags to a compiled configuration, or to everything that is wrong with them.
//!
//! Owns which files are read. Whoever calls decides what to do with the outcome: a start ends, a
//! running node keeps what it has.

use std::fs;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use shards::config::Snapshot;

use crate::compile::compile;
use crate::proxy_flag::{ProxyFlag, manifests};
use crate::resources::model::{EndpointSlice, Keyspace};
use crate::resources::{Diagnostic, Documents, MAX_FILE, Spot};

/// How long a pipe may take to give all that it has.
const PIPE: Duration = Duration::from_secs(5);

/// What documents that `--proxy` stands for have instead of a file's name.
pub const PROXY_FLAG: &str = "--proxy";

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Files, and directories whose files are read.
    pub paths: Vec<PathBuf>,
    /// `--proxy`.
    pub proxy: Vec<ProxyFlag>,
}

/// A configuration that is right.
#[derive(Debug)]
pub struct Loaded {
    /// For the shards.
    pub snapshot: Snapshot,
    /// For the settings of the cache; the default where no document says anything.
    pub keyspace: Keyspace,
    /// For people.
    pub summary: Summary,
    /// For whoever finds an endpoint wrong later.
    pub places: Places,
}

/// Where endpoints are written.
#[derive(Debug)]
pub struct Places(Vec<EndpointSlice>);

impl Places {
    /// The ports of slices that an address is an endpoint by, in the order of the files.
    pub fn of(&self, endpoint: SocketAddr) -> impl Iterator<Item = &Spot> {
        let has_it = move |slice: &&EndpointSlice| {
            slice.addresses.iter().any(|address| address.to_canonical() == endpoint.ip())
        };
        let ports = self.0.iter().filter(has_it).flat_map(|slice| &slice.ports);
        ports
            .map(|port| &port.port)
            .filter(move |at| at.value == endpoint.port())
            .map(|at| &at.spot)
    }
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Files that were read.
    pub files: usize,
    /// Documents in them, and those that flags stand for.
    pub documents: usize,
    /// Rules of routes.
    pub rules: usize,
    /// Ports of services.
    pub backends: usize,
    /// Addresses.
    pub endpoints: usize,
    /// Limits.
    pub limits: usize,
}

/// Reads everything and compiles it.
///
/// # Errors
/// All that is wrong, by file, line and column.
pub fn load(sources: &Sources, generation: u64) -> Result<Loaded, Vec<Diagnostic>> {
    let mut documents = Documents::default();
    let mut files = Vec::new();
    for path in &sources.paths {
        files.extend(files_of(path, &mut documents.faults));
    }
    for file in &files {
        let name = file.display().to_string();
        match read(file) {
            Ok(text) => documents.read(&name, &text),
            Err(why) => documents.faults.push(fault(file, why)),
        }
    }
    documents.read(PROXY_FLAG, &manifests(&sources.proxy));
    finish(documents, files.len(), generation)
}

/// The same for a text in memory, as if it were a file of that name.
///
/// # Errors
/// All that is wrong, by line and column.
pub fn load_text(file: &str, text: &str, generation: u64) -> Result<Loaded, Vec<Diagnostic>> {
    let mut documents = Documents::default();
    documents.read(file, text);
    finish(documents, 1, generation)
}

fn finish(documents: Documents, files: usize, generation: u64) -> Result<Loaded, Vec<Diagnostic>> {
    let Documents { model, partial, mut faults, known, files: order, count } = documents;
    match compile(&model, &partial, &known, generation) {
        Ok(snapshot) if faults.is_empty() => {
            let summary = Summary {
                files,
                documents: count,
                rules: snapshot.rules() as usize,
                backends: snapshot.backends() as usize,
                endpoints: snapshot.endpoints() as usize,
                limits: snapshot.limits() as usize,
            };
            let keyspace = model.keyspace.unwrap_or_default();
            Ok(Loaded { snapshot, keyspace, summary, places: Places(model.slices) })
        }
        compiled => {
            faults.extend(compiled.err().unwrap_or_default());
            let at = |fault: &Diagnostic| order.iter().position(|file| *file == fault.spot.file);
            faults.sort_by_cached_key(|fault| (at(fault), fault.clone()));
            Err(faults)
        }
    }
}

/// The file itself, or the files of a directory by name.
fn files_of(path: &Path, faults: &mut Vec<Diagnostic>) -> Vec<PathBuf> {
    match fs::metadata(path) {
        Ok(about) if about.is_dir() => {}
        Ok(_) => return vec![path.to_owned()],
        Err(error) => {
            faults.push(fault(path, plain(&error)));
            return Vec::new();
        }
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries: Vec<PathBuf> = match entries {
        Ok(entries) => entries.iter().map(fs::DirEntry::path).collect(),
        Err(error) => {
            faults.push(fault(path, plain(&error)));
            return Vec::new();
        }
    };
    entries.retain(|entry| is_manifest(entry) && !entry.is_dir());
    if entries.is_empty() {
        let text = "no file named *.yaml, *.yml or *.json in this directory";
        faults.push(fault(path, text.into()));
    }
    entries.sort();
    // What has such a name is meant to be read: what cannot be is told, never passed over.
    entries.retain(|entry| match unreadable(entry) {
        Some(why) => {
            faults.push(fault(entry, why));
            false
        }
        None => true,
    });
    entries
}

/// Why an entry of a directory is no file, if it is none.
fn unreadable(entry: &Path) -> Option<String> {
    match fs::metadata(entry) {
        Ok(about) if about.is_file() => None,
        Ok(_) => Some("expected a file, not a pipe, a socket or a device".into()),
        Err(error) => match fs::read_link(entry) {
            Ok(to) => Some(format!("a link to {}: {}", to.display(), plain(&error))),
            Err(_) => Some(plain(&error)),
        },
    }
}

fn fault(path: &Path, why: String) -> Diagnostic {
    Diagnostic::new(&Spot::file(&path.display().to_string()), why)
}

fn is_manifest(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let ending = path.extension().and_then(|ending| ending.to_str());
    !hidden && matches!(ending, Some("yaml" | "yml" | "json"))
}

fn read(path: &Path) -> Result<String, String> {
    let bytes = read_bytes(path).map_err(|error| plain(&error))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("longer than {} MiB", MAX_FILE >> 20));
    }
    String::from_utf8(bytes)
        .map_err(|error| format!("not UTF-8 from byte {} on", error.utf8_error().valid_up_to()))
}

/// The first bytes of a file, one more than it may have. Of a pipe, what comes within
/// [`PIPE`]: nobody knows whether more would.
fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut options = fs::OpenOptions::new();
    options.read(true).custom_flags(OFlags::NONBLOCK.bits() as i32);
    let file = options.open(path)?;
    let (end, mut bytes) = (Instant::now() + PIPE, Vec::new());
    loop {
        let room = MAX_FILE + 1 - bytes.len() as u64;
        match (&file).take(room).read_to_end(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(bytes),
        }
        let left = Timespec::try_from(end.saturating_duration_since(Instant::now()));
        match poll(&mut [PollFd::new(&file, PollFlags::IN)], left.ok().as_ref()) {
            Ok(0) => return Err(io::Error::other(format!("it has not ended within {PIPE:?}"))),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// An error without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        write!(
            f,
            "{}, {}: {}, {} with {}, {}",
            count(self.files, "file"),
            count(self.documents, "document"),
            count(self.rules, "rule"),
            count(self.backends, "backend"),
            count(self.endpoints, "endpoint"),
            count(self.limits, "limit"),
        )
    }
}
