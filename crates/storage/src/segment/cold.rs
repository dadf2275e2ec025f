//! Lists and vectors that stay in a remote store: a search reads the head of the lists once, then the lists and the vectors that it
//! wants, and keeps them for the next one as far as memory goes. Knows nothing of visibility, nor of how lists are searched.

use super::Segment;
use super::parts::named;
use crate::StorageEnv;
use crate::objects::{ObjectRef, RemoteReads};
use crate::range_cache::PartKey;
use parking_lot::Mutex;
use quiver_base::{Error, IndexId, Reservation, Result};
use quiver_index::{
    ColumnHead, ColumnParts, Element, ListHead, ListSource, Mapped, WantedList, WantedVector,
};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of vectors that are asked for at once. Only where lists have no codes are there more.
const ROUND_BYTES: usize = 64 << 20;
/// Down to so many rows that a filter leaves, all of them are compared: each may cost the reading of a block.
const EXACT_ROWS_MAX: usize = 256;

/// An object of which parts are read.
#[derive(Debug)]
struct Remote {
    env: Arc<StorageEnv>,
    object: ObjectRef,
    /// What the cache of parts knows it by.
    number: u64,
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.env.ranges.forget(self.number);
    }
}

impl Remote {
    fn new(env: &Arc<StorageEnv>, object: &ObjectRef) -> Remote {
        Remote { env: env.clone(), object: object.clone(), number: env.ranges.number() }
    }

    /// A vector may begin where the block does that it lies in.
    fn key(&self, part: &Range<u64>) -> PartKey {
        (self.number, part.start, part.end)
    }

    /// Parts, each checked when it comes. Those that are not kept are read in one round.
    fn read(
        &self,
        parts: &[Range<u64>],
        check: impl Fn(usize, &[u8]) -> Result<()>,
        reading: &mut Reading,
    ) -> Result<Vec<Mapped>> {
        let kept: Vec<Option<Mapped>> =
            parts.iter().map(|part| self.env.ranges.get(self.key(part))).collect();
        let missing: Vec<usize> = (0..parts.len()).filter(|at| kept[*at].is_none()).collect();
        let wanted: Vec<Range<u64>> = missing.iter().map(|at| parts[*at].clone()).collect();
        let mut answer = kept;
        if !wanted.is_empty() {
            let bytes: u64 = wanted.iter().map(|part| part.end - part.start).sum();
            // Once as they come, once at addresses at which they can be read.
            reading.memory.try_grow("Reading parts of remote objects", 2 * bytes as usize)?;
            let (read, reads) = self.env.objects.read_parts(&self.object.path, &wanted)?;
            reading.reads.requests += reads.requests;
            reading.reads.bytes += reads.bytes;
            for (at, bytes) in missing.into_iter().zip(read) {
                let part = Mapped::from_bytes(&bytes);
                check(at, &part).map_err(|error| named(&self.object, error))?;
                self.env.ranges.put(self.key(&parts[at]), &part);
                answer[at] = Some(part);
            }
        }
        Ok(answer.into_iter().flatten().collect())
    }
}

/// What one search reads, and the memory that it holds meanwhile.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) reads: RemoteReads,
    memory: Reservation,
}

impl Reading {
    pub(crate) fn new(env: &StorageEnv) -> Reading {
        Reading { reads: RemoteReads::default(), memory: env.memory.empty() }
    }
}

/// An index's lists and the vectors that they are of.
#[derive(Debug)]
pub(crate) struct ColdLists {
    lists: Remote,
    vectors: Remote,
    head: ListHead,
    parts: ColumnParts,
    /// Which rows have a vector, once somebody wanted to know.
    column: Mutex<Option<Arc<ColumnHead>>>,
    memory: Mutex<Reservation>,
}

impl Segment {
    /// An index's lists, if they and the vectors are to be read in parts: if the store is remote, and the vectors' object is large and
    /// not in the cache. `lists` is how many the index is declared with. Nothing if the lists' file is too old for that.
    pub(crate) fn cold_lists(
        &self,
        index: IndexId,
        vectors: &ObjectRef,
        lists: u16,
        dim: u16,
        reading: &mut Reading,
    ) -> Result<Option<Arc<ColdLists>>> {
        let env = &self.parts.env;
        let Some(object) = self.meta.graph(index) else { return Ok(None) };
        if vectors.bytes < env.options.cold_bytes_min || env.objects.is_at_hand(&vectors.path) {
            return Ok(None);
        }
        self.parts.cold.get((object.path.clone(), vectors.path.clone()), || {
            let guess = ListHead::bytes_guess(u32::from(lists).min(self.meta.rows), dim);
            let (lists, vectors) = (Remote::new(env, object), Remote::new(env, vectors));
            let cold = ColdLists::open(lists, vectors, guess, dim, reading);
            let cold = cold.map_err(|error| named(object, error))?;
            if let Some(cold) = &cold {
                self.check_rows(object, cold.head.rows())?;
            }
            Ok(cold.map(Arc::new))
        })
    }
}

impl ColdLists {
    /// Reads the head: at once, if it is as long as was guessed.
    fn open(
        lists: Remote,
        vectors: Remote,
        guess: u64,
        dim: u16,
        reading: &mut Reading,
    ) -> Result<Option<ColdLists>> {
        let (env, object) = (lists.env.clone(), lists.object.clone());
        let mut read = |end: u64| -> Result<Mapped> {
            let (mut read, reads) =
                env.objects.read_parts(&object.path, std::slice::from_ref(&(0..end.min(object.bytes))))?;
            reading.reads.requests += reads.requests;
            reading.reads.bytes += reads.bytes;
            Ok(Mapped::from_bytes(read.pop().unwrap_or_default()))
        };
        let mut memory = env.memory.try_reserve("The head of an ivfflat index", guess as usize)?;
        let mut head = read(guess)?;
        let Some(bytes) = ListHead::bytes_of(&head)? else { return Ok(None) };
        if bytes > head.len() as u64 {
            memory.try_grow("The head of an ivfflat index", bytes as usize)?;
            head = read(bytes)?;
        }
        let head = ListHead::open(head, object.bytes)?;
        memory
            .try_grow("The head of an ivfflat index", head.memory_bytes().saturating_sub(memory.bytes()))?;
        // What the vectors are made of shows in how long their file is; that is checked when anything of it is read.
        let mut parts = Element::ALL.into_iter().map(|element| ColumnParts::new(head.rows(), dim, element));
        let parts = parts.find(|parts| parts.file_bytes() == vectors.object.bytes);
        let Some(parts) = parts.filter(|_| head.dim() == dim) else {
            return Err(Error::corrupt("ivfflat lists: they are of other vectors"));
        };
        Ok(Some(ColdLists {
            lists,
            vectors,
            head,
            parts,
            column: Mutex::default(),
            memory: Mutex::new(memory),
        }))
    }

    /// What is known without further reading.
    pub(crate) fn head(&self) -> &ListHead {
        &self.head
    }

    /// Which rows have a vector. Read once.
    pub(crate) fn column(&self, reading: &mut Reading) -> Result<Arc<ColumnHead>> {
        let mut column = self.column.lock();
        if let Some(column) = &*column {
            return Ok(column.clone());
        }
        let object = &self.vectors.object;
        let (read, reads) = self.vectors.env.objects.read_parts(&object.path, &self.parts.head())?;
        reading.reads.requests += reads.requests;
        reading.reads.bytes += reads.bytes;
        let [beginning, table] = read.as_slice() else {
            return Err(Error::internal("two parts were asked for"));
        };
        let opened = ColumnHead::open(self.parts, beginning, table).map_err(|error| named(object, error))?;
        self.memory.lock().try_grow("The head of a vector column", opened.memory_bytes())?;
        Ok(column.insert(Arc::new(opened)).clone())
    }

    /// Calls `each` with the vectors of rows, NULLs left out. For few rows: each may lie in a block of its own.
    pub(crate) fn each_vector(
        &self,
        rows: &[u32],
        reading: &mut Reading,
        each: &mut dyn FnMut(u32, &[f32]),
    ) -> Result<()> {
        let column = self.column(reading)?;
        let rows: Vec<u32> = rows.iter().copied().filter(|row| column.is_present(*row)).collect();
        let mut blocks: Vec<usize> = rows.iter().flat_map(|row| column.blocks_of(*row)).collect();
        blocks.sort_unstable();
        blocks.dedup();
        let places: Vec<Range<u64>> = blocks.iter().map(|block| column.block(*block)).collect();
        let check = |at: usize, bytes: &[u8]| column.check_block(blocks[at], bytes);
        let read = self.vectors.read(&places, check, reading)?;
        let block = |number: usize| -> &[u8] {
            blocks.binary_search(&number).ok().and_then(|at| read.get(at)).map_or(&[], |block| block)
        };
        let mut vector = Vec::new();
        for row in rows {
            column.vector(row, block, &mut vector);
            each(row, &vector);
        }
        Ok(())
    }
}

/// Lists and vectors for one search.
pub(crate) struct ColdSource<'a> {
    pub(crate) cold: &'a ColdLists,
    pub(crate) reading: &'a RefCell<Reading>,
    /// Called with every full vector.
    pub(crate) seen: &'a dyn Fn(u32, &[f32]),
}

impl ListSource for ColdSource<'_> {
    fn lists(&self, lists: &[WantedList], each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        let places: Vec<Range<u64>> = lists.iter().map(|wanted| wanted.place.clone()).collect();
        let check = |at: usize, bytes: &[u8]| self.cold.head.check_list(lists[at].list, bytes);
        let read = self.cold.lists.read(&places, check, &mut self.reading.borrow_mut())?;
        read.iter().enumerate().for_each(|(at, list)| each(at, list));
        Ok(())
    }

    fn vectors(&self, rows: &[WantedVector], each: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        let places: Vec<Range<u64>> = rows.iter().map(|wanted| self.cold.parts.vector(wanted.row)).collect();
        let check = |at: usize, bytes: &[u8]| {
            let wanted = rows[at];
            if crc32c::crc32c(bytes) == wanted.crc32c {
                return Ok(());
            }
            Err(Error::corrupt(format!("vector column: checksum of row {}", wanted.row)))
        };
        let read = self.cold.vectors.read(&places, check, &mut self.reading.borrow_mut())?;
        let (element, mut wide) = (self.cold.parts.element(), Vec::new());
        for (at, vector) in read.iter().enumerate() {
            element.widen(vector, self.cold.head.dim(), &mut wide);
            (self.seen)(rows[at].row, &wide);
            each(at, &wide);
        }
        Ok(())
    }

    fn vectors_at_once(&self) -> usize {
        ROUND_BYTES / self.cold.parts.element().row_bytes(self.cold.head.dim()).max(1)
    }

    fn exact_max(&self, _probed: usize) -> usize {
        EXACT_ROWS_MAX
    }
}
