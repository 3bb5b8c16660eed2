//! What is on its way out of one connection.
//!
//! Owns bytes, places in them where received ones are spliced in, and what is known of how the
//! peer takes them.

#![forbid(unsafe_code)]

use shards::time::Nanos;

use crate::runtime::Kept;

/// Output of one connection: what is encoded and not yet handed over, and what is on its way.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    /// Received bytes to be spliced in, by the offset in `bytes` before which they belong.
    pub(super) kept: Vec<(usize, Kept)>,
    kept_bytes: usize,
    /// Bytes of the payload in flight, and how many of them had not left at the last look.
    pub(super) in_flight: usize,
    unsent: usize,
    /// When bytes were last seen to leave.
    since: Nanos,
    /// Bytes of this output in the sum of all.
    pub(super) accounted: usize,
    /// Whether it is in the list of those with something to send.
    pub(super) dirty: bool,
}

impl Output {
    /// Bytes that the peer has not taken.
    pub(super) fn pending(&self) -> usize {
        self.encoded() + self.in_flight
    }

    /// Bytes that wait for the next send.
    pub(super) fn encoded(&self) -> usize {
        self.bytes.len() + self.kept_bytes
    }

    /// Where it ends now; [`Output::each_since`] reads what is added behind.
    pub(super) fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), kept: self.kept.len() }
    }

    /// Calls `each` with all that has been added since, in order.
    pub(super) fn each_since(&self, mark: Mark, mut each: impl FnMut(&[u8])) {
        let mut at = mark.bytes;
        for (offset, kept) in &self.kept[mark.kept..] {
            each(&self.bytes[at..*offset]);
            each(kept.bytes());
            at = *offset;
        }
        each(&self.bytes[at..]);
    }

    /// A payload of so many bytes is handed to the kernel.
    pub(super) fn hand_over(&mut self, bytes: usize, now: Nanos) {
        (self.in_flight, self.unsent, self.since) = (bytes, bytes, now);
    }

    /// It has left, or will not any more.
    pub(super) fn settle(&mut self, now: Nanos) {
        (self.in_flight, self.unsent, self.since) = (0, 0, now);
    }

    /// Brings the sum of all that is pending up to date.
    pub(super) fn account(&mut self, sum: &mut usize) {
        let pending = self.pending();
        *sum = *sum - self.accounted + pending;
        self.accounted = pending;
    }

    /// When the peer has last been seen to take bytes.
    pub(super) fn since(&self) -> Nanos {
        self.since
    }

    /// The same after a look.
    pub(super) fn look(&mut self, unsent: usize, now: Nanos) -> Nanos {
        if self.unsent != unsent {
            (self.unsent, self.since) = (unsent, now);
        }
        self.since
    }

    /// Adds received bytes from where they are.
    pub(super) fn splice(&mut self, kept: Kept) {
        self.kept_bytes += kept.bytes().len();
        self.kept.push((self.bytes.len(), kept));
    }

    /// What another connection could not send.
    pub(super) fn put_back(&mut self, unsent: (Vec<u8>, Vec<(usize, Kept)>)) {
        debug_assert_eq!(self.encoded(), 0, "it is the first to be sent");
        (self.bytes, self.kept) = unsent;
        self.kept_bytes = self.kept.iter().map(|(_, kept)| kept.bytes().len()).sum();
    }

    /// What is to be sent.
    pub(super) fn take(&mut self) -> (Vec<u8>, Vec<(usize, Kept)>) {
        self.kept_bytes = 0;
        (std::mem::take(&mut self.bytes), std::mem::take(&mut self.kept))
    }
}

/// A place in an output.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    bytes: usize,
    kept: usize,
}
