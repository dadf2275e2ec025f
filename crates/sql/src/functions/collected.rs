//! The rows of an aggregate that makes its result of all of them: kept with the keys of its ORDER BY, sorted at the end.

use crate::decode::{canonical_jsonb, put_string};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::Accumulator;
use datafusion::physical_expr::PhysicalSortExpr;
use quiver_base::{Error, Result, SqlState};
use quiver_exec::to_datafusion;
use std::cmp::Ordering;
use std::collections::HashSet;

/// What the result is and what the two arguments of a row are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    /// `[value, …]`; without the NULLs if strict.
    Array { jsonb: bool, strict: bool },
    /// `{key: value, …}`; without the members that are NULL if strict; a key once only if unique.
    Object { jsonb: bool, strict: bool, unique: bool },
    /// Texts that are not NULL, each but the first after its delimiter.
    Text,
    /// The same of bytes.
    Bytes,
}

/// How the keys of an ORDER BY sort.
pub(super) fn sort_options(order: &[PhysicalSortExpr]) -> Vec<SortOptions> {
    order.iter().map(|key| key.options).collect()
}

type Bytes = Option<Vec<u8>>;

#[derive(Debug)]
struct Row {
    first: Bytes,
    second: Bytes,
    keys: Vec<ScalarValue>,
}

/// The rows so far.
#[derive(Debug)]
pub(super) struct Collected {
    shape: Shape,
    /// Of a DISTINCT aggregate: what has come already.
    seen: Option<HashSet<(Bytes, Bytes)>>,
    order: Vec<SortOptions>,
    key_types: Vec<DataType>,
    rows: Vec<Row>,
    size: usize,
}

impl Collected {
    pub(super) fn new(
        shape: Shape,
        distinct: bool,
        order: Vec<SortOptions>,
        key_types: Vec<DataType>,
    ) -> Collected {
        Collected { shape, seen: distinct.then(HashSet::new), order, key_types, rows: Vec::new(), size: 0 }
    }

    fn push(&mut self, row: Row) -> Result<()> {
        let is_skipped = match self.shape {
            // What is NULL is not in the result, but that there was a row is.
            Shape::Array { .. } => false,
            Shape::Object { jsonb, .. } if row.first.is_none() => return Err(no_key(jsonb)),
            Shape::Object { .. } => false,
            Shape::Text | Shape::Bytes => row.first.is_none(),
        };
        if is_skipped {
            return Ok(());
        }
        if let Some(seen) = &mut self.seen
            && !seen.insert((row.first.clone(), row.second.clone()))
        {
            return Ok(());
        }
        let length = |bytes: &Bytes| bytes.as_ref().map_or(0, Vec::len);
        self.size += size_of::<Row>() + length(&row.first) + length(&row.second);
        self.size += row.keys.iter().map(ScalarValue::size).sum::<usize>();
        self.rows.push(row);
        Ok(())
    }

    fn sort(&mut self) {
        let order = &self.order;
        if !order.is_empty() {
            self.rows.sort_by(|a, b| compared(&a.keys, &b.keys, order));
        }
    }

    fn result(&self) -> Result<ScalarValue> {
        Ok(match self.shape {
            Shape::Array { jsonb, strict } => {
                let values = self.rows.iter().filter(|row| !strict || row.first.is_some());
                let values = values.map(|row| text(row.first.as_ref()).to_owned()).collect::<Vec<_>>();
                ScalarValue::Utf8(Some(document(format!("[{}]", values.join(", ")), jsonb)?))
            }
            Shape::Object { jsonb, strict, unique } => {
                let members = self.members(strict, unique)?.join(", ");
                ScalarValue::Utf8(Some(document(format!("{{ {members} }}"), jsonb)?))
            }
            Shape::Text => {
                let joined = String::from_utf8(self.joined());
                ScalarValue::Utf8(Some(joined.map_err(|_| Error::internal("text is UTF-8"))?))
            }
            Shape::Bytes => ScalarValue::Binary(Some(self.joined())),
        })
    }

    fn members(&self, strict: bool, unique: bool) -> Result<Vec<String>> {
        let mut keys = HashSet::new();
        let mut members = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let key = text(row.first.as_ref());
            let mut member = String::new();
            put_string(key, &mut member);
            if unique && !keys.insert(key) {
                let message = match self.shape {
                    Shape::Object { jsonb: true, .. } => "duplicate JSON object key value".to_owned(),
                    _ => format!("duplicate JSON object key value: {member}"),
                };
                return Err(Error::new(SqlState::DUPLICATE_JSON_OBJECT_KEY_VALUE, message));
            }
            if strict && row.second.is_none() {
                continue;
            }
            member.push_str(" : ");
            member.push_str(text(row.second.as_ref()));
            members.push(member);
        }
        Ok(members)
    }

    fn joined(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (at, row) in self.rows.iter().enumerate() {
            let delimiter = row.second.as_ref().filter(|_| at > 0);
            delimiter.into_iter().chain(&row.first).for_each(|part| out.extend_from_slice(part));
        }
        out
    }
}

fn no_key(jsonb: bool) -> Error {
    match jsonb {
        true => Error::new(SqlState::INVALID_PARAMETER_VALUE, "field name must not be null"),
        false => Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, "null value not allowed for object key"),
    }
}

/// JSON as it is written; NULL is null.
fn text(bytes: Option<&Vec<u8>>) -> &str {
    bytes.map_or("null", |bytes| std::str::from_utf8(bytes).unwrap_or("null"))
}

fn document(written: String, jsonb: bool) -> Result<String> {
    if jsonb { canonical_jsonb(&written) } else { Ok(written) }
}

fn compared(a: &[ScalarValue], b: &[ScalarValue], order: &[SortOptions]) -> Ordering {
    let pairs = a.iter().zip(b).zip(order);
    let orders = pairs.map(|((a, b), options)| match (a.is_null(), b.is_null()) {
        (true, true) => Ordering::Equal,
        (true, false) if options.nulls_first => Ordering::Less,
        (false, true) if options.nulls_first => Ordering::Greater,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => {
            let order = a.partial_cmp(b).unwrap_or(Ordering::Equal);
            if options.descending { order.reverse() } else { order }
        }
    });
    orders.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn binary(array: &ArrayRef) -> DfResult<BinaryArray> {
    Ok(arrow::compute::cast(array, &DataType::Binary)?.as_binary::<i32>().clone())
}

fn value(array: &BinaryArray, row: usize) -> Bytes {
    array.is_valid(row).then(|| array.value(row).to_vec())
}

impl Accumulator for Collected {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        // After the arguments come the keys of an ORDER BY.
        let arguments = if matches!(self.shape, Shape::Array { .. }) { 1 } else { 2 };
        let firsts = binary(&values[0])?;
        let seconds = if arguments > 1 { Some(binary(&values[1])?) } else { None };
        for at in 0..firsts.len() {
            let keys = values[arguments..].iter().take(self.order.len());
            let row = Row {
                first: value(&firsts, at),
                second: seconds.as_ref().and_then(|array| value(array, at)),
                keys: keys.map(|array| ScalarValue::try_from_array(array, at)).collect::<DfResult<_>>()?,
            };
            self.push(row).map_err(to_datafusion)?;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        for state in 0..states[0].len() {
            let lists: Vec<ArrayRef> = states.iter().map(|list| list.as_list::<i32>().value(state)).collect();
            let (firsts, seconds) = (binary(&lists[0])?, binary(&lists[1])?);
            for at in 0..firsts.len() {
                let keys = lists[2..].iter().map(|array| ScalarValue::try_from_array(array, at));
                let keys = keys.collect::<DfResult<_>>()?;
                let row = Row { first: value(&firsts, at), second: value(&seconds, at), keys };
                self.push(row).map_err(to_datafusion)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        if self.rows.is_empty() {
            return Ok(match self.shape {
                Shape::Bytes => ScalarValue::Binary(None),
                _ => ScalarValue::Utf8(None),
            });
        }
        self.sort();
        self.result().map_err(to_datafusion)
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        let list = |values: Vec<ScalarValue>, ty: &DataType| {
            ScalarValue::List(ScalarValue::new_list(&values, ty, true))
        };
        let column = |part: fn(&Row) -> &Bytes| {
            list(
                self.rows.iter().map(|row| ScalarValue::Binary(part(row).clone())).collect(),
                &DataType::Binary,
            )
        };
        let mut states = vec![column(|row| &row.first), column(|row| &row.second)];
        for (at, ty) in self.key_types.iter().enumerate() {
            let keys = self.rows.iter().filter_map(|row| row.keys.get(at).cloned());
            states.push(list(keys.collect(), ty));
        }
        Ok(states)
    }

    fn size(&self) -> usize {
        // What a DISTINCT remembers is about as much again.
        size_of::<Self>() + self.size * if self.seen.is_some() { 2 } else { 1 }
    }
}
