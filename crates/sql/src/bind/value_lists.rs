//! VALUES: what its literals are cast to, so that every row of a column says the same.

use super::prepare::{bit_of_any_length, cast};
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
                other => other.clone(),
            }),
            Some(Expr::Value(ValueWithSpan {
                value: Value::SingleQuotedByteStringLiteral(_) | Value::HexStringLiteral(_),
                ..
            })) => Some(bit_of_any_length()),
            _ => None,
        });
        let Some(ty) = ty else { continue };
        let of_any_length = matches!(ty, DataType::Varchar(None));
        let mut literals = false;
        for row in &mut values.rows {
            if let Some(expr @ Expr::Value(_)) = row.content.get_mut(column) {
                *expr = cast(expr.clone(), ty.clone());
                literals = true;
            }
        }
        // Beside a varchar of any length, one of a length is of any length too.
        if of_any_length && literals {
            let items = values.rows.iter_mut().filter_map(|row| row.content.get_mut(column));
            items.for_each(|item| *item = cast(item.clone(), ty.clone()));
        }
    }
}
