//! CSV as PostgreSQL reads and writes it: an unquoted NULL string is NULL, quotes may enclose line ends.

use super::options::Options;
use quiver_base::{Error, Result, SqlState};

/// A field: its bytes and whether it was quoted.
pub(super) type Field = (Vec<u8>, bool);

/// Appends a value. `forced`: quoted in any case. `alone`: the only column, where `\.` and an empty line would be misread.
pub(super) fn write(value: &[u8], options: &Options, forced: bool, alone: bool, out: &mut Vec<u8>) {
    let special =
        |byte: &u8| *byte == options.delimiter || *byte == options.quote || matches!(*byte, b'\n' | b'\r');
    let quoted =
        forced || value == options.null.as_bytes() || value.iter().any(special) || (alone && value == b"\\.");
    if !quoted {
        out.extend_from_slice(value);
        return;
    }
    out.push(options.quote);
    for &byte in value {
        if byte == options.quote || byte == options.escape {
            out.push(options.escape);
        }
        out.push(byte);
    }
    out.push(options.quote);
}

/// Reads one record off the front: its fields and how many bytes it took; `None` if its end has not come yet.
pub(super) fn record(buffer: &[u8], options: &Options, last: bool) -> Result<Option<(Vec<Field>, usize)>> {
    let mut fields: Vec<Field> = Vec::new();
    let mut field = Vec::new();
    let mut was_quoted = false;
    let mut quoted = false;
    let mut at = 0;
    loop {
        let Some(&byte) = buffer.get(at) else {
            if !last {
                return Ok(None);
            }
            if quoted {
                return Err(Error::new(SqlState::BAD_COPY_FILE_FORMAT, "unterminated CSV quoted field"));
            }
            fields.push((field, was_quoted));
            return Ok(Some((fields, at)));
        };
        if quoted {
            if byte == options.escape && options.escape != options.quote {
                match buffer.get(at + 1) {
                    Some(next) if *next == options.quote || *next == options.escape => {
                        field.push(*next);
                        at += 2;
                        continue;
                    }
                    None if !last => return Ok(None),
                    _ => {}
                }
            }
            if byte == options.quote {
                match buffer.get(at + 1) {
                    Some(next) if *next == options.quote && options.escape == options.quote => {
                        field.push(options.quote);
                        at += 2;
                        continue;
                    }
                    None if !last => return Ok(None),
                    _ => quoted = false,
                }
            } else {
                field.push(byte);
            }
            at += 1;
            continue;
        }
        at += 1;
        if byte == options.quote {
            quoted = true;
            was_quoted = true;
        } else if byte == options.delimiter {
            fields.push((std::mem::take(&mut field), was_quoted));
            was_quoted = false;
        } else if byte == b'\n' {
            fields.push((field, was_quoted));
            return Ok(Some((fields, at)));
        } else if byte == b'\r' {
            match buffer.get(at) {
                None if !last => return Ok(None),
                Some(b'\n') => at += 1,
                _ => {}
            }
            fields.push((field, was_quoted));
            return Ok(Some((fields, at)));
        } else {
            field.push(byte);
        }
    }
}
