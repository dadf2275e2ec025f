//! VALUES: what its literals are cast to, so that every row of a column says the same.

use super::prepare::{bit_of_any_length, call, cast};
use crate::functions::EVERY_DIGIT;
use datafusion::sql::sqlparser::ast::*;

/// A column of VALUES that is cast in one row is cast in every row whose value is a plain literal.
pub(super) fn cast_like_neighbours(values: &mut Values) {
    let width = values.rows.first().map_or(0, |row| row.content.len());
    for column in 0..width {
        let ty = values.rows.iter().find_map(|row| match row.content.get(column) {
            // Without its modifier, which is of the one value.
            Some(Expr::Cast { data_type, .. }) => Some(match data_type {
                DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => {
                    DataType::Numeric(ExactNumberInfo::None)
                }
                DataType::Varchar(_) | DataType::CharacterVarying(_) => DataType::Varchar(None),
                DataType::Time(_, zone) => DataType::Time(None, *zone),
                DataType::Timestamp(_, zone) => DataType::Timestamp(None, *zone),
                DataType::Interval { .. } => DataType::Interval { fields: None, precision: None },
                other => other.clone(),
            }),
            Some(Expr::Value(ValueWithSpan {
                value: Value::SingleQuotedByteStringLiteral(_) | Value::HexStringLiteral(_),
                ..
            })) => Some(bit_of_any_length()),
            _ => None,
        });
        let Some(ty) = ty else { continue };
        let is_time = matches!(ty, DataType::Time(..) | DataType::Timestamp(..) | DataType::Interval { .. });
        let keeps_all = is_time || matches!(ty, DataType::Varchar(None));
        let mut literals = false;
        for row in &mut values.rows {
            if let Some(expr @ Expr::Value(_)) = row.content.get_mut(column) {
                *expr = cast(expr.clone(), ty.clone());
                literals = true;
            }
        }
        // Beside a varchar of any length, one of a length is of any length too; so it is with the digits of seconds.
        if keeps_all && (literals || differ(values, column)) {
            let items = values.rows.iter_mut().filter_map(|row| row.content.get_mut(column));
            items.for_each(|item| {
                *item = match is_time {
                    true => call(EVERY_DIGIT, vec![item.clone()]),
                    false => cast(item.clone(), ty.clone()),
                }
            });
        }
    }
}

/// Whether the rows' casts are to several types.
fn differ(values: &Values, column: usize) -> bool {
    let mut types = values.rows.iter().map(|row| match row.content.get(column) {
        Some(Expr::Cast { data_type, .. }) => Some(data_type),
        _ => None,
    });
    let first = types.next();
    types.any(|ty| Some(ty) != first)
}
