//! Size classes: which sizes memory is handed out in.
//!
//! Every 8 bytes up to 256, then eight classes an octave up to 16 KiB, so that rounding up
//! costs an entry at most 7 bytes or an eighth. From 512 bytes on every class is a
//! multiple of 64, which leaves of the index rely on.

#![forbid(unsafe_code)]

/// Largest piece of memory that the slab hands out.
pub(super) const MAX_BYTES: usize = 16 << 10;
/// Smallest.
const MIN_BYTES: usize = 16;
/// Up to here every multiple of 8 is a class.
const FINE_BYTES: usize = 256;
/// Classes of an octave above that.
const STEPS: usize = 8;
const FINE: usize = (FINE_BYTES - MIN_BYTES) / 8 + 1;
/// Number of classes.
pub(super) const CLASSES: usize = FINE + STEPS * 6;

const _: () = assert!(FINE_BYTES << 6 == MAX_BYTES, "six octaves lead from 256 B to 16 KiB");

/// A size class; always below [`CLASSES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class(u8);

impl Class {
    /// The smallest class that holds `bytes`, which is at most [`MAX_BYTES`].
    pub(super) fn of(bytes: usize) -> Self {
        debug_assert!(bytes <= MAX_BYTES, "longer values are blobs");
        if bytes <= FINE_BYTES {
            return Self((bytes.max(MIN_BYTES).div_ceil(8) - MIN_BYTES / 8) as u8);
        }
        let last = bytes - 1;
        let octave = last.ilog2() as usize; // 2^octave <= last
        let step = octave - STEPS.ilog2() as usize;
        let within = (last >> step) - STEPS;
        Self((FINE + (octave - 8) * STEPS + within) as u8)
    }

    /// Bytes of a piece of this class.
    pub(super) const fn bytes(self) -> usize {
        let n = self.0 as usize;
        if n < FINE {
            return MIN_BYTES + n * 8;
        }
        let (octave, within) = ((n - FINE) / STEPS + 8, (n - FINE) % STEPS);
        (STEPS + within + 1) << (octave - 3)
    }

    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_that_fits() {
        let mut last = 0;
        for n in 0..CLASSES {
            let bytes = Class(n as u8).bytes();
            assert!(bytes > last && bytes.is_multiple_of(8));
            assert!(bytes < 512 || bytes.is_multiple_of(64), "{bytes}");
            for size in last + 1..=bytes {
                assert_eq!(Class::of(size).index(), n, "{size}");
            }
            last = bytes;
        }
        assert_eq!(last, MAX_BYTES);
    }
}
