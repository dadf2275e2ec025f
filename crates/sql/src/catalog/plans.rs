//! quiver.plan_cache: statements whose plans sessions keep, and how often they were of use. Not in pg_class: PostgreSQL has no such view.

use super::context::CatalogContext;
use super::fixed::FixedColumn;
use super::rows::{Cell, Rows};
use super::shared::acts_as_superuser;
use quiver_base::SqlType;
use std::sync::LazyLock;

/// Its columns.
pub(super) static PLAN_CACHE: LazyLock<Vec<FixedColumn>> = LazyLock::new(|| {
    let column = |(name, ty): (&str, SqlType)| FixedColumn { name: name.to_owned(), ty };
    [
        ("pid", SqlType::Int4),
        ("usename", SqlType::Name),
        // NULL for what was sent without being prepared.
        ("name", SqlType::Text),
        ("statement", SqlType::Text),
        // Runs with the kept plan, and with a plan made for the run.
        ("hits", SqlType::Int8),
        ("misses", SqlType::Int8),
    ]
    .map(column)
    .into()
});

/// Its rows: statements of all sessions; their texts for those who may see them.
pub(super) fn plan_cache(context: &CatalogContext, rows: &mut Rows<'_>) {
    let Some(backends) = context.session.backends.upgrade() else { return };
    let is_superuser = acts_as_superuser(context);
    let count = |runs: u64| Cell::from(i64::try_from(runs).unwrap_or(i64::MAX));
    for session in backends.list() {
        let sees = is_superuser || session.user == context.session.user;
        for plan in session.listed_plans() {
            let hidden = || "<insufficient privilege>".to_owned();
            rows.push([
                ("pid", session.pid.into()),
                ("usename", session.user.as_str().into()),
                ("name", plan.name.filter(|_| sees).into()),
                ("statement", if sees { plan.statement } else { hidden() }.into()),
                ("hits", count(plan.counts.kept)),
                ("misses", count(plan.counts.made)),
            ]);
        }
    }
}
