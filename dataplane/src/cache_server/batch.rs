//! Requests parsed in one turn, to be executed together.
//!
//! Together, so that the memory they need can be asked for before it is used: first the
//! index lines of a chunk of requests, then the entries, then the work. At 4 million keys
//! this halves the cost of a GET.

#![forbid(unsafe_code)]

use shards::command::{CommandSpec, Span, lookup};
use shards::ids::DbId;
use shards::store::{Blob, Hint, KeyHash};

use crate::resp::ProtocolError;
use crate::runtime::{ConnKey, Loan};

/// Requests executed together; few enough to stay in the nearest cache.
pub(super) const MOST: usize = 128;
/// Requests executed before replies are handed to the kernel.
pub(super) const BEFORE_SENDING: u64 = 1_024;
/// Requests whose memory is asked for at a time. Measured at 4 million keys, in us a GET:
/// 0: 0.52, 4: 0.30, 8: 0.25, 16: 0.235, 32: 0.228, 64: 0.230.
pub(super) const CHUNK: usize = 32;

/// Where a request's bytes are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// In a receive buffer, where the kernel put them.
    Loan(Loan),
    /// In the connection's unread bytes.
    Unread,
    /// In [`Batch::unquoted`].
    Unquoted(u32),
}

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// The command, if there is one of that name.
    Command(Option<&'static CommandSpec>),
    /// Answer with one of [`Batch::faults`] and close.
    Fault(u32),
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queued {
    pub(super) conn: ConnKey,
    pub(super) source: Source,
    pub(super) what: What,
    pub(super) first_span: u32,
    pub(super) spans: u32,
    /// 1 + number of the request's long arguments in [`Batch::blobs`], or 0.
    pub(super) blobs: u32,
    /// Number of the first key, 0 for none, and its hash.
    pub(super) key: u8,
    pub(super) db: DbId,
    pub(super) at: KeyHash,
    /// Where the key's entry is, once asked for.
    pub(super) hint: Hint,
}

/// The command looked up last: pipelines mostly repeat one, and comparing a name is
/// cheaper than finding it.
#[derive(Default)]
pub(super) struct Known {
    name: [u8; 8],
    len: usize,
    spec: Option<&'static CommandSpec>,
}

impl Known {
    pub(super) fn find(&mut self, name: &[u8]) -> Option<&'static CommandSpec> {
        let same = name.len() == self.len && self.name.iter().zip(name).all(|(a, b)| a == b);
        if same {
            return self.spec;
        }
        let spec = lookup(name);
        if spec.is_some() && name.len() <= self.name.len() {
            self.name[..name.len()].copy_from_slice(name);
            (self.len, self.spec) = (name.len(), spec);
        }
        spec
    }
}

/// See the module's text.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) known: Known,
    pub(super) queued: Vec<Queued>,
    pub(super) spans: Vec<Span>,
    pub(super) unquoted: Vec<Vec<u8>>,
    pub(super) blobs: Vec<Vec<(u32, Blob)>>,
    pub(super) faults: Vec<ProtocolError>,
    /// Connections whose unread bytes requests refer to.
    pub(super) from_unread: Vec<ConnKey>,
}

impl Batch {
    pub(super) fn is_full(&self) -> bool {
        self.queued.len() >= MOST
    }

    pub(super) fn clear(&mut self) {
        self.queued.clear();
        self.spans.clear();
        self.unquoted.clear();
        self.blobs.clear();
        self.faults.clear();
        self.from_unread.clear();
    }
}
