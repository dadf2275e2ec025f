//! Lateral joins and correlated subqueries against brute force.
#![allow(clippy::unwrap_used)] // tests

use crate::testing::{Docs, Fixture};
use quiver_index::Metric;

fn fixture() -> (Fixture, Docs, Docs) {
    let (mut fixture, docs, queries) = (Fixture::new(), Docs::random(300, 1), Docs::random(12, 2));
    docs.load(&mut fixture, "docs", 2);
    queries.load(&mut fixture, "queries", 1);
    (fixture, docs, queries)
}

/// "query|doc" for the k nearest docs of each query.
fn expected(docs: &Docs, queries: &Docs, k: usize, passes: impl Fn(usize, usize) -> bool) -> Vec<String> {
    let mut pairs = vec![];
    for (at, query) in queries.vectors.iter().enumerate() {
        let query = query.as_ref().unwrap();
        let near = docs.nearest(Metric::L2, query, |row| passes(at, row));
        pairs.extend(near.iter().take(k).map(|doc| format!("{at}|{doc}")));
    }
    pairs
}

async fn check(fixture: &Fixture, sql: &str, mut expected: Vec<String>) {
    let plan = fixture.explain(sql).await;
    assert!(plan.contains("LateralApply"), "{sql}\n{plan}");
    let mut found = fixture.rows(sql).await;
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{sql}");
}

#[tokio::test]
async fn each_outer_row_gets_its_own_nearest() {
    let (fixture, docs, queries) = fixture();
    for from in [
        "queries q, LATERAL (SELECT id FROM docs d ORDER BY l2_distance(d.embedding, q.embedding) LIMIT 5) x",
        "queries q CROSS JOIN LATERAL (SELECT d.id FROM docs d ORDER BY l2_distance(d.embedding, q.embedding) LIMIT 5) x",
        "queries q LEFT JOIN LATERAL (SELECT d.id FROM docs d ORDER BY l2_distance(d.embedding, q.embedding) LIMIT 5) x ON true",
    ] {
        let sql = format!("SELECT q.id, x.id FROM {from}");
        check(&fixture, &sql, expected(&docs, &queries, 5, |_, _| true)).await;
    }
}

#[tokio::test]
async fn the_inner_filter_may_read_the_outer_row() {
    let (fixture, docs, queries) = fixture();
    let sql = "SELECT q.id, x.id FROM queries q, LATERAL (SELECT d.id, l2_distance(d.embedding, q.embedding) AS d FROM docs d
        WHERE d.lang = q.lang AND d.size > q.size * 20 ORDER BY d LIMIT 3) x";
    let passes = |query: usize, doc: usize| docs.langs[doc] == queries.langs[query] && doc > query * 20;
    check(&fixture, sql, expected(&docs, &queries, 3, passes)).await;
}

#[tokio::test]
async fn a_left_join_keeps_rows_without_a_match() {
    let (fixture, docs, queries) = fixture();
    let sql = "SELECT q.id, x.id FROM queries q LEFT JOIN LATERAL (SELECT d.id FROM docs d WHERE d.size < q.size - 5
        ORDER BY l2_distance(d.embedding, q.embedding) LIMIT 2) x ON x.id % 2 = 0";
    let mut pairs = vec![];
    for (at, query) in queries.vectors.iter().enumerate() {
        let near = docs.nearest(Metric::L2, query.as_ref().unwrap(), |doc| (doc as i64) < at as i64 - 5);
        let kept: Vec<_> = near.iter().take(2).filter(|doc| *doc % 2 == 0).collect();
        pairs.extend(kept.iter().map(|doc| format!("{at}|{doc}")));
        if kept.is_empty() {
            pairs.push(format!("{at}|NULL"));
        }
    }
    check(&fixture, sql, pairs).await;
}

#[tokio::test]
async fn what_datafusion_can_decorrelate_stays_a_join() {
    let (fixture, _, _) = fixture();
    let sql = "SELECT q.id, x.n FROM queries q, LATERAL (SELECT count(*) AS n FROM docs d WHERE d.size = q.size) x ORDER BY q.id";
    assert!(!fixture.explain(sql).await.contains("LateralApply"));
    assert_eq!(fixture.rows(sql).await[3], "3|1");
}

#[tokio::test]
async fn any_inner_query_will_do() {
    let (fixture, _, queries) = fixture();
    let sql =
        "SELECT q.id, x.n FROM queries q, LATERAL (SELECT count(*) AS n FROM docs d WHERE d.size < q.size) x";
    check(&fixture, sql, (0..queries.vectors.len()).map(|at| format!("{at}|{at}")).collect()).await;
}

#[tokio::test]
async fn an_outer_side_without_rows_runs_nothing() {
    let (fixture, _, _) = fixture();
    let sql = "SELECT q.id, x.id FROM (SELECT * FROM queries WHERE id < 0) q, LATERAL (SELECT id FROM docs d ORDER BY l2_distance(d.embedding, q.embedding) LIMIT 5) x";
    check(&fixture, sql, vec![]).await;
}

#[tokio::test]
async fn filters_on_the_outer_row_come_before_the_inner_query() {
    let (fixture, docs, queries) = fixture();
    let sql = "SELECT q.id, x.id FROM queries q, LATERAL (SELECT d.id FROM docs d ORDER BY l2_distance(d.embedding, q.embedding) LIMIT 4) x
        WHERE q.id IN (2, 5) AND x.id % 2 = 0";
    let pairs = expected(&docs, &queries, 4, |_, _| true);
    let kept = |pair: &String| {
        let (query, doc) = pair.split_once('|').unwrap();
        ["2", "5"].contains(&query) && doc.parse::<usize>().unwrap().is_multiple_of(2)
    };
    check(&fixture, sql, pairs.into_iter().filter(kept).collect()).await;
    let plan = fixture.explain(sql).await;
    assert!(plan.contains("key lookup=queries_id_idx (2 keys)"), "{plan}");
}

#[tokio::test]
async fn a_correlated_scalar_subquery_may_have_a_limit() {
    let (fixture, docs, queries) = fixture();
    let nearest = "(SELECT d.id FROM docs d WHERE d.lang = 'en' ORDER BY l2_distance(d.embedding, q.embedding) LIMIT 1)";
    let pairs = expected(&docs, &queries, 1, |_, doc| docs.langs[doc] == "en");
    check(&fixture, &format!("SELECT q.id, {nearest} AS n FROM queries q"), pairs.clone()).await;
    check(&fixture, &format!("SELECT q.id, {nearest} + 1 - 1 AS n FROM queries q"), pairs.clone()).await;
    let even = |pair: &String| pair.split_once('|').unwrap().1.parse::<usize>().unwrap().is_multiple_of(2);
    let wanted =
        pairs.into_iter().filter(even).map(|pair| pair.split_once('|').unwrap().0.to_owned()).collect();
    check(&fixture, &format!("SELECT q.id FROM queries q WHERE {nearest} % 2 = 0"), wanted).await;
    let none = "SELECT q.id, (SELECT d.id FROM docs d WHERE d.size < q.size - 100 ORDER BY d.id LIMIT 1) AS n FROM queries q WHERE q.id = 3";
    check(&fixture, none, vec!["3|NULL".to_owned()]).await;
}

#[tokio::test]
async fn the_inner_query_may_have_correlated_subqueries_of_its_own() {
    let (fixture, docs, queries) = fixture();
    let sql = "SELECT q.id, x.id FROM queries q, LATERAL (SELECT d.id FROM docs d
        WHERE EXISTS (SELECT 1 FROM queries o WHERE o.lang = d.lang AND o.id = 1) ORDER BY l2_distance(d.embedding, q.embedding) LIMIT 3) x";
    let pairs = expected(&docs, &queries, 3, |_, doc| docs.langs[doc] == queries.langs[1]);
    check(&fixture, sql, pairs).await;
}
