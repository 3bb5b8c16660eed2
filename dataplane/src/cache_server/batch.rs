//! Requests parsed in one turn, to be executed together.
//!
//! Together, so that the memory they need can be asked for before it is used: first the
//! index lines of a chunk of requests, then the entries, then the work. At 4 million keys
//! this halves the cost of a GET.

#![forbid(unsafe_code)]

use shards::command::{Args, CommandSpec, Span, lookup};
use shards::ids::DbId;
use shards::store::{Blob, Hint, KeyHash};

use super::conn::{Conn, Gate, Reason};
use crate::resp::ProtocolError;
use crate::runtime::{ConnKey, Driver, Loan};

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
    /// In a parcel of another shard.
    Guest(u32),
}

/// One request. Small, since a batch of them passes the cache three times; what requests
/// of one connection have in common is in [`Origin`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Queued {
    /// The command, if there is one of that name.
    pub(super) spec: Option<&'static CommandSpec>,
    /// Hash of the first key.
    pub(super) at: KeyHash,
    /// Where the key's entry is, once asked for.
    pub(super) hint: Hint,
    /// Its place in [`Batch::origins`].
    pub(super) origin: u32,
    pub(super) first_span: u32,
    pub(super) spans: u32,
    /// 1 + number of the request's long arguments in [`Batch::blobs`], or 0.
    pub(super) blobs: u32,
    /// 1 + number of one of [`Batch::faults`], to be answered instead, or 0.
    pub(super) fault: u32,
    /// Number of the first key, 0 for none.
    pub(super) key: u8,
    pub(super) db: DbId,
}

const _: () = assert!(size_of::<Queued>() <= 64, "one cache line");

/// Why a connection ends in place of a request.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// The bytes are none, or claim too much.
    Protocol(ProtocolError),
    /// The system has no memory for an argument.
    OutOfMemory,
    /// More is unexecuted than one client may have.
    TooLong,
}

impl Fault {
    /// For the peer.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Protocol(error) => format!("ERR {error}"),
            Self::OutOfMemory => "OOM the system has no memory left for this value".into(),
            Self::TooLong => "ERR the request is too long: at most 1 GiB may wait to be executed \
                              (client-query-buffer-limit)"
                .into(),
        }
    }

    /// For the counters.
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Protocol(_) => Reason::Protocol,
            Self::OutOfMemory => Reason::Memory,
            Self::TooLong => Reason::Query,
        }
    }
}

/// Where some requests came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) conn: ConnKey,
    pub(super) source: Source,
}

/// The command looked up last: pipelines mostly repeat one, and comparing a name is
/// cheaper than finding it.
#[derive(Default)]
pub(super) struct Known {
    /// Up to eight bytes, and how many; 0 before the first.
    name: (u64, usize),
    spec: Option<&'static CommandSpec>,
}

impl Known {
    /// The command whose name lies there in a request.
    #[inline]
    pub(super) fn find(&mut self, bytes: &[u8], name: Span) -> Option<&'static CommandSpec> {
        let (start, len) = (name.start as usize, name.len as usize);
        let short = match bytes[start..].first_chunk::<8>() {
            Some(chunk) if (1..=8).contains(&len) => {
                u64::from_le_bytes(*chunk) << (64 - 8 * len) >> (64 - 8 * len)
            }
            _ => 0,
        };
        if short != 0 && (short, len) == self.name {
            return self.spec;
        }
        let name = &bytes[start..][..len];
        let spec = lookup(name);
        if spec.is_some() && short != 0 {
            (self.name, self.spec) = ((short, len), spec);
        }
        spec
    }
}

/// See the module's text.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) known: Known,
    pub(super) queued: Vec<Queued>,
    pub(super) origins: Vec<Origin>,
    pub(super) spans: Vec<Span>,
    pub(super) unquoted: Vec<Vec<u8>>,
    pub(super) blobs: Vec<Vec<(u32, Blob)>>,
    pub(super) faults: Vec<Fault>,
    /// Connections whose unread bytes requests refer to.
    pub(super) from_unread: Vec<ConnKey>,
}

impl Batch {
    pub(super) fn is_full(&self) -> bool {
        self.queued.len() >= MOST
    }

    /// Notes where requests come from.
    pub(super) fn origin(&mut self, conn: ConnKey, source: Source) -> u32 {
        self.origins.push(Origin { conn, source });
        self.origins.len() as u32 - 1
    }

    /// A request's arguments, wherever they lie; `unread` are its connection's bytes.
    #[inline]
    pub(super) fn args<'a>(
        &'a self,
        queued: &Queued,
        driver: &'a impl Driver,
        unread: &'a [u8],
    ) -> Args<'a> {
        let bytes = match self.origins[queued.origin as usize].source {
            Source::Loan(loan) => driver.bytes(loan),
            Source::Unread => unread,
            Source::Unquoted(number) => &self.unquoted[number as usize],
            Source::Guest(_) => &[], // served apart, out of its parcel
        };
        let spans = &self.spans[queued.first_span as usize..][..queued.spans as usize];
        let blobs = match queued.blobs {
            0 => &[][..],
            n => &self.blobs[n as usize - 1],
        };
        let args = Args::new(bytes, spans, blobs);
        if queued.key == 0 {
            return args;
        }
        args.with_key(queued.key.into(), queued.at, queued.hint)
    }

    /// Queues the end of a connection behind its earlier requests.
    pub(super) fn put_fault(&mut self, conn: &mut Conn, fault: Fault, origin: u32) {
        conn.gate = Gate::Shut;
        self.faults.push(fault);
        self.queued.push(Queued {
            spec: None,
            at: KeyHash::default(),
            hint: Hint::default(),
            origin,
            first_span: 0,
            spans: 0,
            blobs: 0,
            fault: self.faults.len() as u32,
            key: 0,
            db: conn.session.db,
        });
    }

    /// The same when nothing of it is being parsed.
    pub(super) fn refuse(&mut self, conn: &mut Conn, fault: Fault) {
        let origin = self.origin(conn.key, Source::Unread);
        self.put_fault(conn, fault, origin);
    }

    pub(super) fn clear(&mut self) {
        self.queued.clear();
        self.origins.clear();
        self.spans.clear();
        self.unquoted.clear();
        self.blobs.clear();
        self.faults.clear();
        self.from_unread.clear();
    }
}
