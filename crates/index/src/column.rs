//! The file of one segment's vector column: a presence bitmap and a matrix of f32, read in place.
//! Knows no index and no row ids; rows are positions.
//!
//! ```text
//! header 64 bytes | presence bitmap, padded to 64 | rows × dim f32, padded to 64 | crc32c of each block | crc32c of those
//! ```
//! A row that is NULL is all zeros. The blocks cover everything between the header and the checksums.

use crate::mapped::{Mapped, as_bytes, as_numbers};
use quiver_base::{Error, Result};
use std::io::{self, Write};
use std::ops::Range;

const MAGIC: [u8; 8] = *b"QVVECTOR";
const VERSION: u32 = 1;
pub(crate) const HEADER_BYTES: usize = 64;
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;
const ALIGN: usize = 64;

/// Where the parts of a file of some shape lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) rows: usize,
    pub(crate) dim: usize,
    pub(crate) vectors: usize,
    pub(crate) checksums: usize,
    pub(crate) blocks: usize,
    pub(crate) file_bytes: usize,
}

impl Layout {
    pub(crate) fn new(rows: u32, dim: u16) -> Layout {
        let (rows, dim) = (rows as usize, usize::from(dim));
        let vectors = HEADER_BYTES + (rows.div_ceil(64) * 8).next_multiple_of(ALIGN);
        let checksums = (vectors + rows * dim * 4).next_multiple_of(ALIGN);
        let blocks = (checksums - HEADER_BYTES).div_ceil(BLOCK_BYTES);
        Layout { rows, dim, vectors, checksums, blocks, file_bytes: checksums + (blocks + 1) * 4 }
    }

    pub(crate) fn presence(&self) -> Range<usize> {
        HEADER_BYTES..HEADER_BYTES + self.rows.div_ceil(64) * 8
    }
}

/// A vector column of one segment, opened.
#[derive(Debug, Clone)]
pub struct VectorColumn {
    bytes: Mapped,
    layout: Layout,
    present: u32,
}

impl VectorColumn {
    /// Writes a column. The rows are walked twice, since the bitmap comes first.
    pub fn write<'a, I>(out: &mut dyn Write, dim: u16, rows: I) -> Result<()>
    where
        I: ExactSizeIterator<Item = Option<&'a [f32]>> + Clone,
    {
        let count =
            u32::try_from(rows.len()).map_err(|_| Error::internal("too many rows for one segment"))?;
        let layout = Layout::new(count, dim);
        let mut words = vec![0u64; layout.rows.div_ceil(64)];
        let mut present = 0u32;
        for (row, vector) in rows.clone().enumerate() {
            let Some(vector) = vector else { continue };
            if vector.len() != layout.dim {
                return Err(Error::internal(format!("expected {dim} dimensions, not {}", vector.len())));
            }
            words[row / 64] |= 1 << (row % 64);
            present += 1;
        }
        let failed = |e| Error::io("writing a vector column", e);
        out.write_all(&encode_header(count, dim, present)).map_err(failed)?;
        let mut body = BlockWriter { out, crc: 0, filled: 0, written: HEADER_BYTES, checksums: Vec::new() };
        body.write(as_bytes(&words)).map_err(failed)?;
        body.pad_to(layout.vectors).map_err(failed)?;
        let null = vec![0.0f32; layout.dim];
        for vector in rows {
            body.write(as_bytes(vector.unwrap_or(&null))).map_err(failed)?;
        }
        body.pad_to(layout.checksums).map_err(failed)?;
        body.finish().map_err(failed)
    }

    /// Opens a column. Reads the header only; see [`verify`](Self::verify).
    pub fn open(bytes: Mapped) -> Result<VectorColumn> {
        let (layout, present) = decode_header(&bytes, bytes.len())?;
        let column = VectorColumn { bytes, layout, present };
        // Checked once here, so that `words` and `matrix` cannot fail later.
        if as_numbers::<u64>(&column.bytes[layout.presence()]).is_none()
            || as_numbers::<f32>(column.matrix_bytes()).is_none()
        {
            return Err(Error::corrupt("vector column: bytes are not aligned"));
        }
        Ok(column)
    }

    /// Reads everything and compares it with its checksums: once, when the file is new on this machine.
    pub fn verify(&self) -> Result<()> {
        let table = &self.bytes[self.layout.checksums..];
        let (checksums, own) = table.split_at(self.layout.blocks * 4);
        if own != crc32c::crc32c(checksums).to_le_bytes() {
            return Err(Error::corrupt("vector column: checksum of the checksums"));
        }
        let blocks = self.bytes[HEADER_BYTES..self.layout.checksums].chunks(BLOCK_BYTES);
        for (number, (block, expected)) in blocks.zip(checksums.chunks(4)).enumerate() {
            if expected != crc32c::crc32c(block).to_le_bytes() {
                return Err(Error::corrupt(format!("vector column: checksum of block {number}")));
            }
        }
        let counted: u32 = self.presence_words().iter().map(|word| word.count_ones()).sum();
        let beyond = self
            .presence_words()
            .last()
            .is_some_and(|word| !self.layout.rows.is_multiple_of(64) && word >> (self.layout.rows % 64) != 0);
        if counted != self.present || beyond {
            return Err(Error::corrupt("vector column: presence bitmap"));
        }
        Ok(())
    }

    /// Rows, NULLs included.
    pub fn rows(&self) -> u32 {
        self.layout.rows as u32
    }

    /// Rows that are not NULL.
    pub fn present(&self) -> u32 {
        self.present
    }

    /// Dimensions.
    pub fn dim(&self) -> u16 {
        self.layout.dim as u16
    }

    /// Bytes of the file.
    pub fn file_bytes(&self) -> usize {
        self.layout.file_bytes
    }

    /// The vector of a row; `None` when it is NULL or there is no such row.
    pub fn get(&self, row: u32) -> Option<&[f32]> {
        self.is_present(row).then(|| self.raw(row))
    }

    /// Whether a row exists and is not NULL.
    #[inline]
    pub fn is_present(&self, row: u32) -> bool {
        row < self.rows() && self.presence_words()[row as usize / 64] >> (row % 64) & 1 == 1
    }

    /// The row's place in the matrix: zeros when it is NULL, nothing when there is no such row.
    #[inline]
    pub fn raw(&self, row: u32) -> &[f32] {
        let start = row as usize * self.layout.dim;
        self.matrix().get(start..start + self.layout.dim).unwrap_or_default()
    }

    /// All rows one after the other.
    #[inline]
    pub(crate) fn matrix(&self) -> &[f32] {
        as_numbers(self.matrix_bytes()).unwrap_or_default()
    }

    /// The presence bitmap, 64 rows a word.
    #[inline]
    pub(crate) fn presence_words(&self) -> &[u64] {
        as_numbers(&self.bytes[self.layout.presence()]).unwrap_or_default()
    }

    fn matrix_bytes(&self) -> &[u8] {
        &self.bytes[self.layout.vectors..self.layout.vectors + self.layout.rows * self.layout.dim * 4]
    }
}

fn encode_header(rows: u32, dim: u16, present: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0u8; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&rows.to_le_bytes());
    header[16..18].copy_from_slice(&dim.to_le_bytes());
    header[20..24].copy_from_slice(&present.to_le_bytes());
    let crc = crc32c::crc32c(&header[..60]);
    header[60..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// The layout of a column of `file_bytes` that begins so, and how many of its rows are not NULL.
pub(crate) fn decode_header(bytes: &[u8], file_bytes: usize) -> Result<(Layout, u32)> {
    let header = bytes.get(..HEADER_BYTES).ok_or_else(|| Error::corrupt("vector column: cut short"))?;
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if header[..8] != MAGIC {
        return Err(Error::corrupt("vector column: not such a file"));
    }
    if number(60) != crc32c::crc32c(&header[..60]) {
        return Err(Error::corrupt("vector column: checksum of the header"));
    }
    if number(8) != VERSION {
        return Err(Error::unsupported(format!("vector column format {}", number(8))));
    }
    let layout = Layout::new(number(12), u16::from_le_bytes([header[16], header[17]]));
    if file_bytes != layout.file_bytes {
        return Err(Error::corrupt(format!(
            "vector column: {file_bytes} bytes, expected {}",
            layout.file_bytes
        )));
    }
    Ok((layout, number(20)))
}

/// Passes bytes on and keeps the checksum of every block.
struct BlockWriter<'a> {
    out: &'a mut dyn Write,
    crc: u32,
    filled: usize,
    written: usize,
    checksums: Vec<u32>,
}

impl BlockWriter<'_> {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.written += bytes.len();
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.filled));
            self.crc = crc32c::crc32c_append(self.crc, now);
            self.filled += now.len();
            if self.filled == BLOCK_BYTES {
                self.end_block();
            }
            bytes = rest;
        }
        Ok(())
    }

    fn pad_to(&mut self, offset: usize) -> io::Result<()> {
        self.write(&[0; ALIGN][..offset - self.written])
    }

    fn end_block(&mut self) {
        self.checksums.push(self.crc);
        (self.crc, self.filled) = (0, 0);
    }

    fn finish(mut self) -> io::Result<()> {
        if self.filled > 0 {
            self.end_block();
        }
        let table = as_bytes(&self.checksums);
        self.out.write_all(table)?;
        self.out.write_all(&crc32c::crc32c(table).to_le_bytes())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(dim: u16, rows: &[Option<Vec<f32>>]) -> Vec<u8> {
        let mut out = Vec::new();
        VectorColumn::write(&mut out, dim, rows.iter().map(Option::as_deref)).unwrap();
        out
    }

    fn open(bytes: &[u8]) -> Result<VectorColumn> {
        VectorColumn::open(Mapped::from_bytes(bytes))
    }

    proptest! {
        #[test]
        fn rows_come_back(
            (dim, rows) in (1u16..40).prop_flat_map(|dim| {
                let vector = proptest::collection::vec(proptest::num::f32::ANY, usize::from(dim));
                (Just(dim), proptest::collection::vec(proptest::option::of(vector), 0..200))
            })
        ) {
            let column = open(&encode(dim, &rows)).unwrap();
            column.verify().unwrap();
            prop_assert_eq!(column.rows() as usize, rows.len());
            prop_assert_eq!(column.dim(), dim);
            prop_assert_eq!(column.present() as usize, rows.iter().flatten().count());
            for (row, vector) in rows.iter().enumerate() {
                let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                prop_assert_eq!(column.get(row as u32).map(bits), vector.as_deref().map(bits));
                prop_assert_eq!(column.raw(row as u32).len(), usize::from(dim));
            }
            prop_assert_eq!(column.get(rows.len() as u32), None);
            prop_assert_eq!(column.get(u32::MAX), None);
        }
    }

    #[test]
    fn any_damaged_byte_is_found() {
        let rows: Vec<_> = (0..70).map(|row| (row % 5 != 0).then(|| vec![row as f32; 3])).collect();
        let good = encode(3, &rows);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            let opened = open(&bad);
            assert_eq!(opened.is_err(), at < HEADER_BYTES, "byte {at}");
            if let Ok(column) = opened {
                assert!(column.verify().is_err(), "byte {at}");
            }
        }
        for len in 0..good.len() {
            assert!(open(&good[..len]).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn blocks_are_checked_beyond_the_first() {
        let rows: Vec<_> = (0..10_000).map(|row| Some(vec![row as f32; 5])).collect();
        let mut bytes = encode(5, &rows);
        open(&bytes).unwrap().verify().unwrap();
        bytes[150_000] ^= 1;
        let error = open(&bytes).unwrap().verify().unwrap_err();
        assert!(error.message().contains("block 2"), "{error}");
    }

    #[test]
    fn a_wrong_dimension_and_a_newer_version_are_refused() {
        let rows = [Some([1.0f32, 2.0])];
        assert!(
            VectorColumn::write(&mut Vec::new(), 3, rows.iter().map(|r| r.as_ref().map(|r| &r[..]))).is_err()
        );
        let mut bytes = encode(1, &[Some(vec![1.0])]);
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        assert!(open(&bytes).unwrap_err().message().contains("format 2"));
    }
}
