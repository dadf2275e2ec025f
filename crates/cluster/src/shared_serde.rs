//! Serialises what is behind an `Arc`. serde can do it by itself with its `rc` feature, but that feature of so basic a crate
//! would be another build of nearly every dependency for whoever builds one crate alone.

use imbl::OrdMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::Arc;

/// For a field or variant that is an `Arc`.
pub(crate) mod arc {
    use super::*;

    pub(crate) fn serialize<T: Serialize, S: Serializer>(value: &Arc<T>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().serialize(to)
    }

    pub(crate) fn deserialize<'a, T: Deserialize<'a>, D: Deserializer<'a>>(
        from: D,
    ) -> Result<Arc<T>, D::Error> {
        T::deserialize(from).map(Arc::new)
    }
}

/// For a map whose values are.
pub(crate) mod arc_map {
    use super::*;

    pub(crate) fn serialize<K: Serialize + Ord, V: Serialize, S: Serializer>(
        map: &OrdMap<K, Arc<V>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_map(map.iter().map(|(key, value)| (key, value.as_ref())))
    }

    pub(crate) fn deserialize<'a, K, V, D>(from: D) -> Result<OrdMap<K, Arc<V>>, D::Error>
    where
        K: DeserializeOwned + Ord + Clone,
        V: DeserializeOwned,
        D: Deserializer<'a>,
    {
        let map = BTreeMap::<K, V>::deserialize(from)?;
        Ok(map.into_iter().map(|(key, value)| (key, Arc::new(value))).collect())
    }
}
