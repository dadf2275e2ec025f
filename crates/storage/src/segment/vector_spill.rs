//! The vectors of a segment being written: its file begins with which rows have one, so they wait in a scratch file.

use crate::objects::{ObjectRef, Objects};
use arrow::array::{Array, ArrayRef, AsArray, BooleanBufferBuilder};
use arrow::datatypes::Float32Type;
use quiver_base::{Error, Result};
use quiver_index::{Element, Mapped, VectorColumn};
use std::io::{BufWriter, Write};
use std::sync::Arc;
use tempfile::NamedTempFile;

#[derive(Debug)]
pub(super) struct VectorSpill {
    dim: u16,
    element: Element,
    file: BufWriter<NamedTempFile>,
    present: BooleanBufferBuilder,
}

impl VectorSpill {
    pub(super) fn new(objects: &Objects, dim: u16, element: Element) -> Result<VectorSpill> {
        let file = BufWriter::with_capacity(1 << 20, objects.scratch_file()?);
        Ok(VectorSpill { dim, element, file, present: BooleanBufferBuilder::new(0) })
    }

    /// Adds rows, given as lists of f32 that the element can be.
    pub(super) fn append(&mut self, column: &ArrayRef) -> Result<()> {
        let lists = column.as_fixed_size_list();
        let values = lists.values().as_primitive::<Float32Type>();
        let dim = usize::from(self.dim);
        if lists.value_length() != i32::from(self.dim) {
            return Err(Error::internal(format!("expected {} dimensions", self.dim)));
        }
        let floats = values.values();
        let zeros = vec![0; self.element.row_bytes(self.dim)];
        let mut packed = Vec::with_capacity(zeros.len());
        for row in 0..lists.len() {
            let present = lists.is_valid(row);
            let vector = &floats[row * dim..(row + 1) * dim];
            packed.clear();
            self.element.pack(vector, &mut packed);
            let bytes = if present { &packed } else { &zeros };
            self.file.write_all(bytes).map_err(|e| Error::io("writing vectors to a scratch file", e))?;
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
        // Every row was written whole.
        let (row_bytes, present) = (self.element.row_bytes(self.dim), self.present.finish());
        let vectors =
            (0..rows).map(|row| present.value(row).then(|| &mapped[row * row_bytes..(row + 1) * row_bytes]));
        let mut object = objects.create(path)?;
        VectorColumn::write_packed(&mut object, self.dim, self.element, vectors)
            .map_err(|e| e.context(format!("object \"{path}\"")))?;
        object.finish()
    }
}
