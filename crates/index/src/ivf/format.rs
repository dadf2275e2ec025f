//! The file of lists.
//!
//! ```text
//! header 64 bytes | centres, lists × dim f32 | starts, (lists + 1) u32 | rows, linked u32
//! ```
//! Each section is padded to 64 bytes. List `i` holds `rows[starts[i]..starts[i + 1]]`, ascending.

use crate::mapped::as_numbers;
use crate::{Mapped, Metric};
use quiver_base::{Error, Result};
use std::io::Write;

const MAGIC: [u8; 8] = *b"QVIVFLAT";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
const ALIGN: usize = 64;
const SECTIONS: usize = 3;

/// Whether a file says that it is one of lists.
pub(crate) fn is_list_file(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// The sections after the header.
#[derive(Clone, Copy, Debug)]
pub(super) enum Section {
    Centres,
    Starts,
    Rows,
}

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) metric: Metric,
    pub(super) dim: u16,
    /// Rows of the segment, NULLs included.
    pub(super) rows: u32,
    pub(super) lists: u32,
    /// Rows that are in a list.
    pub(super) linked: u32,
}

impl Header {
    fn section_bytes(&self) -> [usize; SECTIONS] {
        let lists = self.lists as usize;
        [lists * usize::from(self.dim) * 4, (lists + 1) * 4, self.linked as usize * 4]
    }

    fn offsets(&self) -> [usize; SECTIONS + 1] {
        let mut offsets = [HEADER_BYTES; SECTIONS + 1];
        for (at, bytes) in self.section_bytes().into_iter().enumerate() {
            offsets[at + 1] = offsets[at] + bytes.next_multiple_of(ALIGN);
        }
        offsets
    }

    fn encode(&self, checksums: [u32; SECTIONS]) -> [u8; HEADER_BYTES] {
        let mut header = [0u8; HEADER_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        let mut put = |at: usize, number: u32| header[at..at + 4].copy_from_slice(&number.to_le_bytes());
        put(8, VERSION);
        put(12, self.rows);
        put(16, self.lists);
        put(20, self.linked);
        put(24, u32::from(self.dim));
        put(28, u32::from(self.metric.to_code()));
        checksums.iter().enumerate().for_each(|(at, checksum)| put(32 + at * 4, *checksum));
        let crc = crc32c::crc32c(&header[..60]);
        header[60..].copy_from_slice(&crc.to_le_bytes());
        header
    }

    fn decode(bytes: &[u8]) -> Result<(Header, [u32; SECTIONS])> {
        let header = bytes.get(..HEADER_BYTES).ok_or_else(|| Error::corrupt("ivfflat lists: cut short"))?;
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if header[..8] != MAGIC {
            return Err(Error::corrupt("ivfflat lists: not such a file"));
        }
        if number(60) != crc32c::crc32c(&header[..60]) {
            return Err(Error::corrupt("ivfflat lists: checksum of the header"));
        }
        if number(8) != VERSION {
            return Err(Error::unsupported(format!("ivfflat list format {}", number(8))));
        }
        let wrong = || Error::corrupt("ivfflat lists: header");
        let metric = u8::try_from(number(28)).ok().and_then(Metric::from_code).ok_or_else(wrong)?;
        let dim = u16::try_from(number(24)).map_err(|_| wrong())?;
        let decoded = Header { metric, dim, rows: number(12), lists: number(16), linked: number(20) };
        if decoded.linked > decoded.rows || decoded.lists > decoded.linked {
            return Err(wrong());
        }
        Ok((decoded, [number(32), number(36), number(40)]))
    }
}

/// Writes a file; returns its length.
pub(super) fn write(header: &Header, contents: [&[u8]; SECTIONS], out: &mut dyn Write) -> Result<u64> {
    let (offsets, sizes) = (header.offsets(), header.section_bytes());
    let padding = |section: usize| &[0u8; ALIGN][..offsets[section + 1] - offsets[section] - sizes[section]];
    let mut checksums = [0; SECTIONS];
    for (section, bytes) in contents.iter().enumerate() {
        if bytes.len() != sizes[section] {
            return Err(Error::internal(format!("ivfflat lists: section {section} has another length")));
        }
        checksums[section] = crc32c::crc32c_append(crc32c::crc32c(bytes), padding(section));
    }
    let failed = |e| Error::io("writing ivfflat lists", e);
    out.write_all(&header.encode(checksums)).map_err(failed)?;
    for (section, bytes) in contents.iter().enumerate() {
        out.write_all(bytes).map_err(failed)?;
        out.write_all(padding(section)).map_err(failed)?;
    }
    Ok(offsets[SECTIONS] as u64)
}

/// A file whose header is good and whose length fits it.
#[derive(Clone, Debug)]
pub(super) struct ListFile {
    bytes: Mapped,
    pub(super) header: Header,
    checksums: [u32; SECTIONS],
    offsets: [usize; SECTIONS + 1],
    sizes: [usize; SECTIONS],
}

impl ListFile {
    pub(super) fn open(bytes: Mapped) -> Result<ListFile> {
        let (header, checksums) = Header::decode(&bytes)?;
        let (offsets, sizes) = (header.offsets(), header.section_bytes());
        if bytes.len() != offsets[SECTIONS] {
            return Err(Error::corrupt(format!(
                "ivfflat lists: {} bytes, expected {}",
                bytes.len(),
                offsets[SECTIONS]
            )));
        }
        Ok(ListFile { bytes, header, checksums, offsets, sizes })
    }

    fn section(&self, section: Section) -> &[u8] {
        let at = section as usize;
        &self.bytes[self.offsets[at]..self.offsets[at] + self.sizes[at]]
    }

    /// The centre of every list, one after the other.
    pub(super) fn centres(&self) -> &[f32] {
        as_numbers(self.section(Section::Centres)).unwrap_or_default()
    }

    /// The rows of a list; none in a damaged file.
    pub(super) fn list(&self, list: u32) -> &[u32] {
        let starts: &[u32] = as_numbers(self.section(Section::Starts)).unwrap_or_default();
        let rows: &[u32] = as_numbers(self.section(Section::Rows)).unwrap_or_default();
        let bounds = starts.get(list as usize..list as usize + 2);
        bounds.and_then(|bounds| rows.get(bounds[0] as usize..bounds[1] as usize)).unwrap_or_default()
    }

    pub(super) fn verify(&self) -> Result<()> {
        for (at, checksum) in self.checksums.iter().enumerate() {
            if crc32c::crc32c(&self.bytes[self.offsets[at]..self.offsets[at + 1]]) != *checksum {
                return Err(Error::corrupt(format!("ivfflat lists: checksum of section {at}")));
            }
        }
        let starts: &[u32] = as_numbers(self.section(Section::Starts)).unwrap_or_default();
        let rows: &[u32] = as_numbers(self.section(Section::Rows)).unwrap_or_default();
        let sound = starts.first() == Some(&0)
            && starts.last() == Some(&self.header.linked)
            && starts.is_sorted()
            && rows.iter().all(|row| *row < self.header.rows);
        if sound { Ok(()) } else { Err(Error::corrupt("ivfflat lists: a row that does not exist")) }
    }
}
