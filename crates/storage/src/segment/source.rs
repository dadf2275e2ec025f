//! The Parquet reader's door to a data object: nothing goes through it unchecked.

use crate::objects::BlockMap;
use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use quiver_base::Result;
use std::io::{self, Read};
use std::sync::Arc;

/// Bytes that the Parquet reader reads ahead of a page's header.
const STEP_BYTES: usize = 16 * 1024;

#[derive(Clone, Debug)]
pub(super) struct Source(pub(super) Arc<BlockMap>);

impl Length for Source {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }
}

impl ChunkReader for Source {
    type T = SourceReader;

    fn get_read(&self, start: u64) -> Result<SourceReader, ParquetError> {
        Ok(SourceReader { source: self.clone(), at: start as usize })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let start = start as usize;
        self.0.read(start..start.saturating_add(length)).map_err(|e| ParquetError::General(e.to_string()))
    }
}

pub(super) struct SourceReader {
    source: Source,
    at: usize,
}

impl Read for SourceReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let end = self.source.0.len().min(self.at.saturating_add(out.len().min(STEP_BYTES)));
        if end <= self.at {
            return Ok(0);
        }
        let bytes = self.source.0.read(self.at..end).map_err(io::Error::other)?;
        out[..bytes.len()].copy_from_slice(&bytes);
        self.at = end;
        Ok(bytes.len())
    }
}
