//! Checks the log's files before raft-engine reads them, because it would cut more than we allow: every file
//! before a hole in the sequence, and the last file behind the first damaged batch, whatever follows. Only an
//! incomplete batch at the very end may be cut: it was never acknowledged, since every batch is fsynced before
//! the next is written. A whole batch behind a broken one means that something acknowledged was damaged.
//!
//! raft-engine's format: a header of magic, version u64 and, in version 2, alignment u64; then batches of
//! `{ u56 length | u8 compression | u64 footer offset | entries | crc32 | footer | crc32 }`, the last checksum
//! xored with the file's number in version 2. A file whose header was torn by a power cut goes on in version 1.

use std::path::{Path, PathBuf};

use quiver_base::{Error, Result};

use crate::fs::{RaftFs, read_all};

const MAGIC: &[u8] = b"RAFT-LOG-FILE-HEADER-9986AB3E47F320B394C8E84916EB0ED5";
/// magic, version u64.
const FILE_HEADER_LEN: usize = MAGIC.len() + 8;
const ALIGNMENT_LEN: usize = 8;
const BATCH_HEADER_LEN: usize = 16;
const CHECKSUM_LEN: usize = 4;
/// The only kind of batch we have written.
const UNCOMPRESSED: u8 = 0;

/// A queue of raft-engine: new batches, or old ones that were moved so that their file could go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Queue {
    Append,
    Rewrite,
}

impl Queue {
    fn suffix(self) -> &'static str {
        match self {
            Queue::Append => ".raftlog",
            Queue::Rewrite => ".rewrite",
        }
    }
}

/// Fails, naming the file, if anything but an incomplete tail is damaged.
pub(super) fn verify(fs: &dyn RaftFs, dir: &Path) -> Result<()> {
    for queue in [Queue::Append, Queue::Rewrite] {
        let files = files(dir, queue)?;
        for (i, (number, path)) in files.iter().enumerate() {
            if i > 0 && files[i - 1].0 + 1 != *number {
                let missing = format!("{:016}{}", files[i - 1].0 + 1, queue.suffix());
                return Err(Error::corrupt(format!("log file {} is missing", dir.join(missing).display())));
            }
            let file = fs.open(path, false).and_then(|file| read_all(file.as_ref()));
            let bytes = file.map_err(|e| Error::io(path.display(), e))?;
            let is_last = i + 1 == files.len();
            verify_file(&bytes, *number as u32, queue, is_last)
                .map_err(|at| Error::corrupt(format!("log file {} at offset {at}", path.display())))?;
        }
    }
    Ok(())
}

/// The queue's files by number.
fn files(dir: &Path, queue: Queue) -> Result<Vec<(u64, PathBuf)>> {
    let entries = std::fs::read_dir(dir).map_err(|e| Error::io(dir.display(), e))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::io(dir.display(), e))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(number) = name.strip_suffix(queue.suffix()).and_then(|number| number.parse().ok()) {
            files.push((number, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Walks a file's batches; the error is the offset of the damage.
fn verify_file(bytes: &[u8], number: u32, queue: Queue, is_last: bool) -> Result<(), usize> {
    let (mut at, signature) = header(bytes, number).unwrap_or((0, number));
    while at > 0
        && let Some(len) = batch_len(&bytes[at..], signature)
    {
        at += len;
    }
    if at == bytes.len() && at > 0 {
        return Ok(());
    }
    // The rewrite queue is fsynced once for several batches, and what it holds stays in the append queue
    // until then: a whole batch may follow a broken one.
    let damaged = !is_last || queue == Queue::Append && batch_follows(&bytes[at..], signature);
    if damaged { Err(at) } else { Ok(()) }
}

/// Where the batches begin, and what their checksums are signed with.
fn header(bytes: &[u8], number: u32) -> Option<(usize, u32)> {
    let head = bytes.get(..FILE_HEADER_LEN).filter(|head| head.starts_with(MAGIC))?;
    match u64::from_be_bytes(head[MAGIC.len()..].try_into().ok()?) {
        1 => Some((FILE_HEADER_LEN, 0)),
        2 if bytes.len() >= FILE_HEADER_LEN + ALIGNMENT_LEN => {
            Some((FILE_HEADER_LEN + ALIGNMENT_LEN, number))
        }
        _ => None,
    }
}

fn batch_follows(bytes: &[u8], signature: u32) -> bool {
    (1..bytes.len()).any(|at| batch_len(&bytes[at..], signature).is_some())
}

/// The length of the batch that the bytes begin with, if it is whole and undamaged.
fn batch_len(bytes: &[u8], signature: u32) -> Option<usize> {
    let head = bytes.get(..BATCH_HEADER_LEN)?;
    let len_and_type = u64::from_be_bytes(head[..8].try_into().ok()?);
    let len = usize::try_from(len_and_type >> 8).ok().filter(|_| len_and_type as u8 == UNCOMPRESSED)?;
    let footer = usize::try_from(u64::from_be_bytes(head[8..].try_into().ok()?)).ok()?;
    if len > bytes.len() || footer < BATCH_HEADER_LEN || footer + CHECKSUM_LEN >= len {
        return None;
    }
    let entries = &bytes[BATCH_HEADER_LEN..footer];
    let entries_whole = entries.is_empty() || has_checksum(entries, 0);
    (entries_whole && has_checksum(&bytes[footer..len], signature)).then_some(len)
}

/// Whether the bytes end with the checksum of what is before it, xored with the signature.
fn has_checksum(bytes: &[u8], signature: u32) -> bool {
    let Some(body_len) = bytes.len().checked_sub(CHECKSUM_LEN).filter(|len| *len > 0) else { return false };
    let (body, stored) = bytes.split_at(body_len);
    (crc32fast::hash(body) ^ signature).to_le_bytes() == stored
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(text: &str, number: u32) -> Vec<u8> {
        let mut entries = text.as_bytes().to_vec();
        entries.extend_from_slice(&crc32fast::hash(text.as_bytes()).to_le_bytes());
        let mut footer = b"items".to_vec();
        footer.extend_from_slice(&(crc32fast::hash(b"items") ^ number).to_le_bytes());
        let footer_at = BATCH_HEADER_LEN + entries.len();
        let len = footer_at + footer.len();
        let mut bytes = ((len as u64) << 8).to_be_bytes().to_vec();
        bytes.extend_from_slice(&(footer_at as u64).to_be_bytes());
        bytes.extend_from_slice(&entries);
        bytes.extend_from_slice(&footer);
        bytes
    }

    fn file(batches: &[&str]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&2u64.to_be_bytes());
        bytes.extend_from_slice(&0u64.to_be_bytes());
        for text in batches {
            bytes.extend_from_slice(&batch(text, 3));
        }
        bytes
    }

    #[test]
    fn only_an_incomplete_tail_passes() {
        let check = |bytes: &[u8], last| verify_file(bytes, 3, Queue::Append, last);
        let whole = file(&["one", "two", "three"]);
        assert_eq!(check(&whole, false), Ok(()));
        assert_eq!(check(&whole, true), Ok(()));
        let second = file(&["one"]).len();
        let third = file(&["one", "two"]).len();
        for cut in third + 1..whole.len() {
            assert_eq!(check(&whole[..cut], true), Ok(()), "a torn last batch");
            assert_eq!(check(&whole[..cut], false), Err(third), "but not in an earlier file");
        }
        let mut padded = whole.clone();
        padded.resize(whole.len() + 100, 0);
        assert_eq!(check(&padded, true), Ok(()), "reserved space");
        for at in second..third {
            let mut rotten = whole.clone();
            rotten[at] ^= 1;
            assert_eq!(check(&rotten, true), Err(second), "damage at {at} before a whole batch");
        }
        assert_eq!(check(&[], true), Ok(()), "a file that was just created");
        let mut headless = whole;
        headless[0] ^= 1;
        assert_eq!(check(&headless, true), Err(0));
    }
}
