//! Keys that parameters make are looked up in kept plans, whatever is made of them.

use super::*;
use crate::testing::{Docs, Fixture};
use arrow::array::AsArray;
use arrow::datatypes::{Field, Int64Type};
use datafusion::physical_plan::{collect, displayable};

const ROWS: usize = 500;

/// A plan with slots, as a statement keeps it.
struct Kept<'a> {
    fixture: &'a Fixture,
    plan: Arc<dyn ExecutionPlan>,
    slots: Arc<Slots>,
}

impl Kept<'_> {
    async fn of<'a>(fixture: &'a Fixture, filter: &str) -> Kept<'a> {
        let state = fixture.context.state();
        let plan = state.create_logical_plan(&format!("SELECT id FROM docs WHERE {filter}")).await.unwrap();
        let slots = Arc::new(Slots::default());
        let plan = with_slots(state.optimize(&typed(plan)).unwrap(), &slots, &mut Vec::new()).unwrap();
        let plan = state.query_planner().create_physical_plan(&plan, &state).await.unwrap();
        Kept { fixture, plan, slots }
    }

    fn is_looked_up(&self) -> bool {
        displayable(self.plan.as_ref()).indent(false).to_string().contains("key lookup=docs_id_idx")
    }

    async fn ids(&self, value: impl Into<ScalarValue>) -> DfResult<Vec<i64>> {
        self.slots.fill(vec![value.into()]);
        let plan = reset_plan_states(self.plan.clone())?;
        let rows = collect(plan, self.fixture.context.task_ctx()).await?;
        let ids = rows.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
        Ok(ids.collect())
    }
}

/// Parameters as a statement's analysis leaves them: with types, all of them int8.
fn typed(plan: LogicalPlan) -> LogicalPlan {
    let int8 = Arc::new(Field::new("", DataType::Int64, true));
    let typed = |expr: Expr| match expr {
        Expr::Placeholder(placeholder) => {
            let field = Some(int8.clone());
            Ok(Transformed::yes(Expr::Placeholder(Placeholder { field, ..placeholder })))
        }
        other => Ok(Transformed::no(other)),
    };
    plan.transform_up(|node| node.map_expressions(|expr| expr.transform_up(typed))).unwrap().data
}

#[tokio::test]
async fn keys_are_made_of_parameters() {
    let mut fixture = Fixture::new();
    Docs::random(ROWS, 3).load(&mut fixture, "docs", 3);
    for (filter, value, expected) in [
        ("id = $1", 7, vec![7]),
        ("id = $1 + 1", 7, vec![8]),
        ("abs($1) = id AND size > 3", -7, vec![7]),
        ("id IN (1, $1 * 2)", 7, vec![1, 14]),
        ("id = $1 - 10000", 7, vec![]),
        ("id = CASE WHEN $1 > 5 THEN 1 END", 4, vec![]),
    ] {
        let kept = Kept::of(&fixture, filter).await;
        assert!(kept.is_looked_up(), "{filter}");
        for _ in 0..2 {
            let mut ids = kept.ids(value as i64).await.unwrap();
            ids.sort_unstable();
            assert_eq!(ids, expected, "{filter}");
        }
    }
    let divided = Kept::of(&fixture, "id = 10 / $1").await;
    assert!(divided.ids(0_i64).await.is_err());
    assert_eq!(divided.ids(2_i64).await.unwrap(), [5]);
    // Nothing says here that it is not to be worked out; there a condition without columns does.
    let guarded = Kept::of(&fixture, "id = 10 / $1 AND $1 <> 0").await;
    assert!(!guarded.is_looked_up());
    assert_eq!(guarded.ids(0_i64).await.unwrap(), Vec::<i64>::new());
    assert_eq!(guarded.ids(2_i64).await.unwrap(), [5]);
    assert!(!Kept::of(&fixture, "id = $1 + size").await.is_looked_up());
}
