//! The vectors of a segment being written: its file begins with which rows have one, so they wait in a scratch file.

use crate::objects::{ObjectRef, Objects};
use arrow::array::{Array, ArrayRef, AsArray, BooleanBufferBuilder};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::Float32Type;
use bytes::Bytes;
use quiver_base::{Error, Result};
use quiver_index::{Mapped, VectorColumn};
use std::io::{BufWriter, Write};
use std::sync::Arc;
use tempfile::NamedTempFile;

const VALUE_BYTES: usize = size_of::<f32>();

struct Spilled(Mapped);

impl AsRef<[u8]> for Spilled {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[derive(Debug)]
pub(super) struct VectorSpill {
    dim: u16,
    file: BufWriter<NamedTempFile>,
    present: BooleanBufferBuilder,
}

impl VectorSpill {
    pub(super) fn new(objects: &Objects, dim: u16) -> Result<VectorSpill> {
        let file = BufWriter::with_capacity(1 << 20, objects.scratch_file()?);
        Ok(VectorSpill { dim, file, present: BooleanBufferBuilder::new(0) })
    }

    /// Adds the rows of a `vector(n)` column.
    pub(super) fn append(&mut self, column: &ArrayRef) -> Result<()> {
        let lists = column.as_fixed_size_list();
        let values = lists.values().as_primitive::<Float32Type>();
        let row_bytes = usize::from(self.dim) * VALUE_BYTES;
        if lists.value_length() != i32::from(self.dim) {
            return Err(Error::internal(format!("expected {} dimensions", self.dim)));
        }
        let bytes = values.values().inner().as_slice();
        let zeros = vec![0; row_bytes];
        for row in 0..lists.len() {
            let present = lists.is_valid(row);
            let vector = if present { &bytes[row * row_bytes..(row + 1) * row_bytes] } else { &zeros };
            self.file.write_all(vector).map_err(|e| Error::io("writing vectors to a scratch file", e))?;
            self.present.append(present);
        }
        Ok(())
    }

    /// Writes the column's file.
    pub(super) fn finish(mut self, objects: &Arc<Objects>, path: &str) -> Result<ObjectRef> {
        let rows = self.present.len();
        let file = self
            .file
            .into_inner()
            .map_err(|e| Error::io("writing vectors to a scratch file", e.into_error()))?;
        let mapped = if rows == 0 { Mapped::from_bytes([]) } else { Mapped::from_file(file.path())? };
        // Mapped memory is aligned for f32, and every row was written whole.
        let floats = ScalarBuffer::<f32>::from(Buffer::from(Bytes::from_owner(Spilled(mapped))));
        let (dim, present) = (usize::from(self.dim), self.present.finish());
        let vectors = (0..rows).map(|row| present.value(row).then(|| &floats[row * dim..(row + 1) * dim]));
        let mut object = objects.create(path)?;
        VectorColumn::write(&mut object, self.dim, vectors)
            .map_err(|e| e.context(format!("object \"{path}\"")))?;
        object.finish()
    }
}
