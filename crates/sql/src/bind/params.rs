//! Types of `$n`: declared by the client, or found where the parameter is first used.

use parking_lot::Mutex;
use quiver_base::{Error, Result, SqlState, SqlType};

/// The parameters of one statement while it is analysed.
#[derive(Debug, Default)]
pub(crate) struct Params(Mutex<Vec<Option<SqlType>>>);

impl Params {
    /// With the types that a client gave.
    pub(crate) fn new(declared: &[Option<SqlType>]) -> Params {
        Params(Mutex::new(declared.to_vec()))
    }

    /// The type of `$n` (`id` with its dollar), if it is known.
    pub(crate) fn get(&self, id: &str) -> Option<SqlType> {
        let index = index(id)?;
        self.0.lock().get(index).cloned().flatten()
    }

    /// Types `$n` unless it has a type; returns what it has.
    pub(crate) fn infer(&self, id: &str, ty: &SqlType) -> SqlType {
        let Some(index) = index(id) else { return ty.clone() };
        let mut types = self.0.lock();
        if types.len() <= index {
            types.resize(index + 1, None);
        }
        types[index].get_or_insert_with(|| ty.clone()).clone()
    }

    /// Notes that `$n` is used.
    pub(crate) fn seen(&self, id: &str) {
        let Some(index) = index(id) else { return };
        let mut types = self.0.lock();
        if types.len() <= index {
            types.resize(index + 1, None);
        }
    }

    /// All types; 42P18 if one is unknown.
    pub(crate) fn finish(&self) -> Result<Vec<SqlType>> {
        let types = self.0.lock();
        types
            .iter()
            .enumerate()
            .map(|(index, ty)| {
                ty.clone().ok_or_else(|| {
                    Error::new(
                        SqlState::INDETERMINATE_DATATYPE,
                        format!("could not determine data type of parameter ${}", index + 1),
                    )
                })
            })
            .collect()
    }
}

/// The 0-based position of `$n`.
pub(crate) fn index(id: &str) -> Option<usize> {
    id.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}
