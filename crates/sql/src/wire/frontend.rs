//! Messages from the client.

use crate::decode::utf8;
use bytes::{Buf, Bytes};
use quiver_base::{Error, Result, SqlState};

/// A message after the startup.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    /// Q.
    Query(String),
    /// P: statement name, query, type oids of parameters.
    Parse { name: String, query: String, types: Vec<u32> },
    /// B.
    Bind(Bind),
    /// D.
    Describe(Target),
    /// E: portal, how many rows (0: all).
    Execute { portal: String, rows_max: u32 },
    /// C.
    Close(Target),
    /// H.
    Flush,
    /// S.
    Sync,
    /// X.
    Terminate,
    /// d.
    CopyData(Bytes),
    /// c.
    CopyDone,
    /// f.
    CopyFail(String),
    /// p: a password or a step of SASL.
    Password(Bytes),
    /// F: the function call protocol, which is refused.
    FunctionCall,
    /// Any: read whole, so that what follows can be read, but what is inside is wrong.
    Malformed { ty: u8, error: Error },
}

/// A prepared statement or a portal, by name.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // say it themselves
pub(crate) enum Target {
    Statement(String),
    Portal(String),
}

/// B: parameters for a statement, making a portal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bind {
    /// The portal to make.
    pub portal: String,
    /// The statement.
    pub statement: String,
    /// 0 text, 1 binary: none for all text, one for all, or one each.
    pub formats: Vec<i16>,
    /// Values; `None` is NULL.
    pub values: Vec<Option<Bytes>>,
    /// As `formats`, for result columns.
    pub result_formats: Vec<i16>,
}

/// Types whose messages are long; the others are refused past [`SHORT_BYTES_MAX`], as in PostgreSQL.
pub(crate) fn may_be_long(ty: u8) -> bool {
    matches!(ty, b'Q' | b'P' | b'B' | b'd' | b'F' | b'f')
}

/// Types that exist.
pub(crate) fn is_known(ty: u8) -> bool {
    matches!(
        ty,
        b'Q' | b'P' | b'B' | b'D' | b'E' | b'C' | b'H' | b'S' | b'X' | b'd' | b'c' | b'f' | b'p' | b'F'
    )
}

/// The most bytes of a message that has no reason to be long.
pub(crate) const SHORT_BYTES_MAX: usize = 10_000;

/// Reads a message from its body. Bytes that are too few or too many are 08P01, text that is not UTF-8 is 22021.
pub(crate) fn decode(ty: u8, body: Bytes) -> Result<Message> {
    let mut body = Body { bytes: body };
    let message = match ty {
        b'Q' => Message::Query(body.text()?),
        b'P' => {
            let (name, query) = (body.text()?, body.text()?);
            let count = body.count(4)?;
            let types = (0..count).map(|_| body.u32()).collect::<Result<_>>()?;
            Message::Parse { name, query, types }
        }
        b'B' => Message::Bind(body.bind()?),
        b'D' => Message::Describe(body.target("DESCRIBE")?),
        b'C' => Message::Close(body.target("CLOSE")?),
        b'E' => Message::Execute { portal: body.text()?, rows_max: body.u32()? },
        b'H' => Message::Flush,
        b'S' => Message::Sync,
        b'X' => return Ok(Message::Terminate),
        b'd' => return Ok(Message::CopyData(body.bytes)),
        b'c' => Message::CopyDone,
        b'f' => Message::CopyFail(body.text()?),
        b'p' => return Ok(Message::Password(body.bytes)),
        b'F' => return Ok(Message::FunctionCall),
        _ => return Err(violation(format!("invalid frontend message type {ty}"))),
    };
    if body.bytes.has_remaining() { Err(violation("invalid message format")) } else { Ok(message) }
}

/// 08P01.
pub(crate) fn violation(message: impl Into<String>) -> Error {
    Error::new(SqlState::PROTOCOL_VIOLATION, message)
}

fn too_short() -> Error {
    violation("insufficient data left in message")
}

/// What is left of a message's body.
pub(crate) struct Body {
    /// The bytes.
    pub bytes: Bytes,
}

impl Body {
    /// Text up to a NUL.
    pub(crate) fn text(&mut self) -> Result<String> {
        let end = self
            .bytes
            .iter()
            .position(|byte| *byte == 0)
            .ok_or_else(|| violation("invalid string in message"))?;
        let text = utf8(&self.bytes[..end])?.to_owned();
        self.bytes.advance(end + 1);
        Ok(text)
    }

    /// A number.
    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.bytes.try_get_u32().map_err(|_| too_short())
    }

    fn i16(&mut self) -> Result<i16> {
        self.bytes.try_get_i16().map_err(|_| too_short())
    }

    /// A count of items that take at least so many bytes each: no more than can be there.
    fn count(&mut self, item_bytes: usize) -> Result<usize> {
        let count = usize::from(self.bytes.try_get_u16().map_err(|_| too_short())?);
        if count * item_bytes > self.bytes.len() { Err(too_short()) } else { Ok(count) }
    }

    fn formats(&mut self) -> Result<Vec<i16>> {
        let count = self.count(2)?;
        (0..count)
            .map(|_| match self.i16()? {
                format @ (0 | 1) => Ok(format),
                format => Err(Error::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    format!("unsupported format code: {format}"),
                )),
            })
            .collect()
    }

    fn bind(&mut self) -> Result<Bind> {
        let (portal, statement) = (self.text()?, self.text()?);
        let formats = self.formats()?;
        let count = self.count(4)?;
        let values = (0..count)
            .map(|_| match self.u32()? as i32 {
                -1 => Ok(None),
                length => {
                    let length = usize::try_from(length).map_err(|_| violation("invalid message format"))?;
                    if length > self.bytes.len() {
                        return Err(too_short());
                    }
                    Ok(Some(self.bytes.split_to(length)))
                }
            })
            .collect::<Result<_>>()?;
        Ok(Bind { portal, statement, formats, values, result_formats: self.formats()? })
    }

    fn target(&mut self, verb: &str) -> Result<Target> {
        let kind = self.bytes.try_get_u8().map_err(|_| too_short())?;
        let name = self.text()?;
        match kind {
            b'S' => Ok(Target::Statement(name)),
            b'P' => Ok(Target::Portal(name)),
            _ => Err(violation(format!("invalid {verb} message subtype {kind}"))),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bind_is_read() {
        let body = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\x01\0\0";
        let Message::Bind(bind) = decode(b'B', Bytes::from_static(body)).unwrap() else { panic!("no Bind") };
        assert_eq!((bind.portal.as_str(), bind.statement.as_str()), ("p", "s"));
        assert_eq!(bind.formats, [1]);
        assert_eq!(bind.values, [Some(Bytes::from_static(b"ab")), None]);
        assert_eq!(bind.result_formats, [0]);
    }

    #[test]
    fn false_counts_and_bad_text_are_refused() {
        for (ty, body, state) in [
            (b'B', &b"\0\0\xff\xff"[..], "08P01"),
            (b'B', b"\0\0\0\0\0\x01\0\0\0\x09ab", "08P01"),
            (b'P', b"\0select 1\0\0\x05\0\0", "08P01"),
            (b'Q', b"select 1", "08P01"),
            (b'Q', b"select '\xff'\0", "22021"),
            (b'Q', b"select 1\0more", "08P01"),
            (b'D', b"Xname\0", "08P01"),
            (b'?', b"", "08P01"),
        ] {
            assert_eq!(decode(ty, Bytes::copy_from_slice(body)).unwrap_err().state().code(), state);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(ty: u8, body in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode(ty, Bytes::from(body));
        }
    }
}
