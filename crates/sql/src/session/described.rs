//! How results leave: their columns' types and formats, and RowDescriptions as bytes. A client that runs a statement again gets the
//! same ones again. Knows no statements.

use super::rows::spread_formats;
use super::run::shows_name;
use crate::wire::backend;
use arrow::datatypes::SchemaRef;
use quiver_base::{Result, SqlType};
use std::sync::Arc;

/// How many are kept, of the last few results.
const KEPT_MAX: usize = 8;
/// Wider results are looked at anew each time.
const COLUMNS_MAX: usize = 100;
/// Longer descriptions are written anew each time.
const BYTES_MAX: usize = 4096;

/// The columns of a result as they are sent.
#[derive(Debug)]
pub(super) struct Shape {
    /// Their types.
    pub types: Vec<SqlType>,
    /// 0 for text, 1 for binary, one a column.
    pub formats: Vec<i16>,
    /// A type among them prints the name behind an oid.
    pub shows_names: bool,
}

/// The last few results.
#[derive(Debug, Default)]
pub(super) struct Described {
    kept: Vec<Known>,
    /// The next to go.
    oldest: usize,
}

#[derive(Debug)]
struct Known {
    schema: SchemaRef,
    /// The formats as the client gave them.
    asked: Vec<i16>,
    shape: Arc<Shape>,
    /// The RowDescription; empty if it was not asked for or is too long.
    description: Vec<u8>,
}

impl Described {
    /// A result's shape. `asked`: none for all text, one for all, or one a column.
    pub(super) fn shape(&mut self, schema: &SchemaRef, asked: &[i16]) -> Result<Arc<Shape>> {
        if let Some(known) = self.find(schema, asked) {
            return Ok(known.shape.clone());
        }
        let types = backend::column_types(schema)?;
        let formats = spread_formats(asked, types.len(), "result formats but query has", "columns")?;
        let shows_names = types.iter().any(shows_name);
        let shape = Arc::new(Shape { types, formats, shows_names });
        if shape.types.len() <= COLUMNS_MAX {
            let (schema, asked, shape) = (schema.clone(), asked.to_vec(), shape.clone());
            self.keep(Known { schema, asked, shape, description: Vec::new() });
        }
        Ok(shape)
    }

    /// Writes a RowDescription.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, schema: &SchemaRef, asked: &[i16]) -> Result<()> {
        let shape = self.shape(schema, asked)?;
        let known = self.find(schema, asked);
        if let Some(known) = known.as_ref().filter(|known| !known.description.is_empty()) {
            out.extend_from_slice(&known.description);
            return Ok(());
        }
        let start = out.len();
        backend::row_description(out, schema, &shape.formats)?;
        if let Some(known) = known.filter(|_| out.len() - start <= BYTES_MAX) {
            known.description = out[start..].to_vec();
        }
        Ok(())
    }

    fn find(&mut self, schema: &SchemaRef, asked: &[i16]) -> Option<&mut Known> {
        self.kept.iter_mut().find(|known| Arc::ptr_eq(&known.schema, schema) && known.asked == asked)
    }

    fn keep(&mut self, new: Known) {
        match self.kept.get_mut(self.oldest) {
            Some(oldest) => *oldest = new,
            None => self.kept.push(new),
        }
        self.oldest = (self.oldest + 1) % KEPT_MAX;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use arrow::datatypes::Schema;

    #[test]
    fn what_was_sent_before_is_sent_again() {
        let mut described = Described::default();
        let schemas: Vec<SchemaRef> = (0..20)
            .map(|at| Arc::new(Schema::new(vec![SqlType::Int4.field(&format!("c{at}"), true)])))
            .collect();
        let twice = schemas.iter().chain(&schemas).chain(schemas.iter().rev());
        for schema in twice.flat_map(|schema| [schema, schema]) {
            for (asked, formats) in [(&[][..], [0]), (&[1], [1]), (&[0], [0])] {
                let (mut written, mut plain) = (vec![7], vec![7]);
                described.write(&mut written, schema, asked).unwrap();
                backend::row_description(&mut plain, schema, &formats).unwrap();
                assert_eq!(written, plain);
                assert_eq!(described.shape(schema, asked).unwrap().formats, formats);
            }
        }
        assert_eq!(described.kept.len(), KEPT_MAX);
        let error = described.shape(&schemas[0], &[0, 1]).unwrap_err();
        assert_eq!(error.message(), "bind message has 2 result formats but query has 1 columns");
    }

    #[test]
    fn wide_results_are_not_kept() {
        let mut described = Described::default();
        let fields: Vec<_> =
            (0..=COLUMNS_MAX).map(|at| SqlType::Text.field(&format!("c{at}"), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let (mut written, mut plain) = (Vec::new(), Vec::new());
        described.write(&mut written, &schema, &[1]).unwrap();
        backend::row_description(&mut plain, &schema, &[1; COLUMNS_MAX + 1]).unwrap();
        assert_eq!(written, plain);
        assert!(described.kept.is_empty());
    }
}
