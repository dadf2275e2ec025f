//! An object on its way: a temporary file, its length and its checksums.

use super::blocks::BLOCK_BYTES;
use super::local::TempFile;
use super::{ObjectRef, Objects};
use quiver_base::{Error, Result};
use std::io::{self, Write};
use std::sync::Arc;

const BUFFER_BYTES: usize = 256 * 1024;

/// Writes one object. Dropped before [`ObjectWriter::finish`], it leaves nothing.
#[derive(Debug)]
pub struct ObjectWriter {
    objects: Arc<Objects>,
    written: ObjectRef,
    temp: TempFile,
    buffer: Vec<u8>,
    /// Checksums of whole blocks, then of the one that is being filled.
    blocks: Vec<u32>,
    block_crc32c: u32,
    block_bytes: usize,
}

impl ObjectWriter {
    pub(super) fn new(objects: Arc<Objects>, path: &str, temp: TempFile) -> ObjectWriter {
        let written = ObjectRef { path: path.to_owned(), bytes: 0, crc32c: 0 };
        ObjectWriter {
            objects,
            written,
            temp,
            buffer: Vec::new(),
            blocks: Vec::new(),
            block_crc32c: 0,
            block_bytes: 0,
        }
    }

    /// The object's path.
    pub fn path(&self) -> &str {
        &self.written.path
    }

    /// Adds bytes; a failure names the object.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes).map_err(|e| self.failed(e))
    }

    /// Makes the object durable and visible.
    pub fn finish(self) -> Result<ObjectRef> {
        Ok(self.finish_with_blocks()?.0)
    }

    /// [`ObjectWriter::finish`], with what [`Objects::map_blocks`] checks blocks against.
    pub fn finish_with_blocks(mut self) -> Result<(ObjectRef, Vec<u32>)> {
        self.flush().map_err(|e| self.failed(e))?;
        self.end_block();
        self.objects.finish(&self.written, &self.temp.path, &self.temp.file)?;
        Ok((self.written.clone(), std::mem::take(&mut self.blocks)))
    }

    fn add_checksum(&mut self, mut bytes: &[u8]) {
        self.written.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.block_bytes));
            self.block_crc32c = crc32c::crc32c_append(self.block_crc32c, now);
            self.block_bytes += now.len();
            if self.block_bytes == BLOCK_BYTES {
                self.end_block();
            }
            bytes = rest;
        }
    }

    fn end_block(&mut self) {
        if self.block_bytes > 0 {
            self.blocks.push(self.block_crc32c);
            self.written.crc32c =
                crc32c::crc32c_combine(self.written.crc32c, self.block_crc32c, self.block_bytes);
            (self.block_crc32c, self.block_bytes) = (0, 0);
        }
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::io(format!("writing object \"{}\"", self.written.path), error)
    }
}

impl Write for ObjectWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() >= BUFFER_BYTES {
            self.temp.write(bytes)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        self.add_checksum(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let done = self.temp.write(&buffer);
        self.buffer = buffer;
        self.buffer.clear();
        done
    }
}
