//! What the log carries. A command is a header with its own checksum and a list of blobs; a blob that holds rows or a publish
//! carries its own version and checksum. Timestamps and terms are stamped into the header as the entry is appended.
//!
//! Layout, little endian: magic `QVC1`, kind u8, flags u8, reserved u16, request u64, txn u64, term u64, commit_ts u64, blob
//! count u32, then (tag u64, length u32) a blob, crc32c u32 of all before it, then the blobs.

use bytes::Bytes;
use quiver_base::{Error, Result, Term, Timestamp, TxnId};

const MAGIC: &[u8; 4] = b"QVC1";
const FIXED_LEN: usize = 4 + 4 + 8 * 4 + 4;
const TERM_AT: usize = 24;
const COMMIT_TS_AT: usize = 32;
const BLOB_LEN: usize = 12;
const STAGED: u8 = 1;

/// What a command does. The numbers are in the log: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Data: makes writes (blobs: shard, `ShardWrite`) and, if staged, what the transaction staged before visible at commit_ts.
    Commit = 1,
    /// Data: keeps rows (blobs: shard, `ShardWrite`) of a transaction for later.
    Stage = 2,
    /// Data: forgets what a transaction staged or prepared.
    Abort = 3,
    /// Data: promises that a later commit of what is staged cannot fail.
    Prepare = 4,
    /// Data: puts the result of background work (blob: shard, `Publish`) into effect.
    Publish = 5,
    /// Data: removes shards (blobs: shard, nothing).
    DropShards = 6,
    /// Meta: changes the catalog (blob: group of the data part or 0, edits); with the staged flag it is also the decision to commit.
    Edit = 16,
    /// Meta: timestamps up to commit_ts may be handed out.
    Bound = 17,
    /// Meta: moves sequences' durable positions (blob: 0, moves).
    MoveSequence = 18,
    /// Meta: the data group has committed; the decision is no longer needed.
    ForgetDecision = 19,
    /// Meta: no decision of this transaction to commit will be taken any more.
    RefuseDecision = 20,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::Commit,
            2 => Kind::Stage,
            3 => Kind::Abort,
            4 => Kind::Prepare,
            5 => Kind::Publish,
            6 => Kind::DropShards,
            16 => Kind::Edit,
            17 => Kind::Bound,
            18 => Kind::MoveSequence,
            19 => Kind::ForgetDecision,
            20 => Kind::RefuseDecision,
            _ => return None,
        })
    }
}

/// A command, decoded. Its blobs share the entry's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) kind: Kind,
    /// Looked up before anything is checked; 0: none. Rises with time on one leader.
    pub(crate) request: u64,
    pub(crate) txn: TxnId,
    /// The term in which it was checked.
    pub(crate) term: Term,
    pub(crate) commit_ts: Timestamp,
    /// There are staged writes (Commit), or a data part waits for this decision (Edit).
    pub(crate) staged: bool,
    /// A number (mostly a shard) and bytes.
    pub(crate) blobs: Vec<(u64, Bytes)>,
}

impl Command {
    pub(crate) fn new(kind: Kind, txn: TxnId) -> Command {
        Command {
            kind,
            request: 0,
            txn,
            term: Term(0),
            commit_ts: Timestamp::ZERO,
            staged: false,
            blobs: Vec::new(),
        }
    }

    /// Encodes all but what [`Encoded::stamp`] adds.
    pub(crate) fn encode(&self) -> Encoded {
        let header_len = FIXED_LEN + self.blobs.len() * BLOB_LEN;
        let blob_bytes: usize = self.blobs.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut out = Vec::with_capacity(header_len + 4 + blob_bytes);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[self.kind as u8, if self.staged { STAGED } else { 0 }, 0, 0]);
        for number in [self.request, self.txn.0, self.term.0, self.commit_ts.0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&(self.blobs.len() as u32).to_le_bytes());
        for (tag, bytes) in &self.blobs {
            out.extend_from_slice(&tag.to_le_bytes());
            out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        }
        out.extend_from_slice(&[0; 4]);
        for (_, bytes) in &self.blobs {
            out.extend_from_slice(bytes);
        }
        Encoded { bytes: out, header_len }
    }

    /// Reads an entry back. Damage is XX001, a kind of a newer version too.
    pub(crate) fn decode(data: &Bytes) -> Result<Command> {
        Self::parse(data)
            .ok_or_else(|| Error::corrupt("a log entry is not a command that this version knows"))
    }

    fn parse(data: &Bytes) -> Option<Command> {
        let number = |at: usize| Some(u64::from_le_bytes(data.get(at..at + 8)?.try_into().ok()?));
        let short = |at: usize| Some(u32::from_le_bytes(data.get(at..at + 4)?.try_into().ok()?));
        if data.get(..4)? != MAGIC {
            return None;
        }
        let blob_count = short(FIXED_LEN - 4)? as usize;
        let header_len = blob_count.checked_mul(BLOB_LEN)?.checked_add(FIXED_LEN)?;
        if crc32c::crc32c(data.get(..header_len)?) != short(header_len)? {
            return None;
        }
        let mut blobs = Vec::with_capacity(blob_count);
        let mut start = header_len + 4;
        for at in (FIXED_LEN..header_len).step_by(BLOB_LEN) {
            let end = start.checked_add(short(at + 8)? as usize)?;
            if end > data.len() {
                return None;
            }
            blobs.push((number(at)?, data.slice(start..end)));
            start = end;
        }
        Some(Command {
            kind: Kind::from_byte(data[4])?,
            staged: data[5] & STAGED != 0,
            request: number(8)?,
            txn: TxnId(number(16)?),
            term: Term(number(TERM_AT)?),
            commit_ts: Timestamp(number(COMMIT_TS_AT)?),
            blobs,
        })
    }
}

/// A command in bytes whose header is not closed yet.
#[derive(Debug)]
pub(crate) struct Encoded {
    bytes: Vec<u8>,
    header_len: usize,
}

impl Encoded {
    /// Writes term and timestamp and closes the header. Copies nothing: it runs on the Raft thread.
    pub(crate) fn stamp(mut self, term: Term, commit_ts: Timestamp) -> Bytes {
        self.bytes[TERM_AT..TERM_AT + 8].copy_from_slice(&term.0.to_le_bytes());
        self.bytes[COMMIT_TS_AT..COMMIT_TS_AT + 8].copy_from_slice(&commit_ts.0.to_le_bytes());
        let crc = crc32c::crc32c(&self.bytes[..self.header_len]);
        self.bytes[self.header_len..self.header_len + 4].copy_from_slice(&crc.to_le_bytes());
        self.bytes.into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // tests
    use super::*;

    fn command() -> Command {
        Command {
            request: 7,
            term: Term(3),
            commit_ts: Timestamp(99),
            staged: true,
            blobs: vec![(1, Bytes::from_static(b"rows")), (2, Bytes::new())],
            ..Command::new(Kind::Commit, TxnId(5))
        }
    }

    #[test]
    fn a_command_comes_back_from_its_bytes() {
        let bytes = command().encode().stamp(Term(3), Timestamp(99));
        assert_eq!(Command::decode(&bytes).unwrap(), command());
    }

    #[test]
    fn a_damaged_header_is_refused_whatever_bit_it_is() {
        let bytes = command().encode().stamp(Term(3), Timestamp(99));
        for at in 0..bytes.len() - 4 {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 0x10;
            assert!(Command::decode(&damaged.into()).is_err(), "byte {at}");
        }
        for length in 0..bytes.len() {
            assert!(Command::decode(&bytes.slice(..length)).is_err(), "length {length}");
        }
    }
}
