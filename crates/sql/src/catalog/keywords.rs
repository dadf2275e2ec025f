//! pg_get_keywords(): PostgreSQL 16's words, and what each may be used for.

use super::fixed::FixedColumn;
use super::rows::Rows;
use datafusion::catalog::{MemTable, TableProvider};
use quiver_base::{Error, Result, SqlType};
use std::sync::Arc;

/// A line a word: the word, its category, whether it may be a label without AS.
const WORDS: &str = include_str!("../../data/keywords.tsv");

/// Whether a function in FROM has rows like a system relation's.
pub(crate) fn is_table_function(name: &str) -> bool {
    name == "pg_get_keywords"
}

/// The rows of such a function.
pub(crate) fn table_function(name: &str) -> Option<Result<Arc<dyn TableProvider>>> {
    is_table_function(name).then(keywords)
}

fn keywords() -> Result<Arc<dyn TableProvider>> {
    let column = |name: &str, ty: SqlType| FixedColumn { name: name.to_owned(), ty };
    let columns = [
        column("word", SqlType::Text),
        column("catcode", SqlType::Char),
        column("barelabel", SqlType::Bool),
        column("catdesc", SqlType::Text),
        column("baredesc", SqlType::Text),
    ];
    let mut rows = Rows::new(&columns);
    for line in WORDS.lines() {
        let mut fields = line.split('\t');
        let (Some(word), Some(category), Some(bare)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(Error::internal("the list of keywords is damaged"));
        };
        let described = match category {
            "U" => "unreserved",
            "C" => "unreserved (cannot be function or type name)",
            "T" => "reserved (can be function or type name)",
            _ => "reserved",
        };
        rows.push([
            ("word", word.into()),
            ("catcode", category.into()),
            ("barelabel", (bare == "t").into()),
            ("catdesc", described.into()),
            ("baredesc", if bare == "t" { "can be bare label" } else { "requires AS" }.into()),
        ]);
    }
    let batch = rows.finish()?;
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).map_err(quiver_exec::from_datafusion)?;
    Ok(Arc::new(table))
}
