//! An object on its way: a temporary file, its length and its checksum.

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
}

impl ObjectWriter {
    pub(super) fn new(objects: Arc<Objects>, path: &str, temp: TempFile) -> ObjectWriter {
        let written = ObjectRef { path: path.to_owned(), bytes: 0, crc32c: 0 };
        ObjectWriter { objects, written, temp, buffer: Vec::new() }
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
    pub fn finish(mut self) -> Result<ObjectRef> {
        self.flush().map_err(|e| self.failed(e))?;
        self.objects.finish(&self.written, &self.temp.path, &self.temp.file)?;
        Ok(self.written.clone())
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
        self.written.crc32c = crc32c::crc32c_append(self.written.crc32c, bytes);
        self.written.bytes += bytes.len() as u64;
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
