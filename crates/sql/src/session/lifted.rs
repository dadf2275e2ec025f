//! Statements with constants written out in their text (`ORDER BY v <-> '[1,2]'`, `WHERE id = 42`): the constants are taken out, so that
//! statements which differ in nothing else are one with parameters, which keeps its plan. Whatever is out of the ordinary is left to the
//! usual way.

use super::Session;
use super::guard::ends_session;
use super::run::{Step, shows_name};
use crate::decode::value_from_text;
use crate::oids;
use crate::statement::{self, Analyzed, ParamValue, Statement};
use crate::wire::connection::Connection;
use quiver_base::{Result, SqlState, SqlType};
use std::sync::Arc;

/// Longer statements are not looked at, in bytes.
const TEXT_BYTES_MAX: usize = 512 << 10;
/// Statements with more constants keep them.
const CONSTANTS_MAX: usize = 32;
/// Lists whose items would make more constants keep them: they become sets once, those of parameters at each run.
const LISTED_MAX: usize = 16;

/// A constant of a statement.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Constant<'a> {
    /// `'[…]'` after a distance operator.
    Vector(&'a str),
    /// `'…'` that is compared: of whichever type its place wants, like a parameter of which nothing is said.
    Text(&'a str),
    /// A whole number that is compared.
    Number(&'a str),
}

impl<'a> Constant<'a> {
    fn text(self) -> &'a str {
        match self {
            Constant::Vector(text) | Constant::Text(text) | Constant::Number(text) => text,
        }
    }

    /// The type that the constant has by itself.
    fn declared(self) -> Option<SqlType> {
        match self {
            Constant::Vector(_) | Constant::Text(_) => None,
            Constant::Number(text) if text.parse::<i32>().is_ok() => Some(SqlType::Int4),
            Constant::Number(_) => Some(SqlType::Int8),
        }
    }
}

/// A statement without its constants.
#[derive(Debug, Default, PartialEq)]
struct Lifted<'a> {
    /// With `$1`, `$2`, … in place of them. The same constant is the same parameter: a bound on a distance has to be known for one on that
    /// of the order, an expression of the output for one of GROUP BY.
    text: String,
    constants: Vec<Constant<'a>>,
    /// With a parameter for each place, which says of which type a constant is there.
    apart: String,
    /// The constant of each place.
    places: Vec<usize>,
}

impl<'a> Lifted<'a> {
    /// What stands between constants.
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.apart.push_str(text);
    }

    fn push_constant(&mut self, constant: Constant<'a>) {
        let known = self.constants.iter().position(|other| *other == constant);
        let number = known.unwrap_or_else(|| {
            self.constants.push(constant);
            self.constants.len() - 1
        });
        self.places.push(number);
        self.text.push_str(&format!("${}", number + 1));
        self.apart.push_str(&format!("${}", self.places.len()));
    }

    /// Whether a constant stands at two places, so that it may be of two types.
    fn is_shared(&self) -> bool {
        self.places.len() > self.constants.len()
    }
}

/// What came last: what a constant would belong to that comes now.
#[derive(Clone, Copy, PartialEq)]
enum After {
    Distance,
    Comparison,
    /// BETWEEN, and the constant that follows it.
    Between,
    Low,
    /// IN, its parenthesis or a comma of its list, and a constant of the list.
    In,
    List,
    Item,
    /// ROWS, RANGE, GROUPS: a frame's numbers are part of it.
    Frame,
    Other,
}

impl After {
    /// Whether a constant is compared with something here.
    fn compares(self) -> bool {
        matches!(self, After::Comparison | After::Between | After::List)
    }

    /// A word or one other character.
    fn word(self, word: &str) -> After {
        match self {
            After::In if word == "(" => After::List,
            After::Item if word == "," => After::List,
            After::Low if word.eq_ignore_ascii_case("and") => After::Comparison,
            After::Frame if word.eq_ignore_ascii_case("between") => After::Other,
            _ if word.eq_ignore_ascii_case("in") => After::In,
            _ if word.eq_ignore_ascii_case("between") => After::Between,
            _ if ["rows", "range", "groups"].iter().any(|unit| word.eq_ignore_ascii_case(unit)) => {
                After::Frame
            }
            _ => After::Other,
        }
    }

    /// A constant that was taken out.
    fn constant(self) -> After {
        match self {
            After::Between => After::Low,
            After::List => After::Item,
            _ => After::Other,
        }
    }

    fn operator(operator: &str) -> After {
        match operator {
            "<->" | "<=>" | "<#>" | "<+>" => After::Distance,
            "=" | "<" | ">" | "<=" | ">=" | "<>" | "!=" => After::Comparison,
            _ => After::Other,
        }
    }
}

/// Takes out what [`Constant`] lists, of a single SELECT. `None` if there is nothing, or where the text needs more than a look to be read:
/// comments, dollars, backslashes.
fn lift(query: &str) -> Option<Lifted<'_>> {
    let start = query.trim_ascii_start();
    if query.len() > TEXT_BYTES_MAX || !start.get(..6)?.eq_ignore_ascii_case("select") {
        return None;
    }
    let bytes = query.as_bytes();
    let (mut at, mut kept) = (0, 0);
    let mut lifted = Lifted::default();
    // The operator before, if nothing but blanks came since.
    let mut after = After::Other;
    while let Some(byte) = bytes.get(at) {
        let (end, constant) = match byte {
            b'\'' => {
                let end = at + 2 + query.get(at + 1..)?.find('\'')?;
                let inner = query.get(at + 1..end - 1)?;
                (end, constant(after, inner, bytes.get(end)))
            }
            b'"' => (at + 2 + query.get(at + 1..)?.find('"')?, None),
            b'$' | b'\\' => return None,
            b';' => {
                let is_last = query.get(at + 1..)?.trim_ascii().is_empty();
                return is_last.then(|| finished(lifted, query, kept))?;
            }
            b'0'..=b'9' => {
                let end = at + word(&bytes[at..]);
                let number = query.get(at..end)?;
                let is_whole = number.parse::<i64>().is_ok() && bytes.get(end) != Some(&b'.');
                (end, (is_whole && after.compares()).then_some(Constant::Number(number)))
            }
            byte if is_operator(*byte) => {
                let end = at + bytes[at..].iter().take_while(|byte| is_operator(**byte)).count();
                let operator = query.get(at..end)?;
                if operator.contains("--") || operator.contains("/*") {
                    return None;
                }
                (at, after) = (end, After::operator(operator));
                continue;
            }
            byte if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            _ => {
                let end = at + word(&bytes[at..]).max(1);
                after = after.word(query.get(at..end)?);
                if after == After::List
                    && *byte == b'('
                    && lifted.constants.len() + items(&bytes[end..]) > LISTED_MAX
                {
                    after = After::Other;
                }
                at = end;
                continue;
            }
        };
        if let Some(constant) = constant {
            // A text that goes on behind a line break, or a mistake.
            if query.get(end..)?.trim_ascii_start().starts_with('\'') {
                return None;
            }
            lifted.push(query.get(kept..at)?);
            lifted.push_constant(constant);
            if lifted.constants.len() > CONSTANTS_MAX {
                return None;
            }
            kept = end;
        }
        let next = constant.map_or(After::Other, |_| after.constant());
        (at, after) = (end, next);
    }
    finished(lifted, query, kept)
}

/// A quoted text with what follows its last quote.
fn constant<'a>(after: After, inner: &'a str, next: Option<&u8>) -> Option<Constant<'a>> {
    // A doubled quote is one of the text's own.
    if next == Some(&b'\'') {
        return None;
    }
    match after {
        After::Distance if is_vector(inner) => Some(Constant::Vector(inner)),
        _ if after.compares() => Some(Constant::Text(inner)),
        _ => None,
    }
}

/// How many items a list has, or more: commas in quotes are counted, too.
fn items(list: &[u8]) -> usize {
    1 + list.iter().take_while(|byte| **byte != b')').filter(|byte| **byte == b',').count()
}

/// The length of the name or number at the front.
fn word(bytes: &[u8]) -> usize {
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_' || !byte.is_ascii();
    bytes.iter().take_while(is_part).count()
}

fn is_operator(byte: u8) -> bool {
    b"+-*/<>=~!@#%^&|`?".contains(&byte)
}

fn finished<'a>(mut lifted: Lifted<'a>, query: &str, kept: usize) -> Option<Lifted<'a>> {
    lifted.push(query.get(kept..)?);
    (!lifted.constants.is_empty()).then_some(lifted)
}

fn is_vector(text: &str) -> bool {
    text.starts_with('[')
        && text.bytes().all(|byte| byte.is_ascii_digit() || b"[]+-.,eE \t\n\r".contains(&byte))
}

impl Session {
    /// Runs a statement with its constants as parameters. `false`, and nothing has been sent, if it has to go the usual way.
    pub(super) async fn run_lifted(&mut self, conn: &mut Connection, query: &str) -> Result<bool> {
        let Some(lifted) = lift(query) else { return Ok(false) };
        let declared: Vec<_> = lifted.constants.iter().map(|constant| constant.declared()).collect();
        let types: Vec<u32> = declared.iter().map(|ty| ty.as_ref().map_or(0, oids::type_oid)).collect();
        if self.info.known.lock().is_refused(&lifted.text) {
            return Ok(false);
        }
        let analyzed = match self.recall(conn, &lifted.text, &types).await? {
            Some(analyzed) => analyzed,
            None => match self.analyze_lifted(conn, &lifted, &declared).await? {
                Some(analyzed) => {
                    self.remember(&lifted.text, &types, &analyzed);
                    analyzed
                }
                None => {
                    self.info.known.lock().refuse(lifted.text);
                    return Ok(false);
                }
            },
        };
        let style = self.settings.input_style(self.info.transaction_start_us());
        let values = analyzed.params.iter().zip(&lifted.constants);
        let values = values.map(|(ty, constant)| value_from_text(ty, constant.text(), &style));
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

    /// Resolves a statement that has its constants as parameters. `None` if it is not what it was with them, or means something else
    /// each time.
    async fn analyze_lifted(
        &mut self,
        conn: &mut Connection,
        lifted: &Lifted<'_>,
        declared: &[Option<SqlType>],
    ) -> Result<Option<Analyzed>> {
        let Some(analyzed) = self.analyze_planned(conn, &lifted.text, declared).await? else {
            return Ok(None);
        };
        if lifted.is_shared() {
            let declared: Vec<_> = lifted.places.iter().map(|place| declared[*place].clone()).collect();
            let apart = self.analyze_planned(conn, &lifted.apart, &declared).await?;
            let is_same = |(ty, place): (&SqlType, &usize)| analyzed.params.get(*place) == Some(ty);
            if !apart.is_some_and(|apart| apart.params.iter().zip(&lifted.places).all(is_same)) {
                return Ok(None);
            }
        }
        let fits = |(ty, constant): (&SqlType, &Constant<'_>)| match constant {
            Constant::Vector(_) => matches!(ty, SqlType::Vector(_) | SqlType::Halfvec(_)),
            // Names behind oids are looked up in the catalog.
            // A numeric of some digits is found by an index as a constant only.
            Constant::Text(_) => !shows_name(ty) && !matches!(ty, SqlType::Numeric(_)),
            Constant::Number(_) => matches!(ty, SqlType::Int4 | SqlType::Int8),
        };
        let fits = analyzed.params.iter().zip(&lifted.constants).all(fits) && analyzed.is_settled();
        Ok(fits.then_some(analyzed))
    }
}

impl Session {
    /// Resolves a single statement that is planned; `None` if it is none, or wrong.
    async fn analyze_planned(
        &mut self,
        conn: &mut Connection,
        text: &str,
        declared: &[Option<SqlType>],
    ) -> Result<Option<Analyzed>> {
        let Ok(mut statements) = statement::parse(text) else { return Ok(None) };
        let (Some(parsed), true) = (statements.pop(), statements.is_empty()) else { return Ok(None) };
        if !matches!(parsed.statement, Statement::Plannable(_)) {
            return Ok(None);
        }
        self.ensure_transaction()?;
        match Box::pin(self.analyze(conn, Arc::new(parsed), declared)).await {
            Ok(analyzed) => Ok(Some(analyzed)),
            Err(error) if ends_session(&error) || error.state() == SqlState::QUERY_CANCELED => Err(error),
            Err(_) => Ok(None),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::Constant::{Number, Text, Vector};
    use super::*;

    #[test]
    fn vectors_after_distance_operators_are_taken_out() {
        let lifted =
            lift(" select id from t where b <-> '[1, -2.5e3]' < 3 order by c <#>\n'[7]'::vector limit 5; ")
                .unwrap();
        assert_eq!(lifted.text, " select id from t where b <-> $1 < $2 order by c <#>\n$3::vector limit 5; ");
        assert_eq!(lifted.constants, [Vector("[1, -2.5e3]"), Number("3"), Vector("[7]")]);
        let same = lift("select id from t where v <-> '[1]' < 3 order by v <-> '[1]', w <-> '[2]'").unwrap();
        assert_eq!(same.text, "select id from t where v <-> $1 < $2 order by v <-> $1, w <-> $3");
        assert_eq!(same.constants, [Vector("[1]"), Number("3"), Vector("[2]")]);
        assert_eq!(same.apart, "select id from t where v <-> $1 < $2 order by v <-> $3, w <-> $4");
        assert_eq!((same.places.as_slice(), same.is_shared()), ([0, 1, 0, 2].as_slice(), true));
    }

    #[test]
    fn constants_after_comparisons_are_taken_out() {
        let lifted =
            lift("SELECT a1 = 1, \"b = 2\" FROM t3 WHERE c>=30 AND d<>'x y' AND e = 'é' LIMIT 4").unwrap();
        assert_eq!(lifted.text, "SELECT a1 = $1, \"b = 2\" FROM t3 WHERE c>=$2 AND d<>$3 AND e = $4 LIMIT 4");
        assert_eq!(lifted.constants, [Number("1"), Number("30"), Text("x y"), Text("é")]);
        let declared: Vec<_> = [Number("2147483647"), Number("2147483648"), Text("1")]
            .iter()
            .map(|constant| constant.declared())
            .collect();
        assert_eq!(declared, [Some(SqlType::Int4), Some(SqlType::Int8), None]);
    }

    #[test]
    fn lists_and_ranges_are_taken_out() {
        let lifted =
            lift("select 1 from t where a in (1, 2,3) and b NOT IN('x' , 'y') and c between 4 and 5 and 6")
                .unwrap();
        assert_eq!(
            lifted.text,
            "select 1 from t where a in ($1, $2,$3) and b NOT IN($4 , $5) and c between $6 and $7 and 6"
        );
        assert_eq!(lifted.constants.len(), 7);
        let mixed = lift("select 1 from t where a in (1, b, 2, -3, 4)").unwrap();
        assert_eq!(mixed.text, "select 1 from t where a in ($1, b, 2, -3, 4)");
        let long = (0..=LISTED_MAX).map(|item| item.to_string()).collect::<Vec<_>>().join(", ");
        let text = format!("select 1 from t where a in ({long}) and b = 5 and c in (6)");
        assert_eq!(
            lift(&text).unwrap().text,
            format!("select 1 from t where a in ({long}) and b = $1 and c in ($2)")
        );
        let many =
            format!("select {}", (0..40).map(|item| format!("a = {item}")).collect::<Vec<_>>().join(", "));
        assert_eq!(lift(&many), None);
        let frame =
            "select sum(a) over (order by a rows between 1 preceding and 2 following) from t where b = 7";
        assert_eq!(lift(frame).unwrap().text, frame.replace("= 7", "= $1"));
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
            "select a -> 'b', a ->> 'c', a @> 'd', a || 'e' from t where b",
            "select a = 1.5, b = 1e3, c = 0x1f, d = -1, e =-1, f = date '2000-01-01' from t",
            "select a = 99999999999999999999 from t",
            "select a = E'b', c = 'it''s' from t limit 3 offset 1",
            "select a = 'foo'\n'bar'",
            "select a = 1 'bar'",
            "select a in (select 1), in 1, in, 2, between and 3, a not in ((1)) from t order by 1",
            "select f(1, 2), (3, 4), a between symmetric 1 and 2, a between b and 3 from t limit 5",
        ] {
            assert_eq!(lift(query), None, "{query}");
        }
    }
}
