//! The file of a delete bitmap.
//!
//! ```text
//! header 64 (fields: as_of u64, rows u32, dead u32) | positions, as a roaring bitmap in its portable form
//! ```

use crate::format::{Format, read_u32, read_u64};
use crate::objects::Objects;
use crate::segment::{DeletesRef, SegmentMeta};
use quiver_base::{Error, Result, Timestamp};
use roaring::RoaringBitmap;
use std::sync::Arc;

const FORMAT: Format = Format { magic: *b"QVDELETE", version: 1, name: "delete bitmap" };

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
    let mut body = Vec::with_capacity(dead.serialized_size());
    dead.serialize_into(&mut body).map_err(|e| Error::io(format!("writing object \"{path}\""), e))?;
    let fields = [&as_of.0.to_le_bytes()[..], &rows.to_le_bytes(), &count.to_le_bytes()].concat();
    let mut object = objects.create(path)?;
    object.append(&FORMAT.header(&fields, crc32c::crc32c(&body)))?;
    object.append(&body)?;
    Ok(DeletesRef { object: object.finish()?, as_of, count })
}

pub(super) fn read(objects: &Objects, meta: &SegmentMeta, deletes: &DeletesRef) -> Result<RoaringBitmap> {
    decode(&objects.read(&deletes.object)?, meta, deletes)
        .map_err(|e| e.context(format!("object \"{}\"", deletes.object.path)))
}

fn decode(bytes: &[u8], meta: &SegmentMeta, deletes: &DeletesRef) -> Result<RoaringBitmap> {
    let (fields, body) = FORMAT.open(bytes)?;
    let dead =
        RoaringBitmap::deserialize_from(body).map_err(|e| Error::corrupt(format!("delete bitmap: {e}")))?;
    let same = read_u64(fields) == deletes.as_of.0
        && read_u32(&fields[8..]) == meta.rows
        && read_u32(&fields[12..]) == deletes.count
        && dead.len() == u64::from(deletes.count)
        && dead.max().is_none_or(|last| last < meta.rows);
    if same { Ok(dead) } else { Err(Error::corrupt("delete bitmap: not the one that the manifest names")) }
}
