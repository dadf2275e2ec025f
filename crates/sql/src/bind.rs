//! From sqlparser's tree to a typed logical plan: names by search_path, types by PostgreSQL's rules, parameters inferred.
//! DataFusion's SqlToRel does the relational part; this folder is what it asks, what it is given, and what is done after it.

mod array_query;
mod calls;
mod cast_kernel;
mod casts;
mod choices;
mod clauses;
mod coerce;
mod composites;
mod conditions;
mod context;
mod errors;
mod exactness;
mod forms;
mod json_aggregates;
mod json_casts;
mod keys;
mod lost_types;
mod missing;
mod modifiers;
mod moments;
mod names;
mod nesting;
mod oids;
mod operators;
mod ordered_sets;
mod orders;
mod overloads;
mod params;
mod prepare;
mod quantified;
mod query;
mod recursive;
mod relations;
mod resolve;
mod reuse;
mod rows;
mod sets;
mod subquery;
mod system_columns;
mod types;
mod typing;
mod unary;
mod unions;
mod unordered;
mod value_lists;
mod views;

pub(crate) use cast_kernel::{
    CastContext, CastStyle, OidLookup, cast_array, out_of_range, to_text as to_text_array,
};
pub(crate) use casts::{can_assign, cast_expr, cast_scalar, literal};
pub(crate) use coerce::coerce_expr;
pub(crate) use context::Binder;
pub(crate) use exactness::check_query;
pub(crate) use modifiers::{is_told, of_expression, origin};
pub(crate) use names::{column_name as column_name_of, folded, shown};
pub(crate) use prepare::{bare_select, query_of};
pub(crate) use query::{BoundQuery, conform, conform_stream};
pub(crate) use relations::{RelationName, find_table, find_view, relation_name};
pub(crate) use resolve::postgresql_name;
pub(crate) use reuse::{KeptPlan, PlanCounts};
pub(crate) use types::{is_integer, is_text, serial, sql_type, without_modifier};
pub(crate) use typing::is_unknown_field;
pub(crate) use views::bare_columns;

use crate::decode::InputStyle;
use crate::encode::OutputStyle;
use chrono_tz::Tz;

impl CastStyle {
    /// For functions whose arguments do not depend on the session.
    pub(crate) fn utc() -> CastStyle {
        CastStyle {
            input: InputStyle { time_zone: Tz::UTC, now_us: 0, date_order: Default::default() },
            output: OutputStyle::default(),
            oids: None,
            session: None,
        }
    }
}
