//! The file of inverted lists.

use crate::Mapped;
use crate::mapped::{as_bytes, as_numbers};
use quiver_base::{Error, Result};
use std::io::Write;

const MAGIC: [u8; 8] = *b"QVSPARSE";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
const ALIGN: usize = 64;
const SECTIONS: usize = 7;

/// Whether a file says that it is one of inverted lists.
pub(crate) fn is_sparse_file(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// The sections after the header.
#[derive(Clone, Copy, Debug)]
pub(super) enum Section {
    Places,
    Starts,
    Rows,
    Values,
    Squares,
    Sums,
    Presence,
}

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Rows of the segment, NULLs included.
    pub(super) rows: u32,
    /// Rows that are not NULL.
    pub(super) present: u32,
    /// Places that some row has a value at.
    pub(super) places: u32,
    /// Values of all rows.
    pub(super) postings: u64,
}

impl Header {
    fn section_bytes(&self) -> Option<[usize; SECTIONS]> {
        let (rows, places) = (self.rows as usize, self.places as usize);
        let postings = usize::try_from(self.postings).ok()?.checked_mul(4)?;
        Some([places * 4, (places + 1) * 8, postings, postings, rows * 8, rows * 8, rows.div_ceil(64) * 8])
    }

    fn offsets(&self) -> Option<[usize; SECTIONS + 1]> {
        let mut offsets = [HEADER_BYTES; SECTIONS + 1];
        for (at, bytes) in self.section_bytes()?.into_iter().enumerate() {
            offsets[at + 1] = offsets[at].checked_add(bytes.checked_next_multiple_of(ALIGN)?)?;
        }
        Some(offsets)
    }

    fn encode(&self, checksum: u32) -> [u8; HEADER_BYTES] {
        let mut header = [0u8; HEADER_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&self.rows.to_le_bytes());
        header[16..20].copy_from_slice(&self.present.to_le_bytes());
        header[20..24].copy_from_slice(&self.places.to_le_bytes());
        header[24..32].copy_from_slice(&self.postings.to_le_bytes());
        header[32..36].copy_from_slice(&checksum.to_le_bytes());
        let crc = crc32c::crc32c(&header[..60]);
        header[60..].copy_from_slice(&crc.to_le_bytes());
        header
    }

    fn decode(bytes: &[u8]) -> Result<(Header, u32)> {
        let header = bytes.get(..HEADER_BYTES).ok_or_else(|| Error::corrupt("sparse lists: cut short"))?;
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if header[..8] != MAGIC {
            return Err(Error::corrupt("sparse lists: not such a file"));
        }
        if number(60) != crc32c::crc32c(&header[..60]) {
            return Err(Error::corrupt("sparse lists: checksum of the header"));
        }
        if number(8) != VERSION {
            return Err(Error::unsupported(format!("sparse list format {}", number(8))));
        }
        let postings = u64::from(number(24)) | u64::from(number(28)) << 32;
        Ok((Header { rows: number(12), present: number(16), places: number(20), postings }, number(32)))
    }
}

type Contents<'a> = (&'a [u32], &'a [u64], &'a [u32], &'a [f32], &'a [f64], &'a [f64], &'a [u64]);

/// Writes a file; returns its length.
pub(super) fn write(header: &Header, contents: Contents<'_>, out: &mut dyn Write) -> Result<u64> {
    let (offsets, sizes) = match (header.offsets(), header.section_bytes()) {
        (Some(offsets), Some(sizes)) => (offsets, sizes),
        _ => return Err(Error::internal("too many sparse values for one segment")),
    };
    let (places, starts, rows, values, squares, sums, presence) = contents;
    let sections: [&[u8]; SECTIONS] = [
        as_bytes(places),
        as_bytes(starts),
        as_bytes(rows),
        as_bytes(values),
        as_bytes(squares),
        as_bytes(sums),
        as_bytes(presence),
    ];
    let padding = |section: usize| &[0u8; ALIGN][..offsets[section + 1] - offsets[section] - sizes[section]];
    let mut checksum = 0;
    for (section, bytes) in sections.iter().enumerate() {
        if bytes.len() != sizes[section] {
            return Err(Error::internal(format!("sparse lists: section {section} has another length")));
        }
        checksum = crc32c::crc32c_append(crc32c::crc32c_append(checksum, bytes), padding(section));
    }
    let failed = |e| Error::io("writing sparse lists", e);
    out.write_all(&header.encode(checksum)).map_err(failed)?;
    for (section, bytes) in sections.iter().enumerate() {
        out.write_all(bytes).map_err(failed)?;
        out.write_all(padding(section)).map_err(failed)?;
    }
    Ok(offsets[SECTIONS] as u64)
}

/// A file whose header is good and whose length fits it.
#[derive(Clone, Debug)]
pub(super) struct SparseFile {
    bytes: Mapped,
    pub(super) header: Header,
    checksum: u32,
    offsets: [usize; SECTIONS + 1],
    sizes: [usize; SECTIONS],
}

impl SparseFile {
    pub(super) fn open(bytes: Mapped) -> Result<SparseFile> {
        let (header, checksum) = Header::decode(&bytes)?;
        let parts = header.offsets().zip(header.section_bytes());
        let (offsets, sizes) = parts.ok_or_else(|| Error::corrupt("sparse lists: header"))?;
        if bytes.len() != offsets[SECTIONS] {
            return Err(Error::corrupt(format!(
                "sparse lists: {} bytes, expected {}",
                bytes.len(),
                offsets[SECTIONS]
            )));
        }
        Ok(SparseFile { bytes, header, checksum, offsets, sizes })
    }

    fn section(&self, section: Section) -> &[u8] {
        let at = section as usize;
        &self.bytes[self.offsets[at]..self.offsets[at] + self.sizes[at]]
    }

    /// A section of f64.
    pub(super) fn numbers(&self, section: Section) -> &[f64] {
        as_numbers(self.section(section)).unwrap_or_default()
    }

    pub(super) fn presence(&self) -> &[u64] {
        as_numbers(self.section(Section::Presence)).unwrap_or_default()
    }

    /// The rows that have a value at a place, and the values.
    pub(super) fn list(&self, place: u32) -> (&[u32], &[f32]) {
        let places: &[u32] = as_numbers(self.section(Section::Places)).unwrap_or_default();
        let starts: &[u64] = as_numbers(self.section(Section::Starts)).unwrap_or_default();
        let rows: &[u32] = as_numbers(self.section(Section::Rows)).unwrap_or_default();
        let values: &[f32] = as_numbers(self.section(Section::Values)).unwrap_or_default();
        let Ok(at) = places.binary_search(&place) else { return (&[], &[]) };
        let Some([start, end]) = starts.get(at..at + 2) else { return (&[], &[]) };
        let range = *start as usize..*end as usize;
        let part = rows.get(range.clone()).zip(values.get(range));
        part.unwrap_or_default()
    }

    pub(super) fn verify(&self) -> Result<()> {
        if crc32c::crc32c(&self.bytes[HEADER_BYTES..]) != self.checksum {
            return Err(Error::corrupt("sparse lists: checksum"));
        }
        let places: &[u32] = as_numbers(self.section(Section::Places)).unwrap_or_default();
        let starts: &[u64] = as_numbers(self.section(Section::Starts)).unwrap_or_default();
        let rows: &[u32] = as_numbers(self.section(Section::Rows)).unwrap_or_default();
        let present: u32 = self.presence().iter().map(|word| word.count_ones()).sum();
        let sound = places.is_sorted_by(|a, b| a < b)
            && starts.first() == Some(&0)
            && starts.last() == Some(&self.header.postings)
            && starts.is_sorted()
            && rows.iter().all(|row| *row < self.header.rows)
            && present == self.header.present;
        if sound { Ok(()) } else { Err(Error::corrupt("sparse lists: a row that does not exist")) }
    }
}
