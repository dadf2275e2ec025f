//! The file of one segment's vector column: a presence bitmap and a matrix of f32, f16 or bits, read in place.
//! Knows no index and no row ids; rows are positions.
//!
//! ```text
//! header 64 bytes | presence bitmap, padded to 64 | rows, padded to 64 | crc32c of each block | crc32c of those
//! ```
//! A row that is NULL is all zeros. The blocks cover everything between the header and the checksums.

use crate::Element;
use crate::mapped::{Mapped, as_bytes, as_numbers};
use quiver_base::{Error, Result};
use std::io::{self, Write};
use std::ops::Range;

const MAGIC: [u8; 8] = *b"QVVECTOR";
/// Columns of f32 have the version that all had when there was nothing else.
const VERSION_OF_F32: u32 = 1;
const VERSION: u32 = 2;
pub(crate) const HEADER_BYTES: usize = 64;
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;
const ALIGN: usize = 64;

/// Where the parts of a file of some shape lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) rows: usize,
    pub(crate) dim: u16,
    pub(crate) element: Element,
    /// Bytes of a row.
    pub(crate) row_bytes: usize,
    pub(crate) vectors: usize,
    pub(crate) checksums: usize,
    pub(crate) blocks: usize,
    pub(crate) file_bytes: usize,
}

impl Layout {
    pub(crate) fn new(rows: u32, dim: u16, element: Element) -> Layout {
        let (rows, row_bytes) = (rows as usize, element.row_bytes(dim));
        let vectors = HEADER_BYTES + (rows.div_ceil(64) * 8).next_multiple_of(ALIGN);
        let checksums = (vectors + rows * row_bytes).next_multiple_of(ALIGN);
        let blocks = (checksums - HEADER_BYTES).div_ceil(BLOCK_BYTES);
        let file_bytes = checksums + (blocks + 1) * 4;
        Layout { rows, dim, element, row_bytes, vectors, checksums, blocks, file_bytes }
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
    /// Writes a column of f32. The rows are walked twice, since the bitmap comes first.
    pub fn write<'a, I>(out: &mut dyn Write, dim: u16, rows: I) -> Result<()>
    where
        I: ExactSizeIterator<Item = Option<&'a [f32]>> + Clone,
    {
        let bytes = rows.map(|row| row.map(as_bytes));
        VectorColumn::write_packed(out, dim, Element::F32, bytes)
    }

    /// Writes a column of rows as [`Element::pack`] makes them.
    pub fn write_packed<'a, I>(out: &mut dyn Write, dim: u16, element: Element, rows: I) -> Result<()>
    where
        I: ExactSizeIterator<Item = Option<&'a [u8]>> + Clone,
    {
        let count =
            u32::try_from(rows.len()).map_err(|_| Error::internal("too many rows for one segment"))?;
        let layout = Layout::new(count, dim, element);
        let mut words = vec![0u64; layout.rows.div_ceil(64)];
        let mut present = 0u32;
        for (row, vector) in rows.clone().enumerate() {
            let Some(vector) = vector else { continue };
            if vector.len() != layout.row_bytes {
                let (wanted, len) = (layout.row_bytes, vector.len());
                return Err(Error::internal(format!("a vector of {wanted} bytes was expected, not {len}")));
            }
            words[row / 64] |= 1 << (row % 64);
            present += 1;
        }
        let failed = |e| Error::io("writing a vector column", e);
        out.write_all(&encode_header(&layout, present)).map_err(failed)?;
        let mut body = BlockWriter { out, crc: 0, filled: 0, written: HEADER_BYTES, checksums: Vec::new() };
        body.write(as_bytes(&words)).map_err(failed)?;
        body.pad_to(layout.vectors).map_err(failed)?;
        let null = vec![0; layout.row_bytes];
        for vector in rows {
            body.write(vector.unwrap_or(&null)).map_err(failed)?;
        }
        body.pad_to(layout.checksums).map_err(failed)?;
        body.finish().map_err(failed)
    }

    /// Opens a column. Reads the header only; see [`verify`](Self::verify).
    pub fn open(bytes: Mapped) -> Result<VectorColumn> {
        let (layout, present) = decode_header(&bytes, bytes.len())?;
        let column = VectorColumn { bytes, layout, present };
        // Checked once here, so that words and rows cannot fail later.
        let matrix = &column.bytes[layout.vectors..layout.vectors + layout.rows * layout.row_bytes];
        let aligned = match layout.element {
            Element::F32 => as_numbers::<f32>(matrix).is_some(),
            Element::F16 => as_numbers::<u16>(matrix).is_some(),
            Element::Bit => true,
        };
        if as_numbers::<u64>(&column.bytes[layout.presence()]).is_none() || !aligned {
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
        self.layout.dim
    }

    /// What its vectors are made of.
    pub fn element(&self) -> Element {
        self.layout.element
    }

    /// Bytes of the file.
    pub fn file_bytes(&self) -> usize {
        self.layout.file_bytes
    }

    /// The vector of a row; `None` when it is NULL or there is no such row. `buffer` is for one that is not made of f32.
    pub fn get<'a>(&'a self, row: u32, buffer: &'a mut Vec<f32>) -> Option<&'a [f32]> {
        self.is_present(row).then(|| self.widened(row, buffer))
    }

    /// Whether a row exists and is not NULL.
    #[inline]
    pub fn is_present(&self, row: u32) -> bool {
        row < self.rows() && self.presence_words()[row as usize / 64] >> (row % 64) & 1 == 1
    }

    /// The row's numbers: zeros when it is NULL, nothing when there is no such row. `buffer` is for one that is not made of f32.
    #[inline]
    pub fn widened<'a>(&'a self, row: u32, buffer: &'a mut Vec<f32>) -> &'a [f32] {
        match self.floats(row) {
            Some(vector) => vector,
            None => {
                self.layout.element.widen(self.row_bytes(row), self.layout.dim, buffer);
                buffer
            }
        }
    }

    /// The row's numbers where they lie, in a column of f32.
    #[inline(always)]
    pub(crate) fn floats(&self, row: u32) -> Option<&[f32]> {
        (self.layout.element == Element::F32).then(|| as_numbers(self.row_bytes(row)).unwrap_or_default())
    }

    /// The row's place in the file: zeros when it is NULL, nothing when there is no such row.
    #[inline(always)]
    pub(crate) fn row_bytes(&self, row: u32) -> &[u8] {
        let start = self.layout.vectors + row as usize * self.layout.row_bytes;
        if row as usize >= self.layout.rows {
            return &[];
        }
        self.bytes.get(start..start + self.layout.row_bytes).unwrap_or_default()
    }

    /// The presence bitmap, 64 rows a word.
    #[inline]
    pub(crate) fn presence_words(&self) -> &[u64] {
        as_numbers(&self.bytes[self.layout.presence()]).unwrap_or_default()
    }
}

fn encode_header(layout: &Layout, present: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0u8; HEADER_BYTES];
    let version = if layout.element == Element::F32 { VERSION_OF_F32 } else { VERSION };
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&version.to_le_bytes());
    header[12..16].copy_from_slice(&(layout.rows as u32).to_le_bytes());
    header[16..18].copy_from_slice(&layout.dim.to_le_bytes());
    header[18] = layout.element.to_code();
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
    let element = match number(8) {
        VERSION_OF_F32 => Some(Element::F32),
        VERSION => Element::from_code(header[18]),
        _ => None,
    };
    let element = element.ok_or_else(|| Error::unsupported(format!("vector column format {}", number(8))))?;
    let layout = Layout::new(number(12), u16::from_le_bytes([header[16], header[17]]), element);
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
                let mut buffer = Vec::new();
                prop_assert_eq!(column.get(row as u32, &mut buffer).map(bits), vector.as_deref().map(bits));
                prop_assert_eq!(column.widened(row as u32, &mut buffer).len(), usize::from(dim));
            }
            let mut buffer = Vec::new();
            prop_assert!(column.get(rows.len() as u32, &mut buffer).is_none());
            prop_assert!(column.get(u32::MAX, &mut buffer).is_none());
        }
    }

    #[test]
    fn rows_of_f16_and_of_bits_come_back() {
        let rows: Vec<Option<Vec<f32>>> = (0..70u16)
            .map(|row| (row % 5 != 0).then(|| (0..13).map(|d| f32::from(row >> (d % 7) & 1)).collect()))
            .collect();
        for element in [Element::F16, Element::Bit] {
            let pack = |row: &Option<Vec<f32>>| row.as_ref().map(|row| element.packed(row));
            let packed: Vec<Option<Vec<u8>>> = rows.iter().map(pack).collect();
            let mut file = Vec::new();
            let write = packed.iter().map(Option::as_deref);
            VectorColumn::write_packed(&mut file, 13, element, write).unwrap();
            let column = open(&file).unwrap();
            column.verify().unwrap();
            assert_eq!((column.element(), column.dim(), column.present()), (element, 13, 56));
            let mut buffer = Vec::new();
            for (row, vector) in rows.iter().enumerate() {
                assert_eq!(column.get(row as u32, &mut buffer), vector.as_deref());
                assert_eq!(column.floats(row as u32), None);
            }
            assert!(column.row_bytes(70).is_empty());
            let short = [Some(&packed[1].as_ref().unwrap()[1..])];
            assert!(VectorColumn::write_packed(&mut Vec::new(), 13, element, short.into_iter()).is_err());
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
        for (version, element) in [(3, 0), (2, 3)] {
            (bytes[8], bytes[18]) = (version, element);
            let crc = crc32c::crc32c(&bytes[..60]);
            bytes[60..64].copy_from_slice(&crc.to_le_bytes());
            assert!(open(&bytes).unwrap_err().message().contains(&format!("format {version}")));
        }
    }
}
