//! How messages reach other nodes: opaque frames over a lossy door. Knows no sockets and no Raft rules.
//!
//! Frame: `QVRF`, version u8, sender node u64, then for each message group u64, length u32 and the
//! protobuf message, then crc32c of all before it; little endian.

use bytes::Bytes;
use protobuf::Message as _;
use quiver_base::{Error, GroupId, NodeId, Result};
use raft::prelude::Message;

/// Sends frames to other nodes. Lossy by contract: a frame may be dropped, late, doubled or overtaken, and
/// Raft copes; it must never be changed. `send` is called from the Raft thread and must not block: a wire
/// whose queue is full drops. A frame is at most as large as a snapshot, a largest entry, or a few MiB.
pub trait Wire: Send + Sync {
    /// Sends a frame to the node; it ends in that node's [`RaftNode::receive`](crate::RaftNode::receive).
    fn send(&self, to: NodeId, frame: Bytes);
}

/// The wire of a node that is alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWire;

impl Wire for NoWire {
    fn send(&self, _to: NodeId, _frame: Bytes) {}
}

const MAGIC: &[u8; 4] = b"QVRF";
const VERSION: u8 = 1;
const HEADER_LEN: usize = 4 + 1 + 8;

/// Messages are put into one frame up to this size; a larger one travels alone.
const FRAME_BYTES_MAX: usize = 4 << 20;
/// group u64, length u32.
const MESSAGE_HEADER_LEN: usize = 12;

/// Puts messages for one node into frames.
pub(crate) fn encode(from: NodeId, messages: &[(GroupId, Message)]) -> Result<Vec<Bytes>> {
    let mut frames = Vec::with_capacity(1);
    let mut rest = messages;
    while !rest.is_empty() {
        let mut len = 0;
        let fits = |(_, message): &&(GroupId, Message)| {
            len += MESSAGE_HEADER_LEN + message.compute_size() as usize;
            len <= FRAME_BYTES_MAX
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (now, later) = rest.split_at(count);
        frames.push(encode_frame(from, now)?);
        rest = later;
    }
    Ok(frames)
}

fn encode_frame(from: NodeId, messages: &[(GroupId, Message)]) -> Result<Bytes> {
    let sizes: usize = messages.iter().map(|(_, m)| MESSAGE_HEADER_LEN + m.compute_size() as usize).sum();
    let mut frame = Vec::with_capacity(HEADER_LEN + sizes + 4);
    frame.extend_from_slice(MAGIC);
    frame.push(VERSION);
    frame.extend_from_slice(&from.0.to_le_bytes());
    for (group, message) in messages {
        frame.extend_from_slice(&group.0.to_le_bytes());
        let at = frame.len();
        frame.extend_from_slice(&[0; 4]);
        message.write_to_vec(&mut frame).map_err(|e| Error::internal(format!("encoding a message: {e}")))?;
        let len = (frame.len() - at - 4) as u32;
        frame[at..at + 4].copy_from_slice(&len.to_le_bytes());
    }
    let crc = crc32c::crc32c(&frame);
    frame.extend_from_slice(&crc.to_le_bytes());
    Ok(frame.into())
}

/// Takes a frame apart. Entries' data shares the frame's memory.
pub(crate) fn decode(frame: &Bytes) -> Result<(NodeId, Vec<(GroupId, Message)>)> {
    parse(frame).ok_or_else(|| Error::corrupt("a Raft frame"))
}

fn parse(frame: &Bytes) -> Option<(NodeId, Vec<(GroupId, Message)>)> {
    let end = frame.len().checked_sub(4).filter(|end| *end >= HEADER_LEN)?;
    if &frame[..4] != MAGIC || frame[4] != VERSION {
        return None;
    }
    if crc32c::crc32c(&frame[..end]).to_le_bytes() != frame[end..] {
        return None;
    }
    let number = |at: usize| Some(u64::from_le_bytes(frame.get(at..at + 8)?.try_into().ok()?));
    let from = NodeId(number(5)?);
    let mut messages = Vec::new();
    let mut at = HEADER_LEN;
    while at < end {
        let group = GroupId(number(at)?);
        let len = u32::from_le_bytes(frame.get(at + 8..at + 12)?.try_into().ok()?) as usize;
        let body = at + 12;
        at = body.checked_add(len).filter(|next| *next <= end)?;
        messages.push((group, Message::parse_from_carllerche_bytes(&frame.slice(body..at)).ok()?));
    }
    Some((from, messages))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // tests
    use super::*;

    #[test]
    fn a_frame_comes_back_and_a_changed_one_does_not() {
        let message = |to, data: &'static [u8]| {
            let mut message = Message { to, term: 3, ..Message::default() };
            let entry = raft::prelude::Entry { data: data.into(), ..Default::default() };
            message.set_entries(vec![entry].into());
            message
        };
        let sent = [(GroupId(1), message(2, b"one")), (GroupId(u64::MAX), message(3, b""))];
        let frame = encode(NodeId(9), &sent).unwrap().pop().unwrap();
        let (from, received) = decode(&frame).unwrap();
        assert_eq!((from, received.as_slice()), (NodeId(9), sent.as_slice()));
        for at in 0..frame.len() {
            let mut changed = frame.to_vec();
            changed[at] ^= 1;
            assert!(decode(&changed.into()).is_err(), "byte {at}");
            assert!(decode(&frame.slice(..at)).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn many_messages_take_several_frames() {
        let large = |to| {
            let mut message = Message { to, ..Message::default() };
            let data = vec![7; FRAME_BYTES_MAX / 3];
            let entry = raft::prelude::Entry { data: data.into(), ..Default::default() };
            message.set_entries(vec![entry].into());
            (GroupId(to), message)
        };
        let sent: Vec<_> = (0..5).map(large).collect();
        let frames = encode(NodeId(1), &sent).unwrap();
        assert_eq!(frames.len(), 3, "two in each");
        let received: Vec<_> = frames.iter().flat_map(|frame| decode(frame).unwrap().1).collect();
        assert!(received == sent);
    }
}
