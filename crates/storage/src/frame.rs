//! The frame around every byte string that storage writes outside segment files: magic, version, body, crc32c.
//! Knows nothing of what is inside.

use quiver_base::{Error, Result};

/// What a frame holds, and in which version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    /// First four bytes.
    pub(crate) magic: [u8; 4],
    /// The only version that this build reads and writes.
    pub(crate) version: u32,
    /// For error messages.
    pub(crate) name: &'static str,
}

const HEADER_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 4;

impl Format {
    /// Starts a frame; append the body, then [`Format::finish`].
    pub(crate) fn start(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(&self.magic);
        out.extend_from_slice(&self.version.to_le_bytes());
        out
    }

    /// Seals a frame.
    pub(crate) fn finish(&self, mut frame: Vec<u8>) -> Vec<u8> {
        let checksum = crc32c::crc32c(&frame);
        frame.extend_from_slice(&checksum.to_le_bytes());
        frame
    }

    /// Checks a frame and returns its body.
    pub(crate) fn open<'a>(&self, frame: &'a [u8]) -> Result<Reader<'a>> {
        if frame.len() < HEADER_BYTES + CHECKSUM_BYTES || frame[..4] != self.magic {
            return Err(Error::corrupt(format!("{}: not such a record", self.name)));
        }
        let (checked, checksum) = frame.split_at(frame.len() - CHECKSUM_BYTES);
        if checksum != crc32c::crc32c(checked).to_le_bytes() {
            return Err(Error::corrupt(format!("{}: checksum mismatch", self.name)));
        }
        let mut reader = Reader { rest: &checked[4..], name: self.name };
        let version = reader.u32()?;
        if version != self.version {
            return Err(Error::unsupported(format!("{} format {version}", self.name)));
        }
        Ok(reader)
    }
}

/// Takes fields off the front of a body.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    name: &'static str,
}

impl<'a> Reader<'a> {
    /// The next `len` bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        if len > self.rest.len() {
            return Err(Error::corrupt(format!("{}: cut short", self.name)));
        }
        let (bytes, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(bytes)
    }

    /// A little-endian u32.
    pub(crate) fn u32(&mut self) -> Result<u32> {
        let bytes = self.bytes(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A little-endian u64.
    pub(crate) fn u64(&mut self) -> Result<u64> {
        let (low, high) = (self.u32()?, self.u32()?);
        Ok(u64::from(high) << 32 | u64::from(low))
    }

    /// A u64 count and as many u64s.
    pub(crate) fn u64s(&mut self) -> Result<Vec<u64>> {
        let count = usize::try_from(self.u64()?).unwrap_or(usize::MAX);
        let bytes = self.bytes(count.saturating_mul(8))?;
        Ok(bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect())
    }

    /// A u64 length and as many bytes.
    pub(crate) fn block(&mut self) -> Result<&'a [u8]> {
        let len = usize::try_from(self.u64()?).unwrap_or(usize::MAX);
        self.bytes(len)
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Fails unless everything was read.
    pub(crate) fn end(self) -> Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(Error::corrupt(format!("{}: trailing bytes", self.name)))
    }
}

/// Appends a u64 count and the numbers.
pub(crate) fn put_u64s(out: &mut Vec<u8>, numbers: impl ExactSizeIterator<Item = u64>) {
    out.extend_from_slice(&(numbers.len() as u64).to_le_bytes());
    numbers.for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
}

/// Appends a u64 length and the bytes.
pub(crate) fn put_block(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// The same of bytes that are written where they are to be.
pub(crate) fn put_block_of(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    let start = out.len() + size_of::<u64>();
    out.extend_from_slice(&0u64.to_le_bytes());
    write(out)?;
    let length = (out.len() - start) as u64;
    out[start - size_of::<u64>()..start].copy_from_slice(&length.to_le_bytes());
    Ok(())
}
