//! Bytes of an object as they lie, mapped from a file or held in memory, at an address that is a multiple of 64.
//! Knows no format.

use memmap2::Mmap;
use quiver_base::{Error, Result};
use std::fmt;
use std::fs::File;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

#[cfg(target_endian = "big")]
compile_error!("vector and graph files are little-endian and read in place");

/// Immutable bytes, 64-byte aligned; a clone shares them.
///
/// A mapped file must not be changed while it is mapped. Objects are written once under a name that is never
/// used again and deleting one leaves its mapping whole, so nothing in Quiver does.
#[derive(Clone)]
pub struct Mapped(Arc<Bytes>);

enum Bytes {
    File(Mmap),
    Memory(AlignedBytes),
}

impl Mapped {
    /// Maps a file.
    pub fn from_file(path: &Path) -> Result<Mapped> {
        let file = File::open(path).map_err(|e| Error::io(path.display(), e))?;
        // SAFETY: the file is not changed while it is mapped, as the type's documentation demands.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io(path.display(), e))?;
        Ok(Mapped(Arc::new(Bytes::File(map))))
    }

    /// Copies bytes into aligned memory.
    pub fn from_bytes(bytes: impl AsRef<[u8]>) -> Mapped {
        Mapped(Arc::new(Bytes::Memory(AlignedBytes::copy(bytes.as_ref()))))
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &*self.0 {
            Bytes::File(map) => map,
            Bytes::Memory(bytes) => bytes.as_slice(),
        }
    }
}

impl fmt::Debug for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &*self.0 {
            Bytes::File(_) => "file",
            Bytes::Memory(_) => "memory",
        };
        write!(f, "Mapped({kind}, {} bytes)", self.len())
    }
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

struct AlignedBytes {
    lines: Vec<Line>,
    len: usize,
}

impl AlignedBytes {
    fn copy(bytes: &[u8]) -> AlignedBytes {
        let lines = bytes
            .chunks(64)
            .map(|chunk| {
                let mut line = Line([0; 64]);
                line.0[..chunk.len()].copy_from_slice(chunk);
                line
            })
            .collect();
        AlignedBytes { lines, len: bytes.len() }
    }

    fn as_slice(&self) -> &[u8] {
        // SAFETY: the lines are `len` initialised bytes or more, without padding between them.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

/// Types every bit pattern of which is a value, so that bytes may be read as them.
///
/// # Safety
/// Implementors have no padding and no invalid bit patterns.
pub(crate) unsafe trait Plain: Copy {}
// SAFETY: plain numbers.
unsafe impl Plain for u8 {}
// SAFETY: plain numbers.
unsafe impl Plain for u16 {}
// SAFETY: plain numbers.
unsafe impl Plain for u32 {}
// SAFETY: plain numbers.
unsafe impl Plain for u64 {}
// SAFETY: plain numbers; any pattern is some f32.
unsafe impl Plain for f32 {}
// SAFETY: plain numbers; any pattern is some f64.
unsafe impl Plain for f64 {}

/// The bytes as numbers, in place; `None` when they are not aligned for them or not a whole number of them.
pub(crate) fn as_numbers<T: Plain>(bytes: &[u8]) -> Option<&[T]> {
    // SAFETY: any bytes are valid values of a `Plain` type; `align_to` takes care of alignment.
    let (before, numbers, after) = unsafe { bytes.align_to::<T>() };
    (before.is_empty() && after.is_empty()).then_some(numbers)
}

/// The numbers as the little-endian bytes a file holds.
pub(crate) fn as_bytes<T: Plain>(numbers: &[T]) -> &[u8] {
    // SAFETY: `Plain` types have no padding, and bytes need no alignment.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    #[test]
    fn memory_and_file_hold_the_same() {
        let bytes: Vec<u8> = (0..200u8).collect();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, &bytes).unwrap();
        let (file, memory) = (Mapped::from_file(&path).unwrap(), Mapped::from_bytes(&bytes));
        assert_eq!(&*file, &bytes[..]);
        assert_eq!(&*memory, &bytes[..]);
        assert_eq!(memory.as_ptr() as usize % 64, 0);
        assert_eq!(file.as_ptr() as usize % 64, 0);
        assert!(Mapped::from_bytes([]).is_empty());
        assert!(Mapped::from_file(&dir.path().join("none")).is_err());
    }

    #[test]
    fn numbers_need_alignment_and_whole_words() {
        let memory = Mapped::from_bytes([1, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(as_numbers::<u32>(&memory), Some(&[1u32, 2][..]));
        assert_eq!(as_numbers::<u32>(&memory[1..5]), None);
        assert_eq!(as_numbers::<u32>(&memory[..6]), None);
        assert_eq!(as_bytes(&[1u32, 2]), &memory[..]);
    }
}
