//! The file of a delete bitmap: a frame whose body is as_of u64 | the segment's rows u32 | dead rows u32 | length u64 and the
//! positions, as a roaring bitmap in its portable form.

use crate::frame::{Format, put_block};
use crate::objects::Objects;
use crate::segment::{DeletesRef, SegmentMeta};
use quiver_base::{Error, Result, Timestamp};
use roaring::RoaringBitmap;
use std::sync::Arc;

const FORMAT: Format = Format { magic: *b"QVDB", version: 1, name: "delete bitmap" };

pub(super) fn write(
    objects: &Arc<Objects>,
    path: &str,
    rows: u32,
    as_of: Timestamp,
    dead: &RoaringBitmap,
) -> Result<DeletesRef> {
    if dead.max().is_some_and(|last| last >= rows) {
        return Err(Error::internal("a delete beyond the last row of its segment"));
    }
    let count = dead.len() as u32;
    let mut positions = Vec::with_capacity(dead.serialized_size());
    dead.serialize_into(&mut positions).map_err(|e| Error::io(format!("writing object \"{path}\""), e))?;
    let mut frame = FORMAT.start();
    frame.extend(as_of.0.to_le_bytes());
    frame.extend(rows.to_le_bytes());
    frame.extend(count.to_le_bytes());
    put_block(&mut frame, &positions);
    Ok(DeletesRef { object: objects.put(path, &FORMAT.finish(frame))?, as_of, count })
}

pub(super) fn read(objects: &Objects, meta: &SegmentMeta, deletes: &DeletesRef) -> Result<RoaringBitmap> {
    decode(&objects.read(&deletes.object)?, meta, deletes)
        .map_err(|e| e.context(format!("object \"{}\"", deletes.object.path)))
}

fn decode(bytes: &[u8], meta: &SegmentMeta, deletes: &DeletesRef) -> Result<RoaringBitmap> {
    let mut reader = FORMAT.open(bytes)?;
    let (as_of, rows, count) = (reader.u64()?, reader.u32()?, reader.u32()?);
    let positions = reader.block()?;
    reader.end()?;
    let dead = RoaringBitmap::deserialize_from(positions)
        .map_err(|e| Error::corrupt(format!("delete bitmap: {e}")))?;
    let same = as_of == deletes.as_of.0
        && rows == meta.rows
        && count == deletes.count
        && dead.len() == u64::from(deletes.count)
        && dead.max().is_none_or(|last| last < meta.rows);
    if same { Ok(dead) } else { Err(Error::corrupt("delete bitmap: not the one that the manifest names")) }
}
