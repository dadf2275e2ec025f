//! The bytes of a graph file: a header with checksums and sections that are read in place. Knows no distances.
//!
//! ```text
//! header 256 bytes | lowest-level links | upper-level nodes | upper-level links | codes | code terms
//!                  | quantiser | first row of each node | rows | code errors
//! ```
//! Every section starts at a multiple of 64 bytes; its checksum covers the padding behind it. All numbers are
//! little-endian. Nodes are the distinct vectors that can be linked; without the last two sections node and
//! row are the same number. A node of level 1 or more has a slot: slots are ordered by level, highest first, so
//! that the nodes of any level are the first `level_counts[level - 1]` slots, and slot 0 is the entry point.
//! Links on upper levels name slots, on the lowest they name nodes. An unused link is `u32::MAX`. Version 1 has no code
//! errors and no RaBitQ codes.

use super::calibrate::Widths;
use super::scalar_sieve::CodeError;
use super::{HnswParams, Quantization, rabitq_codes};
use crate::Metric;
use crate::mapped::{Mapped, as_numbers};
use crate::rabitq::BITS_MAX;
use quiver_base::{Error, Result};
use std::io::Write;
use std::ops::Range;

const MAGIC: [u8; 8] = *b"QVHNSWGR";
const VERSION: u32 = 2;
const HEADER_BYTES: usize = 256;
const ALIGN: usize = 64;
const SECTIONS: usize = 9;

/// Upper levels a graph can have. With m = 2 two billion nodes need 31; more than this is never drawn.
pub(super) const LEVELS_MAX: usize = 31;
/// An unused link.
pub(super) const NO_LINK: u32 = u32::MAX;
/// Where the header has the checksums of the sections, and what follows them.
const CHECKSUMS: usize = 36 + LEVELS_MAX * 4;
const AFTER_CHECKSUMS: usize = CHECKSUMS + SECTIONS * 4;
/// Largest `m` a file may have.
pub(super) const M_MAX: u16 = 256;

/// Rows of a segment stay below this: a walk packs a node and a mark into 32 bits.
pub(super) const ROWS_MAX: u32 = u32::MAX / 2;

/// Named parts of the file, in their order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Section {
    Links,
    UpperNodes,
    UpperLinks,
    Codes,
    CodeTerms,
    Quantizer,
    RowStarts,
    Rows,
    CodeErrors,
}

/// What the walk compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CodeKind {
    /// The vectors themselves.
    Full,
    /// One byte a dimension.
    Scalar8,
    /// RaBitQ with so many bits a dimension.
    Rabitq(u8),
}

/// Bytes from one code of a byte a dimension to the next.
pub(super) fn scalar_stride(dim: u16) -> usize {
    usize::from(dim).next_multiple_of(ALIGN)
}

/// Everything the header says; the place of each section follows from it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) metric: Metric,
    pub(super) params: HnswParams,
    pub(super) codes: CodeKind,
    pub(super) dim: u16,
    pub(super) rows: u32,
    pub(super) nodes: u32,
    /// Rows that nodes stand for; more than nodes when vectors repeat.
    pub(super) linked_rows: u32,
    /// Whether node and row are the same number.
    pub(super) identity: bool,
    /// Nodes on each upper level, the lowest of them first.
    pub(super) level_counts: Vec<u32>,
    /// What RaBitQ codes are rotated by.
    pub(super) seed: u64,
    /// How much longer walks over RaBitQ codes are; see [`widened`](super::calibrate::widened).
    pub(super) widths: Widths,
}

impl Header {
    /// What a new file says of itself.
    pub(super) const NEWEST: u32 = VERSION;

    /// Links a node has at the lowest level.
    pub(super) fn degree(&self) -> usize {
        2 * usize::from(self.params.m)
    }

    /// Links a slot has on an upper level.
    pub(super) fn upper_degree(&self) -> usize {
        usize::from(self.params.m)
    }

    /// Bytes from one node's code to the next.
    pub(super) fn code_stride(&self) -> usize {
        match self.codes {
            CodeKind::Full => 0,
            CodeKind::Scalar8 => scalar_stride(self.dim),
            CodeKind::Rabitq(bits) => rabitq_codes::stride(self.dim, bits),
        }
    }

    /// Whether it is known how wrong each code is: where scores follow from an inner product.
    pub(super) fn has_code_errors(&self) -> bool {
        self.version >= 2 && self.codes == CodeKind::Scalar8 && self.metric != Metric::L1
    }

    /// The links of an upper level (1 is the lowest of them), as positions in their section.
    pub(super) fn level_range(&self, level: usize) -> Range<usize> {
        let before: usize = self.level_counts[..level - 1].iter().map(|count| *count as usize).sum();
        let start = before * self.upper_degree();
        start..start + self.level_counts[level - 1] as usize * self.upper_degree()
    }

    fn section_bytes(&self) -> [usize; SECTIONS] {
        let nodes = self.nodes as usize;
        let slots = self.level_counts.first().map_or(0, |count| *count as usize);
        let upper: usize = self.level_counts.iter().map(|count| *count as usize).sum();
        let quantized = self.codes == CodeKind::Scalar8;
        let quantizer = match self.codes {
            CodeKind::Full => 0,
            CodeKind::Scalar8 => 8,
            CodeKind::Rabitq(_) => 4,
        };
        [
            nodes * self.degree() * 4,
            slots * 4,
            upper * self.upper_degree() * 4,
            nodes * self.code_stride(),
            if quantized && self.metric == Metric::L2 { nodes * 4 } else { 0 },
            usize::from(self.dim) * quantizer,
            if self.identity { 0 } else { (nodes + 1) * 4 },
            if self.identity { 0 } else { self.linked_rows as usize * 4 },
            if self.has_code_errors() { nodes * size_of::<CodeError>() } else { 0 },
        ]
    }

    /// Where each section starts; the last number is the end of the file.
    fn offsets(&self) -> [usize; SECTIONS + 1] {
        let mut offsets = [HEADER_BYTES; SECTIONS + 1];
        for (at, bytes) in self.section_bytes().into_iter().enumerate() {
            offsets[at + 1] = (offsets[at] + bytes).next_multiple_of(ALIGN);
        }
        offsets
    }

    /// Bytes of the whole file.
    pub(super) fn file_bytes(&self) -> usize {
        self.offsets()[SECTIONS]
    }

    fn encode(&self, checksums: [u32; SECTIONS]) -> [u8; HEADER_BYTES] {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.version.to_le_bytes());
        let (kind, bits) = match self.codes {
            CodeKind::Full => (0, 0),
            CodeKind::Scalar8 => (1, 0),
            CodeKind::Rabitq(bits) => (2, bits),
        };
        out.extend_from_slice(&[self.metric.to_code(), kind]);
        out.extend_from_slice(&[u8::from(self.identity), self.level_counts.len() as u8]);
        out.extend_from_slice(&self.params.m.to_le_bytes());
        out.extend_from_slice(&self.params.ef_construction.to_le_bytes());
        out.extend_from_slice(&self.dim.to_le_bytes());
        out.extend_from_slice(&[bits, self.params.quantization.to_code()]);
        for number in [self.rows, self.nodes, self.linked_rows] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for level in 0..LEVELS_MAX {
            let count = self.level_counts.get(level).copied().unwrap_or(0);
            out.extend_from_slice(&count.to_le_bytes());
        }
        for checksum in checksums {
            out.extend_from_slice(&checksum.to_le_bytes());
        }
        out.extend_from_slice(&self.seed.to_le_bytes());
        self.widths.iter().for_each(|width| out.extend_from_slice(&width.to_le_bytes()));
        out.resize(HEADER_BYTES - 4, 0);
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&out);
        header
    }

    fn decode(bytes: &[u8]) -> Result<(Header, [u32; SECTIONS])> {
        let bytes = bytes.get(..HEADER_BYTES).ok_or_else(|| Error::corrupt("hnsw graph: cut short"))?;
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if bytes[..8] != MAGIC {
            return Err(Error::corrupt("hnsw graph: not such a file"));
        }
        if u32_at(HEADER_BYTES - 4) != crc32c::crc32c(&bytes[..HEADER_BYTES - 4]) {
            return Err(Error::corrupt("hnsw graph: checksum of the header"));
        }
        if !(1..=VERSION).contains(&u32_at(8)) {
            return Err(Error::unsupported(format!("hnsw graph format {}", u32_at(8))));
        }
        let levels = usize::from(bytes[15]).min(LEVELS_MAX);
        let codes = match (bytes[13], bytes[22]) {
            (0, _) => CodeKind::Full,
            (1, _) => CodeKind::Scalar8,
            (2, bits @ 1..=BITS_MAX) => CodeKind::Rabitq(bits),
            _ => return Err(Error::corrupt("hnsw graph: kind of codes")),
        };
        let quantization =
            Quantization::from_code(bytes[23]).ok_or_else(|| Error::corrupt("hnsw graph: quantization"))?;
        let params = HnswParams { m: u16_at(16), ef_construction: u16_at(18), quantization };
        let header = Header {
            version: u32_at(8),
            metric: Metric::from_code(bytes[12]).ok_or_else(|| Error::corrupt("hnsw graph: metric"))?,
            codes,
            identity: bytes[14] == 1,
            params,
            dim: u16_at(20),
            rows: u32_at(24),
            nodes: u32_at(28),
            linked_rows: u32_at(32),
            level_counts: (0..levels).map(|level| u32_at(36 + level * 4)).collect(),
            seed: u64::from(u32_at(AFTER_CHECKSUMS)) | u64::from(u32_at(AFTER_CHECKSUMS + 4)) << 32,
            widths: [8, 12, 16].map(|at| f32::from_bits(u32_at(AFTER_CHECKSUMS + at))),
        };
        let checksums = std::array::from_fn(|at| u32_at(CHECKSUMS + at * 4));
        header.check()?;
        Ok((header, checksums))
    }

    /// The relations that readers rely on without looking again.
    fn check(&self) -> Result<()> {
        let descending = self.level_counts.windows(2).all(|pair| pair[0] >= pair[1]);
        let sane = (2..=M_MAX).contains(&self.params.m)
            && self.nodes <= self.linked_rows
            && self.linked_rows <= self.rows
            && self.rows < ROWS_MAX
            && (!self.identity || self.nodes == self.rows)
            && descending
            && (!matches!(self.codes, CodeKind::Rabitq(_))
                || self.widths.iter().all(|width| (1.0..=64.0).contains(width)))
            && self.level_counts.first().is_none_or(|count| *count <= self.nodes)
            && self.level_counts.last().is_none_or(|count| *count > 0);
        if sane { Ok(()) } else { Err(Error::corrupt("hnsw graph: header")) }
    }
}

/// The contents of the sections, to be written. Those that the header has no room for are empty.
pub(super) type Contents<'a> = [&'a [u8]; SECTIONS];

/// Writes a file; returns its length.
pub(super) fn write(header: &Header, contents: Contents<'_>, out: &mut dyn Write) -> Result<u64> {
    let (offsets, sizes) = (header.offsets(), header.section_bytes());
    let padding = |section: usize| &[0u8; ALIGN][..offsets[section + 1] - offsets[section] - sizes[section]];
    let mut checksums = [0; SECTIONS];
    for (section, bytes) in contents.iter().enumerate() {
        if bytes.len() != sizes[section] {
            return Err(Error::internal(format!(
                "hnsw graph: section {section} has {} bytes, not {}",
                bytes.len(),
                sizes[section]
            )));
        }
        checksums[section] = crc32c::crc32c_append(crc32c::crc32c(bytes), padding(section));
    }
    let failed = |e| Error::io("writing an hnsw graph", e);
    out.write_all(&header.encode(checksums)).map_err(failed)?;
    for (section, bytes) in contents.iter().enumerate() {
        out.write_all(bytes).map_err(failed)?;
        out.write_all(padding(section)).map_err(failed)?;
    }
    Ok(header.file_bytes() as u64)
}

/// A file whose header is good and whose length fits it.
#[derive(Clone, Debug)]
pub(super) struct GraphFile {
    bytes: Mapped,
    pub(super) header: Header,
    checksums: [u32; SECTIONS],
    offsets: [usize; SECTIONS + 1],
    sizes: [usize; SECTIONS],
}

impl GraphFile {
    pub(super) fn open(bytes: Mapped) -> Result<GraphFile> {
        let (header, checksums) = Header::decode(&bytes)?;
        let (offsets, sizes) = (header.offsets(), header.section_bytes());
        if bytes.len() != offsets[SECTIONS] {
            return Err(Error::corrupt(format!(
                "hnsw graph: {} bytes, expected {}",
                bytes.len(),
                offsets[SECTIONS]
            )));
        }
        Ok(GraphFile { bytes, header, checksums, offsets, sizes })
    }

    /// Where a section starts.
    #[cfg(test)]
    pub(super) fn start(&self, section: Section) -> usize {
        self.offsets[section as usize]
    }

    /// A section's bytes, without its padding.
    #[inline]
    pub(super) fn section(&self, section: Section) -> &[u8] {
        let at = section as usize;
        &self.bytes[self.offsets[at]..self.offsets[at] + self.sizes[at]]
    }

    /// A section of 32-bit numbers.
    #[inline]
    pub(super) fn numbers(&self, section: Section) -> &[u32] {
        as_numbers(self.section(section)).unwrap_or_default()
    }

    /// A section of floats.
    #[inline]
    pub(super) fn floats(&self, section: Section) -> &[f32] {
        as_numbers(self.section(section)).unwrap_or_default()
    }

    /// How wrong each node's code is.
    #[inline]
    pub(super) fn code_errors(&self) -> &[CodeError] {
        self.floats(Section::CodeErrors).as_chunks().0
    }

    /// Compares everything with its checksum and checks that every number names something that exists.
    pub(super) fn verify(&self) -> Result<()> {
        // What a version does not have is empty, and so is the checksum of nothing: zero.
        for (at, checksum) in self.checksums.iter().enumerate() {
            if crc32c::crc32c(&self.bytes[self.offsets[at]..self.offsets[at + 1]]) != *checksum {
                return Err(Error::corrupt(format!("hnsw graph: checksum of section {at}")));
            }
        }
        let header = &self.header;
        let linked = |links: &[u32], bound: u32| links.iter().all(|link| *link < bound || *link == NO_LINK);
        let upper = self.numbers(Section::UpperLinks);
        let upper_linked = (1..=header.level_counts.len())
            .all(|level| linked(&upper[header.level_range(level)], header.level_counts[level - 1]));
        let starts = self.numbers(Section::RowStarts);
        let mapped = header.identity
            || (starts.first() == Some(&0)
                && starts.last() == Some(&header.linked_rows)
                && starts.is_sorted_by(|a, b| a < b));
        let sound = linked(self.numbers(Section::Links), header.nodes)
            && upper_linked
            && self.numbers(Section::UpperNodes).iter().all(|node| *node < header.nodes)
            && mapped
            && self.numbers(Section::Rows).iter().all(|row| *row < header.rows);
        if sound { Ok(()) } else { Err(Error::corrupt("hnsw graph: a link or row that does not exist")) }
    }
}
