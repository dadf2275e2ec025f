//! The file of lists. Knows where each part lies and whether it is whole; knows nothing of searching, nor of what a code means.
//!
//! ```text
//! version 2: header 64 bytes | centres, lists × dim f32 | starts, (lists + 1) u32 | origin, dim f32 | list | list | …
//! a list:    rows u32 each | checksums u32 each | codes | padding | crc32c
//! version 1: header 64 bytes | centres, lists × dim f32 | starts, (lists + 1) u32 | rows, linked u32
//! ```
//! Each part is padded to 64 bytes. List `i` has `starts[i + 1] - starts[i]` rows, ascending; one without rows takes no bytes. All
//! before the first list is the head: who has it knows where every list is, and each list is checked on its own.

use super::codes::ListCoder;
use crate::mapped::{as_bytes, as_numbers};
use crate::rabitq::{BITS_MAX, Coder};
use crate::{Mapped, Metric};
use quiver_base::{Error, Result};
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

const MAGIC: [u8; 8] = *b"QVIVFLAT";
/// What is written.
pub(super) const NEWEST: u32 = 2;
const HEADER_BYTES: usize = 64;
const ALIGN: usize = 64;
const CHECKSUM_BYTES: usize = 4;

/// Whether a file says that it is one of lists.
pub(crate) fn is_list_file(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// What the header says.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) metric: Metric,
    pub(super) dim: u16,
    /// Rows of the segment, NULLs included.
    pub(super) rows: u32,
    pub(super) lists: u32,
    /// Rows that are in a list.
    pub(super) linked: u32,
    /// Of a code, for each dimension; 0 if there are no codes.
    pub(super) bits: u8,
    /// How long the centres of codes are, if all have one length.
    pub(super) length: f32,
}

/// Checksums that a header holds: of all behind it in the head; version 1 has one for each of its parts.
type HeaderChecksums = [u32; 3];

impl Header {
    fn centres(&self) -> Range<usize> {
        HEADER_BYTES..HEADER_BYTES + self.lists as usize * usize::from(self.dim) * 4
    }

    fn starts(&self) -> Range<usize> {
        let start = self.centres().end.next_multiple_of(ALIGN);
        start..start + (self.lists as usize + 1) * 4
    }

    /// The point that codes are seen from; there only if there are codes.
    fn origin(&self) -> Range<usize> {
        let start = self.starts().end.next_multiple_of(ALIGN);
        start..start + if self.bits > 0 { usize::from(self.dim) * 4 } else { 0 }
    }

    pub(super) fn head_bytes(&self) -> usize {
        self.origin().end.next_multiple_of(ALIGN)
    }

    /// Bytes of a list of so many rows.
    pub(super) fn list_bytes(&self, rows: usize) -> usize {
        match (self.version, rows) {
            (1, _) => rows * 4,
            (_, 0) => 0,
            _ => (self.list_parts(rows)[2].end + CHECKSUM_BYTES).next_multiple_of(ALIGN),
        }
    }

    /// Where rows, checksums and codes of a list of so many rows lie in it.
    fn list_parts(&self, rows: usize) -> [Range<usize>; 3] {
        let checksum = if self.version == 1 { 0 } else { 4 };
        let [a, b, c] = [4, 4 + checksum, 4 + checksum + self.code_bytes()].map(|end| end * rows);
        [0..a, a..b, b..c]
    }

    /// Bytes of one code.
    pub(super) fn code_bytes(&self) -> usize {
        if self.bits == 0 { 0 } else { Coder::bytes_of(usize::from(self.dim), self.bits) }
    }

    fn encode(&self, head_checksum: u32) -> [u8; HEADER_BYTES] {
        let mut header = [0u8; HEADER_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        let mut put = |at: usize, number: u32| header[at..at + 4].copy_from_slice(&number.to_le_bytes());
        put(8, self.version);
        put(12, self.rows);
        put(16, self.lists);
        put(20, self.linked);
        put(24, u32::from(self.dim));
        put(32, head_checksum);
        put(36, self.length.to_bits());
        header[28] = self.metric.to_code();
        header[29] = self.bits;
        let crc = crc32c::crc32c(&header[..60]);
        header[60..].copy_from_slice(&crc.to_le_bytes());
        header
    }

    fn decode(bytes: &[u8]) -> Result<(Header, HeaderChecksums)> {
        let header = bytes.get(..HEADER_BYTES).ok_or_else(|| Error::corrupt("ivfflat lists: cut short"))?;
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if header[..8] != MAGIC {
            return Err(Error::corrupt("ivfflat lists: not such a file"));
        }
        if number(60) != crc32c::crc32c(&header[..60]) {
            return Err(Error::corrupt("ivfflat lists: checksum of the header"));
        }
        let version = number(8);
        if !(1..=NEWEST).contains(&version) {
            return Err(Error::unsupported(format!("ivfflat list format {version}")));
        }
        let wrong = || Error::corrupt("ivfflat lists: header");
        let metric = Metric::from_code(header[28]).ok_or_else(wrong)?;
        let dim = u16::try_from(number(24)).map_err(|_| wrong())?;
        let (rows, lists, linked) = (number(12), number(16), number(20));
        if linked > rows || lists > linked || header[29] > BITS_MAX {
            return Err(wrong());
        }
        let (bits, length) = if version == 1 { (0, 1.0) } else { (header[29], f32::from_bits(number(36))) };
        let decoded = Header { version, metric, dim, rows, lists, linked, bits, length };
        Ok((decoded, [number(32), number(36), number(40)]))
    }
}

/// Bytes of the head of a file that begins so; nothing for version 1, whose lists have no checksums.
pub(super) fn head_bytes(beginning: &[u8]) -> Result<Option<u64>> {
    let (header, _) = Header::decode(beginning)?;
    Ok((header.version > 1).then(|| header.head_bytes() as u64))
}

/// Bytes of the head of a file of the newest version, at most.
pub(super) fn head_bytes_max(lists: u32, dim: u16) -> u64 {
    let (lists, dim) = (u64::from(lists), u64::from(dim));
    let parts = [lists * dim * 4, (lists + 1) * 4, dim * 4];
    parts.into_iter().fold(HEADER_BYTES as u64, |sum, part| sum + part.next_multiple_of(ALIGN as u64))
}

/// Writes everything before the lists. The origin is empty if there are no codes.
pub(super) fn write_head(
    header: &Header,
    centres: &[f32],
    starts: &[u32],
    origin: &[f32],
    out: &mut dyn Write,
) -> Result<u64> {
    let mut head = vec![0u8; header.head_bytes()];
    let parts = [
        (header.centres(), as_bytes(centres)),
        (header.starts(), as_bytes(starts)),
        (header.origin(), as_bytes(origin)),
    ];
    for (place, bytes) in parts {
        if place.len() != bytes.len() {
            return Err(Error::internal("ivfflat lists: a part of the head has another length"));
        }
        head[place].copy_from_slice(bytes);
    }
    let checksum = crc32c::crc32c(&head[HEADER_BYTES..]);
    head[..HEADER_BYTES].copy_from_slice(&header.encode(checksum));
    out.write_all(&head).map_err(|e| Error::io("writing ivfflat lists", e))?;
    Ok(head.len() as u64)
}

/// A list without its codes, and where they go; then [`seal`] adds the checksum.
pub(super) fn new_list(header: &Header, rows: &[u32], checksums: &[u32]) -> (Vec<u8>, Range<usize>) {
    let mut list = vec![0u8; header.list_bytes(rows.len())];
    let [at_rows, at_checksums, at_codes] = header.list_parts(rows.len());
    list[at_rows].copy_from_slice(as_bytes(rows));
    list[at_checksums].copy_from_slice(as_bytes(checksums));
    (list, at_codes)
}

/// Adds the checksum. It covers the list's number too, so that no list is taken for another.
pub(super) fn seal(number: u32, list: &mut [u8]) {
    if let Some(end) = list.len().checked_sub(CHECKSUM_BYTES) {
        let checksum = list_checksum(number, &list[..end]);
        list[end..].copy_from_slice(&checksum.to_le_bytes());
    }
}

fn list_checksum(number: u32, list: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), list)
}

/// The rows of a list, as they lie in it.
#[derive(Clone, Copy, Default)]
pub(super) struct ListRows<'a> {
    pub(super) rows: &'a [u32],
    /// crc32c of each row's full vector; none in version 1.
    pub(super) checksums: &'a [u32],
    /// One after the other.
    pub(super) codes: &'a [u8],
}

/// The head of a file, checked.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// The head, perhaps with the lists behind it.
    bytes: Mapped,
    pub(super) header: Header,
    /// Version 1's checksums of its parts.
    checksums: HeaderChecksums,
    /// Where each list begins in the file, and the end.
    offsets: Vec<u64>,
    pub(super) coder: Option<Arc<ListCoder>>,
}

impl Head {
    /// Opens the head of a file of `file_bytes`; `bytes` begin as the file does and may go on behind the head.
    pub(super) fn open(bytes: Mapped, file_bytes: u64) -> Result<Head> {
        let (header, checksums) = Header::decode(&bytes)?;
        let head = bytes.get(HEADER_BYTES..header.head_bytes());
        let head = head.ok_or_else(|| Error::corrupt("ivfflat lists: cut short"))?;
        if header.version > 1 && crc32c::crc32c(head) != checksums[0] {
            return Err(Error::corrupt("ivfflat lists: checksum of the head"));
        }
        let starts: &[u32] = as_numbers(&bytes[header.starts()]).unwrap_or_default();
        if starts.first() != Some(&0) || starts.last() != Some(&header.linked) || !starts.is_sorted() {
            return Err(Error::corrupt("ivfflat lists: where lists begin"));
        }
        let mut offsets = vec![header.head_bytes() as u64];
        for bounds in starts.windows(2) {
            let list = header.list_bytes((bounds[1] - bounds[0]) as usize) as u64;
            offsets.push(offsets[offsets.len() - 1] + list);
        }
        let end = offsets[offsets.len() - 1].next_multiple_of(ALIGN as u64);
        if file_bytes != end {
            return Err(Error::corrupt(format!("ivfflat lists: {file_bytes} bytes, expected {end}")));
        }
        let origin: &[f32] = as_numbers(&bytes[header.origin()]).unwrap_or_default();
        let coder = (header.bits > 0).then(|| ListCoder::new(&header, origin)).transpose()?;
        Ok(Head { bytes, header, checksums, offsets, coder: coder.map(Arc::new) })
    }

    /// Memory that it takes, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.offsets.len() * 8
    }

    /// The centre of every list, one after the other.
    pub(super) fn centres(&self) -> &[f32] {
        as_numbers(&self.bytes[self.header.centres()]).unwrap_or_default()
    }

    /// How many rows a list has.
    pub(super) fn list_len(&self, list: u32) -> u32 {
        let starts: &[u32] = as_numbers(&self.bytes[self.header.starts()]).unwrap_or_default();
        let bounds = starts.get(list as usize..list as usize + 2);
        bounds.map_or(0, |bounds| bounds[1] - bounds[0])
    }

    /// Where a list lies in the file.
    pub(super) fn list_place(&self, list: u32) -> Range<u64> {
        let bounds = self.offsets.get(list as usize..list as usize + 2);
        bounds.map_or(0..0, |bounds| bounds[0]..bounds[1])
    }

    /// A list's bytes in a file that is all there.
    pub(super) fn list_bytes(&self, list: u32) -> &[u8] {
        let place = self.list_place(list);
        self.bytes.get(place.start as usize..place.end as usize).unwrap_or_default()
    }

    /// The parts of a list; an empty one if the bytes are not a list's.
    pub(super) fn list_rows<'a>(&self, list: u32, bytes: &'a [u8]) -> ListRows<'a> {
        let [rows, checksums, codes] = self.header.list_parts(self.list_len(list) as usize);
        if bytes.len() < codes.end {
            return ListRows::default();
        }
        ListRows {
            rows: as_numbers(&bytes[rows]).unwrap_or_default(),
            checksums: as_numbers(&bytes[checksums]).unwrap_or_default(),
            codes: &bytes[codes],
        }
    }

    /// Compares a list's bytes with their checksum and checks that every row exists. Lists of version 1 have none of their own.
    pub(super) fn check_list(&self, list: u32, bytes: &[u8]) -> Result<()> {
        let sound = match bytes.len().checked_sub(CHECKSUM_BYTES).filter(|_| self.header.version > 1) {
            Some(end) => list_checksum(list, &bytes[..end]).to_le_bytes() == bytes[end..],
            None => self.list_len(list) == 0 || self.header.version == 1,
        };
        if !sound {
            return Err(Error::corrupt(format!("ivfflat lists: checksum of list {list}")));
        }
        let rows = self.list_rows(list, bytes).rows;
        if rows.len() != self.list_len(list) as usize || rows.iter().any(|row| *row >= self.header.rows) {
            return Err(Error::corrupt(format!("ivfflat lists: rows of list {list}")));
        }
        Ok(())
    }

    /// Checks everything in a file that is all there.
    pub(super) fn verify(&self) -> Result<()> {
        if self.header.version == 1 {
            let starts = self.header.starts();
            let parts = [HEADER_BYTES..starts.start, starts.start..self.header.head_bytes()];
            let rows = self.header.head_bytes()..self.bytes.len();
            for (at, part) in parts.into_iter().chain([rows]).enumerate() {
                if crc32c::crc32c(&self.bytes[part]) != self.checksums[at] {
                    return Err(Error::corrupt(format!("ivfflat lists: checksum of section {at}")));
                }
            }
        }
        (0..self.header.lists).try_for_each(|list| self.check_list(list, self.list_bytes(list)))
    }
}
