//! Searches against brute force, over memory and over sealed segments.
#![allow(clippy::unwrap_used)] // tests

use crate::testing::{DIM, Docs, Fixture};
use crate::vector::format;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::common::{ParamValues, ScalarValue};
use quiver_index::Metric;

const ROWS: usize = 600;

fn query(seed: u32) -> Vec<f32> {
    (0..DIM).map(|at| ((seed * 31 + at as u32 * 17) % 20) as f32 / 10.0 - 1.0).collect()
}

fn ids(rows: &[String]) -> Vec<usize> {
    rows.iter().map(|row| row.split('|').next().unwrap().parse().unwrap()).collect()
}

fn docs(shards: usize) -> (Fixture, Docs) {
    let (mut fixture, docs) = (Fixture::new(), Docs::random(ROWS, 7));
    docs.load(&mut fixture, "docs", shards);
    (fixture, docs)
}

/// The query must be answered by a search, with the ids that brute force finds.
async fn check(fixture: &Fixture, sql: &str, expected: &[usize]) {
    let plan = fixture.explain(sql).await;
    assert!(plan.contains("VectorTopK"), "{sql}\n{plan}");
    assert_eq!(ids(&fixture.rows(sql).await), expected, "{sql}\n{plan}");
}

#[tokio::test]
async fn every_metric_finds_what_brute_force_finds() {
    for shards in [1, 3] {
        let (fixture, docs) = docs(shards);
        for (function, metric) in [
            ("l2_distance", Metric::L2),
            ("vector_negative_inner_product", Metric::InnerProduct),
            ("cosine_distance", Metric::Cosine),
            ("l1_distance", Metric::L1),
        ] {
            for seed in 0..5 {
                let query = query(seed);
                let near = docs.nearest(metric, &query, |_| true);
                let text = format(&query);
                let sql = format!("SELECT id FROM docs ORDER BY {function}(embedding, '{text}') LIMIT 10");
                check(&fixture, &sql, &near[..10]).await;
                let sql =
                    format!("SELECT id FROM docs ORDER BY {function}('{text}', embedding) LIMIT 3 OFFSET 4");
                check(&fixture, &sql, &near[4..7]).await;
            }
        }
    }
}

#[tokio::test]
async fn filters_of_any_share_leave_k_rows() {
    let (fixture, docs) = docs(2);
    let query = query(3);
    let text = format(&query);
    for (filter, passes) in [
        ("lang = 'en'", &(|row: usize| docs.langs[row] == "en") as &dyn Fn(usize) -> bool),
        ("lang <> 'en' AND size % 2 = 0", &|row| docs.langs[row] != "en" && row.is_multiple_of(2)),
        ("size < 5", &|row| row < 5),
        ("size = 17", &|row| row == 17),
        ("size < 0", &|_| false),
        ("embedding IS NOT NULL", &|row| docs.vectors[row].is_some()),
        ("size > (SELECT max(id) - 20 FROM docs)", &|row| row > ROWS - 1 - 20),
    ] {
        let near = docs.nearest(Metric::L2, &query, passes);
        let sql =
            format!("SELECT id FROM docs WHERE {filter} ORDER BY l2_distance(embedding, '{text}') LIMIT 20");
        check(&fixture, &sql, &near[..near.len().min(20)]).await;
    }
}

#[tokio::test]
async fn the_distance_can_be_selected_named_and_turned_round() {
    let (fixture, docs) = docs(2);
    let query = query(1);
    let text = format(&query);
    let near = docs.nearest(Metric::Cosine, &query, |row| docs.vectors[row].is_some());
    for sql in [
        "SELECT id, cosine_distance(embedding, $q) AS d FROM docs WHERE embedding IS NOT NULL ORDER BY d LIMIT 5",
        "SELECT id, 1 - cosine_distance(embedding, $q) AS similarity FROM docs ORDER BY cosine_distance(embedding, $q) LIMIT 5",
        "SELECT id FROM (SELECT id, cosine_distance(embedding, $q) AS d FROM docs) x ORDER BY d LIMIT 5",
        "WITH x AS (SELECT id, lang, embedding e FROM docs) SELECT id FROM x ORDER BY cosine_distance(e, $q) LIMIT 5",
        "SELECT x.id, lang FROM (SELECT id FROM docs ORDER BY cosine_distance(embedding, $q) LIMIT 5) x JOIN docs USING (id) ORDER BY array_position(ARRAY[$ids], x.id)",
        "SELECT id FROM docs ORDER BY cosine_distance(embedding, (SELECT $q)) LIMIT 5",
        "SELECT id FROM docs ORDER BY cosine_distance(embedding, $q) * 2 + 1, id LIMIT 5",
    ] {
        let list: Vec<String> = near[..5].iter().map(|id| format!("{id}")).collect();
        let sql = sql.replace("$q", &format!("'{text}'")).replace("$ids", &list.join(","));
        check(&fixture, &sql, &near[..5]).await;
    }
    let sql = format!("SELECT id, cosine_distance(embedding, '{text}') AS d FROM docs ORDER BY d LIMIT 5");
    for (row, id) in fixture.rows(&sql).await.iter().zip(&near) {
        let expected = Metric::Cosine.distance_between(docs.vectors[*id].as_ref().unwrap(), &query);
        let shown: f64 = row.split('|').nth(1).unwrap().parse().unwrap();
        assert_eq!(shown, expected);
    }
}

#[tokio::test]
async fn similarity_descending_is_a_search_too() {
    let (fixture, docs) = docs(2);
    let query = query(2);
    let nulls: Vec<usize> = (0..ROWS).filter(|row| docs.vectors[*row].is_none()).collect();
    for key in [
        "1 - cosine_distance(embedding, $q)",
        "-cosine_distance(embedding, $q)",
        "1 / (1 + cosine_distance($q, embedding))",
    ] {
        let key = key.replace("$q", &format!("'{}'", format(&query)));
        let sql = format!("SELECT id, {key} AS s FROM docs ORDER BY s DESC NULLS LAST LIMIT 7");
        check(&fixture, &sql, &docs.nearest(Metric::Cosine, &query, |_| true)[..7]).await;
        // NULLs come first when nothing is said, in any order among themselves.
        let k = nulls.len() + 5;
        let sql = format!("SELECT id, {key} AS s FROM docs ORDER BY s DESC LIMIT {k}");
        assert!(fixture.explain(&sql).await.contains("VectorTopK"), "{sql}");
        let rows = fixture.rows(&sql).await;
        let mut first = ids(&rows[..nulls.len()]);
        first.sort_unstable();
        assert_eq!(first, nulls, "{sql}");
        assert_eq!(ids(&rows[nulls.len()..]), docs.nearest(Metric::Cosine, &query, |_| true)[..5], "{sql}");
        let sql = format!("SELECT id, {key} AS s FROM docs WHERE lang = 'en' ORDER BY s DESC, id LIMIT 3");
        let nulls: Vec<usize> = nulls.iter().copied().filter(|row| docs.langs[*row] == "en").collect();
        check(&fixture, &sql, &nulls[..3]).await;
        let sql =
            format!("SELECT id, {key} AS s FROM docs WHERE embedding IS NOT NULL ORDER BY s DESC LIMIT 3");
        check(&fixture, &sql, &docs.nearest(Metric::Cosine, &query, |_| true)[..3]).await;
    }
}

#[tokio::test]
async fn a_bound_on_the_distance_needs_no_filter() {
    let (fixture, docs) = docs(2);
    let query = query(4);
    let text = format(&query);
    let near = docs.nearest(Metric::L2, &query, |row| docs.langs[row] == "en");
    let distance = |row: usize| Metric::L2.distance_between(docs.vectors[row].as_ref().unwrap(), &query);
    for bound in [0.0, distance(near[3]), distance(near[12]) + 1e-6, 100.0] {
        for comparison in [
            format!("l2_distance(embedding, '{text}') <= {bound:?}::double"),
            format!("{bound:?}::double >= l2_distance(embedding, '{text}')"),
            format!("1 - l2_distance(embedding, '{text}') >= 1 - {bound:?}::double"),
        ] {
            let sql = format!(
                "SELECT id FROM docs WHERE lang = 'en' AND {comparison} ORDER BY l2_distance(embedding, '{text}') LIMIT 10"
            );
            let expected: Vec<usize> =
                near.iter().copied().take(10).filter(|row| distance(*row) <= bound).collect();
            // The turned-round form rounds differently at the bound itself.
            if comparison.starts_with('1') && bound != 0.0 && bound != 100.0 {
                assert!(fixture.rows(&sql).await.len().abs_diff(expected.len()) <= 1, "{sql}");
            } else {
                check(&fixture, &sql, &expected).await;
            }
            assert!(fixture.explain(&sql).await.contains("within="), "{sql}");
        }
    }
    let sql = format!(
        "SELECT id FROM docs WHERE l2_distance(embedding, '{text}') > 1 ORDER BY l2_distance(embedding, '{text}') LIMIT 4"
    );
    let expected: Vec<usize> =
        docs.nearest(Metric::L2, &query, |row| docs.vectors[row].is_some() && distance(row) > 1.0);
    check(&fixture, &sql, &expected[..4]).await;
    assert!(!fixture.explain(&sql).await.contains("within="));
}

#[tokio::test]
async fn the_query_vector_can_come_from_a_row() {
    let (fixture, docs) = docs(2);
    let id = (0..ROWS).find(|id| docs.vectors[*id].is_some()).unwrap();
    let near = docs.nearest(Metric::L2, docs.vectors[id].as_ref().unwrap(), |row| row != id);
    let sql = format!(
        "SELECT id FROM docs WHERE id <> {id} ORDER BY l2_distance(embedding, (SELECT embedding FROM docs WHERE id = {id})) LIMIT 5"
    );
    check(&fixture, &sql, &near[..5]).await;
    assert!(fixture.explain(&sql).await.contains("key lookup=docs_id_idx (1 keys)"));
}

#[tokio::test]
async fn null_queries_and_null_vectors_come_out_with_null_distances() {
    let (fixture, docs) = docs(2);
    let sql = "SELECT id, l2_distance(embedding, NULL) AS d FROM docs ORDER BY d LIMIT 7";
    let rows = fixture.rows(sql).await;
    assert_eq!(rows.len(), 7);
    assert!(rows.iter().all(|row| row.ends_with("|NULL")), "{rows:?}");
    let sql = "SELECT id, l2_distance(embedding, (SELECT embedding FROM docs WHERE id = -1)) AS d FROM docs WHERE lang = 'de' ORDER BY d LIMIT 7";
    let rows = fixture.rows(sql).await;
    assert_eq!(rows.len(), 7);
    assert!(ids(&rows).iter().all(|id| docs.langs[*id] == "de"));
    let query = format(&query(0));
    let sql =
        format!("SELECT id, l2_distance(embedding, '{query}') AS d FROM docs ORDER BY d LIMIT {}", ROWS * 2);
    let rows = fixture.rows(&sql).await;
    assert_eq!(rows.len(), ROWS, "a limit above the row count returns every row");
    let nulls = docs.vectors.iter().filter(|vector| vector.is_none()).count();
    assert!(rows[ROWS - nulls..].iter().all(|row| row.ends_with("|NULL")));
}

#[tokio::test]
async fn further_sort_keys_decide_among_equals() {
    let mut fixture = Fixture::new();
    let vectors = (0..100).map(|row| Some(vec![(row % 4) as f32; DIM])).collect();
    let docs = Docs { vectors, langs: vec!["en"; 100] };
    docs.load(&mut fixture, "docs", 2);
    let zero = format(&[0.0; DIM]);
    let sql = format!("SELECT id FROM docs ORDER BY l2_distance(embedding, '{zero}'), id DESC LIMIT 30");
    let mut expected: Vec<usize> = (0..100).rev().filter(|id| id % 4 == 0).collect();
    expected.extend((0..100).rev().filter(|id| id % 4 == 1));
    check(&fixture, &sql, &expected[..30]).await;
}

#[tokio::test]
async fn branches_of_a_union_search_each() {
    let (fixture, docs) = docs(2);
    let (a, b) = (query(1), query(2));
    let sql = format!(
        "(SELECT id FROM docs ORDER BY l2_distance(embedding, '{}') LIMIT 3) UNION ALL (SELECT id FROM docs WHERE lang = 'fr' ORDER BY l1_distance(embedding, '{}') LIMIT 2)",
        format(&a),
        format(&b)
    );
    let plan = fixture.explain(&sql).await;
    assert_eq!(plan.matches("VectorTopK").count(), 2, "{plan}");
    let mut found = ids(&fixture.rows(&sql).await);
    let mut expected = docs.nearest(Metric::L2, &a, |_| true)[..3].to_vec();
    expected.extend(&docs.nearest(Metric::L1, &b, |row| docs.langs[row] == "fr")[..2]);
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn only_wanted_columns_are_fetched() {
    let (fixture, _) = docs(1);
    let sql = format!("SELECT id FROM docs ORDER BY l2_distance(embedding, '{}') LIMIT 3", format(&query(0)));
    let plan = fixture.explain(&sql).await;
    assert!(plan.contains("output=[id]"), "{plan}");
    assert!(!plan.contains("SortExec"), "{plan}");
}

#[tokio::test]
async fn explain_says_how_it_searched() {
    let (fixture, _) = docs(1);
    let sql = format!(
        "SELECT id FROM docs WHERE lang = 'en' ORDER BY l2_distance(embedding, '{}') LIMIT 3",
        format(&query(0))
    );
    let plan = fixture.explain(&sql).await;
    assert!(
        plan.contains("VectorTopK: docs index=docs_embedding_idx, ef_search=40, metric=l2, k=3, filter="),
        "{plan}"
    );
    let plan = fixture.explain_analyze(&sql).await;
    assert!(plan.contains("memtable_rows=") && plan.contains("rows_passed=360"), "{plan}");
    fixture.statement.search.lock().use_index = false;
    assert!(fixture.explain(&sql).await.contains("VectorTopK: docs exact"));
}

#[tokio::test]
async fn wrong_dimensions_are_refused_as_pgvector_does() {
    let (fixture, _) = docs(1);
    let error = fixture.error("SELECT id FROM docs ORDER BY l2_distance(embedding, '[1,2]') LIMIT 3").await;
    assert_eq!(error.state().code(), "22000");
    assert_eq!(error.message(), "different vector dimensions 8 and 2");
    let error = fixture.error("SELECT id FROM docs ORDER BY l2_distance(embedding, '[1,x]') LIMIT 3").await;
    assert_eq!(error.state().code(), "22P02");
}

#[tokio::test]
async fn a_cancelled_statement_stops() {
    let (fixture, _) = docs(1);
    fixture.statement.cancelled.store(true, std::sync::atomic::Ordering::Relaxed);
    for sql in ["SELECT id FROM docs ORDER BY l2_distance(embedding, NULL) LIMIT 3", "SELECT lang FROM docs"]
    {
        assert_eq!(fixture.error(sql).await.state().code(), "57014", "{sql}");
    }
}

#[tokio::test]
async fn sealed_segments_answer_too_and_filters_leave_k_rows() {
    let (mut fixture, docs) = (Fixture::new(), Docs::random(3000, 5));
    docs.load(&mut fixture, "docs", 1);
    fixture.seal();
    let (mut found, mut wanted) = (0, 0);
    for (filter, passes) in [
        ("true", &(|_| true) as &dyn Fn(usize) -> bool),
        ("lang = 'en'", &|row| docs.langs[row] == "en"),
        ("lang = 'de' AND size < 1500", &|row| docs.langs[row] == "de" && row < 1500),
        ("size BETWEEN 100 AND 139", &|row| (100..140).contains(&row)),
        ("size % 300 = 0", &|row| row % 300 == 0),
    ] {
        for seed in 0..8 {
            let query = query(seed);
            let sql = format!(
                "SELECT id FROM docs WHERE {filter} ORDER BY l2_distance(embedding, '{}') LIMIT 10",
                format(&query)
            );
            let near = docs.nearest(Metric::L2, &query, passes);
            let rows = ids(&fixture.rows(&sql).await);
            assert_eq!(rows.len(), 10, "{sql}");
            assert!(rows.iter().all(|row| passes(*row)), "{sql}");
            found += rows.iter().filter(|row| near[..10].contains(row)).count();
            wanted += 10;
            fixture.statement.search.lock().use_index = false;
            assert_eq!(ids(&fixture.rows(&sql).await), near[..10], "{sql}, exact");
            fixture.statement.search.lock().use_index = true;
        }
    }
    assert!(found * 100 >= wanted * 95, "recall {found}/{wanted}");
    let plan = fixture
        .explain_analyze("SELECT id FROM docs ORDER BY l2_distance(embedding, '[0,0,0,0,0,0,0,1]') LIMIT 5")
        .await;
    assert!(plan.contains("searched=[") && plan.contains("segments=1"), "{plan}");
}

#[tokio::test]
async fn an_optimised_plan_takes_parameters_later() {
    let (fixture, docs) = docs(1);
    let sql = "SELECT id FROM docs WHERE lang = $1 ORDER BY l2_distance(embedding, $2) LIMIT 5";
    let state = fixture.context.state();
    let plan = state.create_logical_plan(sql).await.unwrap();
    let optimized = state.optimize(&plan).unwrap();
    for seed in 0..3 {
        let query = query(seed);
        let values = vec![ScalarValue::from("de").into(), crate::vector::scalar(&query).into()];
        let filled = optimized.clone().replace_params_with_values(&ParamValues::List(values)).unwrap();
        let planned = state.query_planner().create_physical_plan(&filled, &state).await.unwrap();
        let text = datafusion::physical_plan::displayable(planned.as_ref()).indent(false).to_string();
        assert!(text.contains("VectorTopK"), "{text}");
        let batches = datafusion::physical_plan::collect(planned, state.task_ctx()).await.unwrap();
        let found: Vec<usize> = batches
            .iter()
            .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec())
            .map(|id| id as usize)
            .collect();
        assert_eq!(found, docs.nearest(Metric::L2, &query, |row| docs.langs[row] == "de")[..5]);
    }
}

/// Not a test of anything but a clock: `cargo test -p quiver-exec planning_time -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "prints times"]
async fn planning_time() {
    let (fixture, _) = docs(1);
    let sql = format!(
        "SELECT id, l2_distance(embedding, '{0}') AS d FROM docs WHERE lang = 'en' ORDER BY d LIMIT 5",
        format(&query(1))
    );
    let state = fixture.context.state();
    for _ in 0..3 {
        let mut last = std::time::Instant::now();
        let mut lap = |what: &str| {
            println!("{what}: {:?}", last.elapsed());
            last = std::time::Instant::now();
        };
        let state = state.clone();
        lap("state");
        let plan = state.create_logical_plan(&sql).await.unwrap();
        lap("parse and bind");
        let plan = state.optimize(&plan).unwrap();
        lap("optimise");
        let plan = state.query_planner().create_physical_plan(&plan, &state).await.unwrap();
        lap("plan");
        datafusion::physical_plan::collect(plan, state.task_ctx()).await.unwrap();
        lap("run");
    }
}
