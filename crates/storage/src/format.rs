//! The header that storage's own small files begin with.
//!
//! ```text
//! magic 8 | version u32 | crc32c of the body u32 | fields 44 | crc32c of the 60 bytes before u32     little-endian
//! ```

use quiver_base::{Error, Result};

pub(crate) const HEADER_BYTES: usize = 64;
const FIELDS: std::ops::Range<usize> = 16..60;

/// What kind of file it is.
pub(crate) struct Format {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u32,
    /// For messages.
    pub(crate) name: &'static str,
}

impl Format {
    /// The header of a file with these fields, at most 44 bytes, and this body.
    pub(crate) fn header(&self, fields: &[u8], body_crc32c: u32) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&self.magic);
        header[8..12].copy_from_slice(&self.version.to_le_bytes());
        header[12..16].copy_from_slice(&body_crc32c.to_le_bytes());
        header[FIELDS][..fields.len()].copy_from_slice(fields);
        let crc = crc32c::crc32c(&header[..60]);
        header[60..].copy_from_slice(&crc.to_le_bytes());
        header
    }

    /// Checks the header, and the body against it. Returns the fields and the body.
    pub(crate) fn open<'a>(&self, bytes: &'a [u8]) -> Result<(&'a [u8], &'a [u8])> {
        let damaged = |what: &str| Error::corrupt(format!("{}: {what}", self.name));
        let (header, body) = bytes.split_at_checked(HEADER_BYTES).ok_or_else(|| damaged("cut short"))?;
        if header[..8] != self.magic {
            return Err(damaged("not such a file"));
        }
        if header[60..] != crc32c::crc32c(&header[..60]).to_le_bytes() {
            return Err(damaged("checksum of the header"));
        }
        if header[8..12] != self.version.to_le_bytes() {
            return Err(Error::unsupported(format!("{} format {}", self.name, read_u32(&header[8..12]))));
        }
        if header[12..16] != crc32c::crc32c(body).to_le_bytes() {
            return Err(damaged("checksum of the content"));
        }
        Ok((&header[FIELDS], body))
    }
}

/// The number that the first four bytes are; zero if there are fewer.
pub(crate) fn read_u32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |four| u32::from_le_bytes(*four))
}

/// The number that the first eight bytes are; zero if there are fewer.
pub(crate) fn read_u64(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight))
}
