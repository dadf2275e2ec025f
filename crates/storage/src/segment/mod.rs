//! Sealed segments: the objects that hold a shard's rows, how they are written and how they are read. Knows positions,
//! columns and layouts; knows no visibility, no transactions and no manifest.

mod meta;
mod reader;
mod row_ids;
mod writer;

pub use meta::{DeletesRef, SegmentMeta};
pub use reader::{KeyMatch, Segment, SegmentStatistics};
pub use row_ids::RowIds;
pub use writer::SegmentWriter;
