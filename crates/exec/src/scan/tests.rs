//! Scans, key look-ups, pruning, row references, the memory limit.
#![allow(clippy::unwrap_used)] // tests

use crate::testing::{Docs, Fixture};
use crate::{CollectionTable, ROW_COLUMN, SHARD_COLUMN};
use quiver_base::MemoryBudget;

const ROWS: usize = 500;

fn fixture() -> Fixture {
    let mut fixture = Fixture::new();
    Docs::random(ROWS, 3).load(&mut fixture, "docs", 3);
    fixture
}

#[tokio::test]
async fn filters_run_inside_the_scan() {
    let fixture = fixture();
    let sql =
        "SELECT count(*), min(size), max(size) FROM docs WHERE lang = 'de' AND size BETWEEN 100 AND 199";
    let plan = fixture.explain(sql).await;
    assert!(plan.contains("filter=") && !plan.contains("FilterExec"), "{plan}");
    let langs = Docs::random(ROWS, 3).langs;
    let expected: Vec<usize> = (100..200).filter(|row| langs[*row] == "de").collect();
    let expected = format!("{}|{}|{}", expected.len(), expected[0], expected.last().unwrap());
    assert_eq!(fixture.rows(sql).await, [expected]);
}

#[tokio::test]
async fn a_filter_on_a_scalar_subquery_is_pushed_too() {
    let fixture = fixture();
    let sql = "SELECT id FROM docs WHERE size = (SELECT max(size) FROM docs)";
    let plan = fixture.explain(sql).await;
    assert!(!plan.contains("FilterExec"), "{plan}");
    assert_eq!(fixture.rows(sql).await, [(ROWS - 1).to_string()]);
}

#[tokio::test]
async fn volatile_filters_stay_outside() {
    let fixture = fixture();
    let plan = fixture.explain("SELECT id FROM docs WHERE random() < 0.5").await;
    assert!(plan.contains("FilterExec"), "{plan}");
}

#[tokio::test]
async fn keys_are_looked_up() {
    let fixture = fixture();
    for (filter, keys, expected) in [
        ("id = 7", 1, vec!["7"]),
        ("7 = id", 1, vec!["7"]),
        ("id IN (1, 400, 9999, 1)", 3, vec!["1", "400"]),
        ("id = 3 OR id = 4", 2, vec!["3", "4"]),
        ("id IN (1, 2, 3) AND size > 1", 3, vec!["2", "3"]),
        ("id = -1", 1, vec![]),
        ("id IN (5, NULL)", 0, vec!["5"]),
    ] {
        let sql = format!("SELECT id FROM docs WHERE {filter}");
        let plan = fixture.explain(&sql).await;
        if keys > 0 {
            assert!(plan.contains(&format!("key lookup=docs_id_idx ({keys} keys)")), "{filter}: {plan}");
        }
        let mut rows = fixture.rows(&sql).await;
        rows.sort();
        assert_eq!(rows, expected, "{filter}");
    }
    for filter in ["id > 7", "id = 7 OR size = 3", "id <> 7", "id = size"] {
        let plan = fixture.explain(&format!("SELECT id FROM docs WHERE {filter}")).await;
        assert!(!plan.contains("key lookup"), "{filter}: {plan}");
    }
}

#[tokio::test]
async fn counting_reads_nothing_and_limits_stop() {
    let fixture = fixture();
    assert_eq!(fixture.rows("SELECT count(*) FROM docs").await, [ROWS.to_string()]);
    assert!(fixture.explain("SELECT count(*) FROM docs").await.contains("columns=[]"));
    assert_eq!(fixture.rows("SELECT id FROM docs LIMIT 7").await.len(), 7);
    assert_eq!(fixture.rows("SELECT id FROM docs WHERE lang = 'en' LIMIT 7 OFFSET 3").await.len(), 7);
}

#[tokio::test]
async fn row_references_name_shard_and_row() {
    let fixture = fixture();
    let table = fixture.context.table_provider("docs").await.unwrap();
    let table = table.downcast_ref::<CollectionTable>().unwrap().table.clone();
    fixture.context.register_table("target", CollectionTable::new(table.clone(), true)).unwrap();
    let sql = format!("SELECT {ROW_COLUMN}, {SHARD_COLUMN}, id FROM target WHERE id = 5");
    // Row 5 went to the third shard, as its 6th row.
    assert_eq!(fixture.rows(&sql).await, [format!("6|{}|5", table.shards[2])]);
    let sql = format!("SELECT count(DISTINCT {SHARD_COLUMN}) FROM target WHERE {ROW_COLUMN} > 100");
    assert_eq!(fixture.rows(&sql).await, ["3"]);
    let sql = format!(
        "SELECT {ROW_COLUMN}, id FROM target ORDER BY l2_distance(embedding, '[0,0,0,0,0,0,0,0]') LIMIT 3"
    );
    assert!(fixture.explain(&sql).await.contains("VectorTopK"));
    for row in fixture.rows(&sql).await {
        let (row_id, id) = row.split_once('|').unwrap();
        assert_eq!(row_id.parse::<u64>().unwrap(), id.parse::<u64>().unwrap() + 1);
    }
}

#[tokio::test]
async fn a_query_past_the_memory_limit_is_refused() {
    let mut fixture = Fixture::with_memory(MemoryBudget::new(200_000));
    Docs::random(4000, 1).load(&mut fixture, "docs", 1);
    let error = fixture.error("SELECT id, embedding FROM docs ORDER BY lang, embedding").await;
    assert_eq!(error.state().code(), "53200", "{error}");
    assert_eq!(fixture.rows("SELECT count(*) FROM docs").await, ["4000"]);
}

#[tokio::test]
async fn statistics_prune_parts_of_sealed_segments() {
    let mut fixture = Fixture::new();
    Docs::random(1000, 4).load(&mut fixture, "docs", 1);
    fixture.seal();
    for (filter, rows, parts) in [
        ("size >= 990", 10, 1),
        ("size BETWEEN 130 AND 131", 2, 1),
        ("size < 200", 200, 2),
        ("size IN (1, 500)", 2, 2),
        ("size > 5000", 0, 0),
        ("lang IS NULL", 0, 0),
        ("size + 1 = 4", 1, 8),
    ] {
        let sql = format!("SELECT lang FROM docs WHERE {filter}");
        assert_eq!(fixture.rows(&sql).await.len(), rows, "{filter}");
        let plan = fixture.explain_analyze(&sql).await;
        assert!(plan.contains(&format!("parts_scanned={parts}")), "{filter}: {plan}");
    }
    assert_eq!(fixture.rows("SELECT size FROM docs WHERE id = 17").await, ["17"]);
    assert_eq!(fixture.rows("SELECT count(*) FROM docs").await, ["1000"]);
}
