//! Rows on their way into a shard, and the bytes they travel as.

use crate::frame::{Format, Reader, put_block_of, put_u64s};
use arrow::array::{Array, ArrayRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use quiver_base::{Error, Result, RowId};
use std::sync::Arc;

const WRITE_FORMAT: Format = Format { magic: *b"QVSW", version: 1, name: "shard write" };

/// Rows without a commit timestamp yet: as a transaction holds them and as the log carries them.
#[derive(Clone, Debug)]
pub struct RowBatch {
    /// User columns only; each field's metadata holds its column id under [`quiver_base::FIELD_ID_KEY`].
    pub batch: RecordBatch,
    /// One id a row, ascending.
    pub row_ids: Vec<RowId>,
}

/// What one transaction does to one shard.
#[derive(Clone, Debug, Default)]
pub struct ShardWrite {
    /// New row versions.
    pub inserts: Vec<Arc<RowBatch>>,
    /// Row versions that end.
    pub deletes: Vec<RowId>,
}

impl ShardWrite {
    /// Whether it does nothing.
    pub fn is_empty(&self) -> bool {
        self.inserts.is_empty() && self.deletes.is_empty()
    }

    /// Versioned, checksummed bytes: Arrow IPC for the rows.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut out = WRITE_FORMAT.start();
        put_u64s(&mut out, self.deletes.iter().map(|row| row.0));
        out.extend_from_slice(&(self.inserts.len() as u32).to_le_bytes());
        for rows in &self.inserts {
            put_u64s(&mut out, rows.row_ids.iter().map(|row| row.0));
            put_batch(&mut out, &rows.batch)?;
        }
        Ok(WRITE_FORMAT.finish(out))
    }

    /// Reads [`ShardWrite::encode`]'s bytes back; damage is XX001.
    pub fn decode(bytes: &[u8]) -> Result<ShardWrite> {
        let mut reader = WRITE_FORMAT.open(bytes)?;
        let deletes = reader.u64s()?.into_iter().map(RowId).collect();
        let count = reader.u32()?;
        let mut inserts = Vec::new();
        for _ in 0..count {
            let row_ids: Vec<RowId> = reader.u64s()?.into_iter().map(RowId).collect();
            let batch = take_batch(&mut reader)?;
            if row_ids.len() != batch.num_rows() {
                return Err(Error::corrupt("shard write: row ids and rows differ in number"));
            }
            inserts.push(Arc::new(RowBatch { batch, row_ids }));
        }
        reader.end()?;
        Ok(ShardWrite { inserts, deletes })
    }
}

/// Bytes that the rows take, shared buffers counted only for the part that is used.
pub(crate) fn batch_bytes(batch: &RecordBatch) -> usize {
    let column = |array: &ArrayRef| {
        array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size())
    };
    batch.columns().iter().map(column).sum()
}

/// About how many bytes such a stream has beside those of the columns: room for all of it is made at once.
const AROUND_BATCH: usize = 1024;
const AROUND_COLUMN: usize = 512;

/// Appends a batch as an Arrow IPC stream with its length before it.
pub(crate) fn put_batch(out: &mut Vec<u8>, batch: &RecordBatch) -> Result<()> {
    out.reserve(batch_bytes(batch) + AROUND_BATCH + AROUND_COLUMN * batch.num_columns());
    put_block_of(out, |out| {
        let mut writer = StreamWriter::try_new(out, batch.schema_ref())?;
        writer.write(batch)?;
        Ok(writer.finish()?)
    })
}

/// Reads [`put_batch`]'s bytes back.
pub(crate) fn take_batch(reader: &mut Reader<'_>) -> Result<RecordBatch> {
    let broken = |cause: arrow::error::ArrowError| Error::corrupt(format!("row batch: {cause}"));
    let mut stream = StreamReader::try_new(reader.block()?, None).map_err(broken)?;
    let batch = stream.next().ok_or_else(|| Error::corrupt("row batch: empty"))?.map_err(broken)?;
    Ok(batch)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use crate::testing::{Row, rows};

    #[test]
    fn a_write_comes_back_and_damage_is_found() {
        let write = ShardWrite {
            inserts: vec![rows(&[Row::new(7, 1), Row::new(9, 2).without_vector()]), rows(&[])],
            deletes: vec![RowId(3), RowId(u64::MAX)],
        };
        let bytes = write.encode().unwrap();
        let back = ShardWrite::decode(&bytes).unwrap();
        assert_eq!(back.deletes, write.deletes);
        assert_eq!(back.inserts.len(), 2);
        for (a, b) in back.inserts.iter().zip(&write.inserts) {
            assert_eq!((&a.batch, &a.row_ids), (&b.batch, &b.row_ids));
        }
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x40;
            assert!(ShardWrite::decode(&bad).is_err(), "byte {at}");
            assert!(ShardWrite::decode(&bytes[..at]).is_err(), "cut to {at}");
        }
    }

    #[test]
    fn rows_without_columns_are_rows() {
        let schema = Arc::new(arrow::datatypes::Schema::empty());
        let batch = crate::columns::batch_of(schema, Vec::new(), 3).unwrap();
        let rows = RowBatch { batch, row_ids: vec![RowId(1), RowId(2), RowId(3)] };
        let write = ShardWrite { inserts: vec![Arc::new(rows)], deletes: Vec::new() };
        let back = ShardWrite::decode(&write.encode().unwrap()).unwrap();
        assert_eq!(back.inserts[0].batch.num_rows(), 3);
    }
}
