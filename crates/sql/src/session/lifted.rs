//! Searches whose vectors are written out in their text (`ORDER BY v <-> '[1,2]'`): the vectors are taken out, so that all of them are one
//! statement with parameters, which keeps its plan. Whatever is out of the ordinary is left to the usual way.

use super::Session;
use super::guard::ends_session;
use super::run::Step;
use crate::decode::value_from_text;
use crate::statement::{self, Analyzed, ParamValue, Statement};
use crate::wire::connection::Connection;
use quiver_base::{Result, SqlState, SqlType};
use std::sync::Arc;

/// Longer statements are not looked at, in bytes.
const TEXT_BYTES_MAX: usize = 512 << 10;

/// A statement without its vectors.
#[derive(Debug, PartialEq)]
struct Lifted<'a> {
    /// With `$1`, `$2`, … in place of them.
    text: String,
    vectors: Vec<&'a str>,
}

impl<'a> Lifted<'a> {
    /// The number of a vector. The same vector is the same parameter: a bound on a distance has to be known for one on that of the order.
    fn parameter(&mut self, vector: &'a str) -> usize {
        let known = self.vectors.iter().position(|other| *other == vector);
        let place = known.unwrap_or_else(|| {
            self.vectors.push(vector);
            self.vectors.len() - 1
        });
        place + 1
    }
}

/// Takes out each `'[…]'` that follows a distance operator of a single SELECT. `None` if there is none, or where the text needs more than
/// a look to be read: comments, dollars, backslashes.
fn lift(query: &str) -> Option<Lifted<'_>> {
    let start = query.trim_ascii_start();
    if query.len() > TEXT_BYTES_MAX || !start.get(..6)?.eq_ignore_ascii_case("select") {
        return None;
    }
    let bytes = query.as_bytes();
    let (mut at, mut kept) = (0, 0);
    let mut lifted = Lifted { text: String::new(), vectors: Vec::new() };
    // Whether nothing but blanks came since a distance operator.
    let mut after_distance = false;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\'' => {
                let end = at + 1 + query.get(at + 1..)?.find('\'')?;
                let inner = query.get(at + 1..end)?;
                if after_distance && is_vector(inner) && bytes.get(end + 1) != Some(&b'\'') {
                    lifted.text.push_str(query.get(kept..at)?);
                    let parameter = lifted.parameter(inner);
                    lifted.text.push_str(&format!("${parameter}"));
                    kept = end + 1;
                }
                at = end + 1;
                after_distance = false;
            }
            b'"' => {
                at += 2 + query.get(at + 1..)?.find('"')?;
                after_distance = false;
            }
            b'$' | b'\\' => return None,
            b'-' if bytes.get(at + 1) == Some(&b'-') => return None,
            b'/' if bytes.get(at + 1) == Some(&b'*') => return None,
            b';' => {
                return query
                    .get(at + 1..)?
                    .trim_ascii()
                    .is_empty()
                    .then(|| finished(lifted, query, kept))?;
            }
            b'<' if matches!(bytes.get(at..at + 3), Some(b"<->" | b"<=>" | b"<#>" | b"<+>")) => {
                at += 3;
                after_distance = true;
            }
            byte => {
                after_distance &= byte.is_ascii_whitespace();
                at += 1;
            }
        }
    }
    finished(lifted, query, kept)
}

fn finished<'a>(mut lifted: Lifted<'a>, query: &str, kept: usize) -> Option<Lifted<'a>> {
    lifted.text.push_str(query.get(kept..)?);
    (!lifted.vectors.is_empty()).then_some(lifted)
}

fn is_vector(text: &str) -> bool {
    text.starts_with('[')
        && text.bytes().all(|byte| byte.is_ascii_digit() || b"[]+-.,eE \t\n\r".contains(&byte))
}

impl Session {
    /// Runs a statement with its vectors as parameters. `false`, and nothing has been sent, if it has to go the usual way.
    pub(super) async fn run_lifted(&mut self, conn: &mut Connection, query: &str) -> Result<bool> {
        let Some(lifted) = lift(query) else { return Ok(false) };
        let analyzed = match self.recall(conn, &lifted.text, &[]).await? {
            Some(analyzed) => analyzed,
            None => match self.analyze_lifted(conn, &lifted.text).await? {
                Some(analyzed) => analyzed,
                None => return Ok(false),
            },
        };
        let style = self.settings.input_style(self.info.transaction_start_us());
        let values = analyzed.params.iter().zip(&lifted.vectors);
        let values = values.map(|(ty, text)| value_from_text(ty, text, &style));
        // The usual way says what is wrong with one, and where.
        let Ok(values) = values.collect::<Result<Vec<ParamValue>>>() else { return Ok(false) };
        let step = Step { last: true, alone: true, query: query.into() };
        let outcome = match Box::pin(self.execute(conn, &analyzed, &values, &step)).await {
            Err(error) if error.position().is_some() => return Ok(false),
            outcome => outcome?,
        };
        Box::pin(self.deliver(conn, outcome, &[], true, true)).await?;
        Ok(true)
    }

    /// Resolves a statement that has its vectors as parameters, and keeps it. `None` if it is not what it was with them.
    async fn analyze_lifted(&mut self, conn: &mut Connection, text: &str) -> Result<Option<Analyzed>> {
        let Ok(mut statements) = statement::parse(text) else { return Ok(None) };
        let (Some(parsed), true) = (statements.pop(), statements.is_empty()) else { return Ok(None) };
        if !matches!(parsed.statement, Statement::Plannable(_)) {
            return Ok(None);
        }
        self.ensure_transaction()?;
        let analyzed = match Box::pin(self.analyze(conn, Arc::new(parsed), &[])).await {
            Ok(analyzed) => analyzed,
            Err(error) if ends_session(&error) || error.state() == SqlState::QUERY_CANCELED => {
                return Err(error);
            }
            Err(_) => return Ok(None),
        };
        let of_vectors = |ty: &SqlType| matches!(ty, SqlType::Vector(_) | SqlType::Halfvec(_));
        if !analyzed.params.iter().all(of_vectors) {
            return Ok(None);
        }
        self.remember(text, &[], &analyzed);
        Ok(Some(analyzed))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    #[test]
    fn vectors_after_distance_operators_are_taken_out() {
        let lifted = lift(" select id from t where a = '[1]' and b <-> '[1, -2.5e3]' < 3 order by c <#>\n'[7]'::vector limit 5; ").unwrap();
        assert_eq!(
            lifted.text,
            " select id from t where a = '[1]' and b <-> $1 < 3 order by c <#>\n$2::vector limit 5; "
        );
        assert_eq!(lifted.vectors, ["[1, -2.5e3]", "[7]"]);
        let same = lift("select id from t where v <-> '[1]' < 3 order by v <-> '[1]', w <-> '[2]'").unwrap();
        assert_eq!(same.text, "select id from t where v <-> $1 < 3 order by v <-> $1, w <-> $2");
        assert_eq!(same.vectors, ["[1]", "[2]"]);
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_left_alone() {
        for query in [
            "select 1",
            "insert into t select a <-> '[1]' from u",
            "select a <-> '[1]' from t where b = $1",
            "select a <-> '[1]' -- from u\nfrom t",
            "select a <-> '[1]' /* from u */ from t",
            "select a <-> '[1]' from t; select 2",
            "select a <-> '{1:2}/5' from t",
            "select 'a <-> ', '[1]' from t",
            "select a <-> E'\\x5b' from t",
            "select a <-> b, '[1]' from t",
            "select a <-> '[1]''' from t",
            "select a <-> '[1] from t",
            "select \"a <-> '[1]'\" from t",
        ] {
            assert_eq!(lift(query), None, "{query}");
        }
    }
}
