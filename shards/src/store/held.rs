//! The long values and long keys of one database, by number: entries name them so.

#![forbid(unsafe_code)]

use super::OutOfMemory;
use super::blob::Blob;

/// See the module's text.
#[derive(Default)]
pub(super) struct Held {
    blobs: Vec<Option<Blob>>,
    free: Vec<u32>,
    bytes: usize,
}

impl Held {
    /// Bytes of all of them, each as often as it is held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is not even a place for one.
    pub(super) fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    pub(super) fn put(&mut self, blob: Blob) -> u32 {
        self.bytes += blob.len();
        blob.keep();
        if let Some(number) = self.free.pop() {
            self.blobs[number as usize] = Some(blob);
            return number;
        }
        self.blobs.push(Some(blob));
        self.blobs.len() as u32 - 1
    }

    pub(super) fn get(&self, number: u32) -> &Blob {
        self.blobs[number as usize].as_ref().expect("an entry names it")
    }

    pub(super) fn take(&mut self, number: u32) -> Option<Blob> {
        self.free.push(number);
        let blob = self.blobs[number as usize].take()?;
        self.let_go(&blob);
        Some(blob)
    }

    /// Puts another value in the place of one; the entry that names it does not notice.
    pub(super) fn exchange(&mut self, number: u32, blob: Blob) -> Blob {
        let place = self.blobs[number as usize].as_mut().expect("an entry names it");
        self.bytes += blob.len();
        blob.keep();
        let old = std::mem::replace(place, blob);
        self.let_go(&old);
        old
    }

    /// Takes any one, whatever names it, before it lets go of it: `first` sees it then. The
    /// end of a whole database.
    pub(super) fn drop_any(&mut self, first: impl FnOnce(&Blob)) {
        if let Some(Some(blob)) = self.blobs.pop() {
            first(&blob);
            self.let_go(&blob);
        }
    }

    fn let_go(&mut self, blob: &Blob) {
        self.bytes -= blob.len();
        blob.let_go();
    }

    /// See [`Blob::write_in_place`].
    pub(super) fn write_in_place(
        &mut self,
        number: u32,
        offset: usize,
        bytes: &[u8],
    ) -> Result<Option<usize>, OutOfMemory> {
        let blob = self.blobs[number as usize].as_mut().expect("an entry names it");
        let old = blob.len();
        let written = blob.write_in_place(offset, bytes)?;
        self.bytes += blob.len() - old;
        Ok(written)
    }
}
