//! The frame around a state machine's checkpoint: magic with version, part count, parts with lengths, crc32c of all before it.

use quiver_base::{Error, Result};

/// Frames `parts`.
pub(crate) fn encode(magic: &[u8; 4], parts: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = parts.collect();
    let len: usize = parts.iter().map(|part| part.len() + 8).sum();
    let mut out = Vec::with_capacity(len + 12);
    out.extend_from_slice(magic);
    out.extend_from_slice(&(parts.len() as u32).to_le_bytes());
    for part in parts {
        out.extend_from_slice(&(part.len() as u64).to_le_bytes());
        out.extend_from_slice(&part);
    }
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// The parts of a frame; XX001 if it is damaged or of another version.
pub(crate) fn decode<'a>(magic: &[u8; 4], bytes: &'a [u8]) -> Result<Vec<&'a [u8]>> {
    parse(magic, bytes)
        .ok_or_else(|| Error::corrupt(format!("a checkpoint of kind {}", String::from_utf8_lossy(magic))))
}

fn parse<'a>(magic: &[u8; 4], bytes: &'a [u8]) -> Option<Vec<&'a [u8]>> {
    let end = bytes.len().checked_sub(4)?;
    let crc = u32::from_le_bytes(bytes[end..].try_into().ok()?);
    if bytes.get(..4)? != magic || crc32c::crc32c(&bytes[..end]) != crc {
        return None;
    }
    let mut rest = &bytes[8.min(end)..end];
    let count = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?);
    let mut parts = Vec::new();
    for _ in 0..count {
        let (len, after) = rest.split_first_chunk::<8>()?;
        let (part, after) = after.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
        parts.push(part);
        rest = after;
    }
    rest.is_empty().then_some(parts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // tests
    use super::*;

    #[test]
    fn parts_come_back_and_damage_is_refused() {
        let bytes = encode(b"TEST", [vec![1, 2], vec![], vec![3]].into_iter());
        assert_eq!(decode(b"TEST", &bytes).unwrap(), [&[1, 2][..], &[], &[3]]);
        assert!(decode(b"TEXT", &bytes).is_err());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(decode(b"TEST", &damaged).is_err());
            assert!(decode(b"TEST", &bytes[..at]).is_err());
        }
    }
}
