//! RowDescriptions that a session has sent, as bytes: a client that runs a statement again asks for the same one again. Knows no statements.

use crate::wire::backend;
use arrow::datatypes::SchemaRef;
use quiver_base::Result;
use std::sync::Arc;

/// How many are kept, of the last few results.
const KEPT_MAX: usize = 8;
/// Larger ones are written anew each time.
const BYTES_MAX: usize = 4096;

/// What was sent for which result.
#[derive(Debug, Default)]
pub(super) struct Described {
    kept: Vec<(SchemaRef, Vec<i16>, Vec<u8>)>,
    /// The next to go.
    oldest: usize,
}

impl Described {
    /// Writes a RowDescription. `formats`: one a column.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, schema: &SchemaRef, formats: &[i16]) -> Result<()> {
        let same = |(own, of, _): &&(SchemaRef, Vec<i16>, Vec<u8>)| Arc::ptr_eq(own, schema) && of == formats;
        if let Some((.., bytes)) = self.kept.iter().find(same) {
            out.extend_from_slice(bytes);
            return Ok(());
        }
        let start = out.len();
        backend::row_description(out, schema, formats)?;
        let bytes = &out[start..];
        if bytes.len() <= BYTES_MAX {
            let new = (schema.clone(), formats.to_vec(), bytes.to_vec());
            match self.kept.get_mut(self.oldest) {
                Some(oldest) => *oldest = new,
                None => self.kept.push(new),
            }
            self.oldest = (self.oldest + 1) % KEPT_MAX;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use arrow::datatypes::Schema;
    use quiver_base::SqlType;

    #[test]
    fn what_was_sent_before_is_sent_again() {
        let mut described = Described::default();
        let schemas: Vec<SchemaRef> = (0..20)
            .map(|at| Arc::new(Schema::new(vec![SqlType::Int4.field(&format!("c{at}"), true)])))
            .collect();
        let twice = schemas.iter().chain(&schemas).chain(schemas.iter().rev());
        for schema in twice.flat_map(|schema| [schema, schema]) {
            for formats in [[0], [1], [0]] {
                let (mut written, mut plain) = (vec![7], vec![7]);
                described.write(&mut written, schema, &formats).unwrap();
                backend::row_description(&mut plain, schema, &formats).unwrap();
                assert_eq!(written, plain);
            }
        }
        assert_eq!(described.kept.len(), KEPT_MAX);
    }
}
