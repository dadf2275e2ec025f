//! The binary format: a signature, then tuples of length-prefixed values, then -1.

use quiver_base::{Error, Result, SqlState};

/// What binary data begins with: the signature, flags, no extension.
pub(super) const HEADER: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What it ends with.
pub(super) const TRAILER: [u8; 2] = [0xff, 0xff];

fn bad(message: impl Into<String>) -> Error {
    Error::new(SqlState::BAD_COPY_FILE_FORMAT, message)
}

/// The length of the header; `None` if it has not come whole.
pub(super) fn header(buffer: &[u8]) -> Result<Option<usize>> {
    let known = buffer.len().min(11);
    if buffer[..known] != HEADER[..known] {
        return Err(bad("COPY file signature not recognized"));
    }
    if buffer.len() < 19 {
        return Ok(None);
    }
    let flags = u32::from_be_bytes([buffer[11], buffer[12], buffer[13], buffer[14]]);
    if flags & (1 << 16) != 0 {
        return Err(bad("invalid COPY file header (WITH OIDS)"));
    }
    if flags >> 16 != 0 {
        return Err(bad("unrecognized critical flags in COPY file header"));
    }
    let extension = u32::from_be_bytes([buffer[15], buffer[16], buffer[17], buffer[18]]) as usize;
    Ok((buffer.len() >= 19 + extension).then_some(19 + extension))
}

/// What is at the front of the data.
pub(super) enum Tuple {
    /// Not all of it has come.
    Partial,
    /// The end mark, and its length.
    End(usize),
    /// Where each field is (`None`: NULL), and the tuple's length.
    Fields(Vec<Option<std::ops::Range<usize>>>, usize),
}

/// Reads one tuple off the front.
pub(super) fn tuple(buffer: &[u8], columns: usize) -> Result<Tuple> {
    let Some(count) = buffer.first_chunk::<2>() else { return Ok(Tuple::Partial) };
    let count = i16::from_be_bytes(*count);
    if count == -1 {
        return Ok(Tuple::End(2));
    }
    if usize::try_from(count) != Ok(columns) {
        return Err(bad(format!("row field count is {count}, expected {columns}")));
    }
    let mut at = 2;
    let mut fields = Vec::with_capacity(columns);
    for _ in 0..columns {
        let Some(length) = buffer.get(at..at + 4).and_then(|bytes| bytes.first_chunk::<4>()) else {
            return Ok(Tuple::Partial);
        };
        let length = i32::from_be_bytes(*length);
        at += 4;
        match usize::try_from(length) {
            Err(_) if length == -1 => fields.push(None),
            Err(_) => return Err(bad("invalid field size")),
            Ok(length) if length > 0x3fff_ffff => return Err(bad("invalid field size")),
            Ok(length) => {
                if buffer.len() < at + length {
                    return Ok(Tuple::Partial);
                }
                fields.push(Some(at..at + length));
                at += length;
            }
        }
    }
    Ok(Tuple::Fields(fields, at))
}
