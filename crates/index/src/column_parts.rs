//! A vector column of which parts are read: where they lie, and how each is checked. Knows nobody who reads them.

use crate::Element;
use crate::column::{BLOCK_BYTES, HEADER_BYTES, Layout, decode_header};
use quiver_base::{Error, Result};
use std::ops::Range;

/// Where the parts of a column's file lie, in bytes. Known before anything is read.
#[derive(Clone, Copy, Debug)]
pub struct ColumnParts {
    layout: Layout,
}

impl ColumnParts {
    /// A column of so many rows (NULLs included) and dimensions.
    pub fn new(rows: u32, dim: u16, element: Element) -> ColumnParts {
        ColumnParts { layout: Layout::new(rows, dim, element) }
    }

    /// What its vectors are made of.
    pub fn element(&self) -> Element {
        self.layout.element
    }

    /// Bytes of the file.
    pub fn file_bytes(&self) -> u64 {
        self.layout.file_bytes as u64
    }

    /// The vector of a row that exists.
    pub fn vector(&self, row: u32) -> Range<u64> {
        let bytes = self.layout.row_bytes;
        let start = self.layout.vectors + row as usize * bytes;
        start as u64..(start + bytes) as u64
    }

    /// What [`ColumnHead::open`] takes.
    pub fn head(&self) -> [Range<u64>; 2] {
        let blocks = (self.layout.presence().end - HEADER_BYTES).div_ceil(BLOCK_BYTES);
        let end = self.layout.checksums.min(HEADER_BYTES + blocks * BLOCK_BYTES);
        [0..end as u64, self.layout.checksums as u64..self.file_bytes()]
    }
}

/// Which rows of a column are not NULL, and the checksums of its blocks.
#[derive(Clone, Debug)]
pub struct ColumnHead {
    layout: Layout,
    presence: Vec<u64>,
    checksums: Vec<u32>,
}

impl ColumnHead {
    /// Checks and takes the two parts that [`ColumnParts::head`] names.
    pub fn open(parts: ColumnParts, beginning: &[u8], table: &[u8]) -> Result<ColumnHead> {
        let (layout, present) = decode_header(beginning, parts.layout.file_bytes)?;
        let cut = || Error::corrupt("vector column: cut short");
        let (checksums, own) = table.split_at_checked(layout.blocks * 4).ok_or_else(cut)?;
        if layout != parts.layout || own != crc32c::crc32c(checksums).to_le_bytes() {
            return Err(Error::corrupt("vector column: checksum of the checksums"));
        }
        let checksums = checksums.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        let presence = beginning.get(layout.presence()).ok_or_else(cut)?;
        let presence = presence.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        let head = ColumnHead { layout, presence, checksums };
        for (block, bytes) in beginning[HEADER_BYTES..].chunks(BLOCK_BYTES).enumerate() {
            head.check_block(block, bytes)?;
        }
        let counted: u32 = head.presence.iter().map(|word| word.count_ones()).sum();
        if counted != present {
            return Err(Error::corrupt("vector column: presence bitmap"));
        }
        Ok(head)
    }

    /// Whether a row exists and is not NULL.
    pub fn is_present(&self, row: u32) -> bool {
        (row as usize) < self.layout.rows && self.presence[row as usize / 64] >> (row % 64) & 1 == 1
    }

    /// The blocks that hold a row's vector, by number.
    pub fn blocks_of(&self, row: u32) -> Range<usize> {
        let place = ColumnParts { layout: self.layout }.vector(row);
        let block = |at: u64| (at as usize - HEADER_BYTES) / BLOCK_BYTES;
        block(place.start)..block(place.end - 1) + 1
    }

    /// Where a block lies in the file.
    pub fn block(&self, block: usize) -> Range<u64> {
        let start = HEADER_BYTES + block * BLOCK_BYTES;
        start as u64..self.layout.checksums.min(start + BLOCK_BYTES) as u64
    }

    /// Compares a block with its checksum.
    pub fn check_block(&self, block: usize, bytes: &[u8]) -> Result<()> {
        if self.checksums.get(block) == Some(&crc32c::crc32c(bytes)) {
            return Ok(());
        }
        Err(Error::corrupt(format!("vector column: checksum of block {block}")))
    }

    /// Copies a row's vector out of the blocks that hold it, which `block` hands out by number.
    pub fn vector<'a>(&self, row: u32, block: impl Fn(usize) -> &'a [u8], out: &mut Vec<f32>) {
        let place = ColumnParts { layout: self.layout }.vector(row);
        let mut bytes = Vec::with_capacity(self.layout.row_bytes);
        for number in self.blocks_of(row) {
            let lies = self.block(number);
            let (start, end) = (place.start.max(lies.start), place.end.min(lies.end));
            bytes.extend_from_slice(
                &block(number)[(start - lies.start) as usize..(end - lies.start) as usize],
            );
        }
        self.layout.element.widen(&bytes, self.layout.dim, out);
    }

    /// Memory that it takes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.presence.len() * 8 + self.checksums.len() * 4
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use crate::{Mapped, VectorColumn};

    fn file(rows: u32, dim: u16, element: Element) -> Vec<u8> {
        let vector =
            |row: u32| -> Vec<f32> { (0..dim).map(|at| (row * 31 + u32::from(at)) as f32).collect() };
        let pack = |row: u32| (row % 7 != 3).then(|| element.packed(&vector(row)));
        let rows: Vec<Option<Vec<u8>>> = (0..rows).map(pack).collect();
        let mut out = Vec::new();
        VectorColumn::write_packed(&mut out, dim, element, rows.iter().map(Option::as_deref)).unwrap();
        out
    }

    fn part(file: &[u8], range: Range<u64>) -> &[u8] {
        &file[range.start as usize..range.end as usize]
    }

    #[test]
    fn parts_hold_what_the_file_holds() {
        let shapes = [(0, 5), (1, 1), (100, 3), (5000, 50), (1_100_000, 1)];
        for ((rows, dim), element) in shapes
            .into_iter()
            .zip(Element::ALL.into_iter().cycle())
            .chain([((5000, 50), Element::F16), ((60_000, 90), Element::Bit)])
        {
            let file = file(rows, dim, element);
            let column = VectorColumn::open(Mapped::from_bytes(&file)).unwrap();
            let parts = ColumnParts::new(rows, dim, element);
            assert_eq!(parts.file_bytes(), file.len() as u64);
            let [beginning, table] = parts.head();
            let head = ColumnHead::open(parts, part(&file, beginning), part(&file, table)).unwrap();
            let mut vector = Vec::new();
            for row in (0..rows).step_by(if rows > 10_000 { 1009 } else { 1 }) {
                assert_eq!(head.is_present(row), column.is_present(row));
                head.blocks_of(row)
                    .for_each(|block| head.check_block(block, part(&file, head.block(block))).unwrap());
                head.vector(row, |block| part(&file, head.block(block)), &mut vector);
                assert_eq!(vector, column.widened(row, &mut Vec::new()));
                assert_eq!(part(&file, parts.vector(row)), column.row_bytes(row));
            }
            assert!(!head.is_present(rows));
        }
    }

    #[test]
    fn damage_is_found() {
        let good = file(3000, 20, Element::F32);
        let parts = ColumnParts::new(3000, 20, Element::F32);
        let [beginning, table] = parts.head();
        let open = |file: &[u8]| {
            ColumnHead::open(parts, part(file, beginning.clone()), part(file, table.clone())).map(drop)
        };
        open(&good).unwrap();
        for at in (0..beginning.end as usize).step_by(97).chain(table.start as usize..good.len()) {
            let mut bad = good.clone();
            bad[at] ^= 4;
            assert!(open(&bad).is_err(), "byte {at}");
        }
        let head =
            ColumnHead::open(parts, part(&good, beginning.clone()), part(&good, table.clone())).unwrap();
        let mut block = part(&good, head.block(2)).to_vec();
        block[7] ^= 1;
        assert!(head.check_block(2, &block).is_err());
        assert!(
            ColumnHead::open(ColumnParts::new(3000, 21, Element::F32), &good, &good).is_err(),
            "another shape"
        );
    }
}
