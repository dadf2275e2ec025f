//! The row ids of a segment, in order. Position and id are found from each other; a run without gaps costs two numbers.

use quiver_base::RowId;
use roaring::RoaringTreemap;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::Range;

/// Ascending, distinct row ids.
#[derive(Clone, Debug, PartialEq)]
pub struct RowIds(Form);

#[derive(Clone, Debug, PartialEq)]
enum Form {
    Run { first: u64, rows: u32 },
    Set(RoaringTreemap),
}

impl Eq for RowIds {}

impl RowIds {
    /// From ids in ascending order; `None` if they are not, or too many.
    pub fn from_ascending(ids: impl IntoIterator<Item = RowId>) -> Option<RowIds> {
        let mut builder = RowIdsBuilder::default();
        ids.into_iter().all(|id| builder.push(id)).then(|| builder.finish()).flatten()
    }

    fn from_set(mut set: RoaringTreemap) -> Option<RowIds> {
        let rows = u32::try_from(set.len()).ok()?;
        let (Some(first), Some(last)) = (set.min(), set.max()) else {
            return Some(RowIds(Form::Run { first: 0, rows: 0 }));
        };
        if last - first == u64::from(rows) - 1 {
            return Some(RowIds(Form::Run { first, rows }));
        }
        set.optimize();
        Some(RowIds(Form::Set(set)))
    }

    /// How many.
    pub fn len(&self) -> u32 {
        match &self.0 {
            Form::Run { rows, .. } => *rows,
            Form::Set(set) => set.len() as u32,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The smallest.
    pub fn first(&self) -> Option<RowId> {
        self.row_id(0)
    }

    /// The largest.
    pub fn last(&self) -> Option<RowId> {
        self.row_id(self.len().checked_sub(1)?)
    }

    /// Where a row is.
    pub fn position(&self, id: RowId) -> Option<u32> {
        match &self.0 {
            Form::Run { first, rows } => {
                id.0.checked_sub(*first).filter(|at| *at < u64::from(*rows)).map(|at| at as u32)
            }
            Form::Set(set) => set.contains(id.0).then(|| set.rank(id.0) as u32 - 1),
        }
    }

    /// The row at a position.
    pub fn row_id(&self, position: u32) -> Option<RowId> {
        match &self.0 {
            Form::Run { first, rows } => (position < *rows).then(|| RowId(first + u64::from(position))),
            Form::Set(set) => set.select(u64::from(position)).map(RowId),
        }
    }

    /// The ids at a range of positions, cut to those that there are.
    pub fn slice(&self, positions: Range<u32>) -> Vec<RowId> {
        match &self.0 {
            Form::Run { first, rows } => {
                positions.take_while(|at| at < rows).map(|at| RowId(first + u64::from(at))).collect()
            }
            Form::Set(set) => {
                let Some(start) = set.select(u64::from(positions.start)) else { return Vec::new() };
                let mut ids = set.iter();
                ids.advance_to(start);
                ids.take(positions.len()).map(RowId).collect()
            }
        }
    }

    /// All of them, ascending.
    pub fn iter(&self) -> Box<dyn Iterator<Item = RowId> + Send + '_> {
        match &self.0 {
            Form::Run { first, rows } => Box::new((*first..*first + u64::from(*rows)).map(RowId)),
            Form::Set(set) => Box::new(set.iter().map(RowId)),
        }
    }
}

/// Collects ids in ascending order.
#[derive(Debug, Default)]
pub(super) struct RowIdsBuilder(RoaringTreemap);

impl RowIdsBuilder {
    /// Adds an id; false if it is not above all before it.
    pub(super) fn push(&mut self, id: RowId) -> bool {
        self.0.try_push(id.0).is_ok()
    }

    /// `None` if there are more than a segment can hold.
    pub(super) fn finish(self) -> Option<RowIds> {
        RowIds::from_set(self.0)
    }
}

#[derive(Serialize, Deserialize)]
enum Stored {
    Run(u64, u32),
    /// Roaring's portable 64-bit format.
    Set(Vec<u8>),
}

impl Serialize for RowIds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stored = match &self.0 {
            Form::Run { first, rows } => Stored::Run(*first, *rows),
            Form::Set(set) => {
                let mut bytes = Vec::with_capacity(set.serialized_size());
                set.serialize_into(&mut bytes).map_err(serde::ser::Error::custom)?;
                Stored::Set(bytes)
            }
        };
        stored.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RowIds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Stored::deserialize(deserializer)? {
            Stored::Run(first, rows) if first.checked_add(u64::from(rows)).is_some() => {
                Ok(RowIds(Form::Run { first, rows }))
            }
            Stored::Run(..) => Err(D::Error::custom("row ids run past the last one")),
            Stored::Set(bytes) => {
                let set = RoaringTreemap::deserialize_from(&bytes[..]).map_err(D::Error::custom)?;
                RowIds::from_set(set).ok_or_else(|| D::Error::custom("too many row ids"))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn positions_and_ids_find_each_other(
            ids in proptest::collection::btree_set(prop_oneof![0u64..50, 0u64..1 << 40], 0..80),
            gaps in any::<bool>(),
        ) {
            let ids: BTreeSet<u64> = if gaps { ids } else { (7..7 + ids.len() as u64).collect() };
            let row_ids = RowIds::from_ascending(ids.iter().copied().map(RowId)).unwrap();
            let list: Vec<_> = ids.iter().copied().map(RowId).collect();
            prop_assert_eq!(row_ids.iter().collect::<Vec<_>>(), list.clone());
            prop_assert_eq!(row_ids.first(), list.first().copied());
            prop_assert_eq!(row_ids.last(), list.last().copied());
            for (at, id) in list.iter().enumerate() {
                prop_assert_eq!(row_ids.position(*id), Some(at as u32));
                prop_assert_eq!(row_ids.row_id(at as u32), Some(*id));
                prop_assert_eq!(row_ids.slice(at as u32..u32::MAX), list[at..].to_vec());
                prop_assert_eq!(row_ids.slice(0..at as u32), list[..at].to_vec());
                if !ids.contains(&(id.0 + 1)) {
                    prop_assert_eq!(row_ids.position(RowId(id.0 + 1)), None);
                }
            }
            prop_assert_eq!(row_ids.row_id(list.len() as u32), None);
            let bytes = rmp_serde::to_vec(&row_ids).unwrap();
            prop_assert_eq!(rmp_serde::from_slice::<RowIds>(&bytes).unwrap(), row_ids);
        }
    }

    #[test]
    fn ids_out_of_order_are_refused() {
        assert!(RowIds::from_ascending([RowId(2), RowId(1)]).is_none());
        assert!(RowIds::from_ascending([RowId(2), RowId(2)]).is_none());
        assert!(RowIds::from_ascending([]).unwrap().is_empty());
    }
}
