//! Functions and aggregates give pgvector's answers and errors.
#![allow(clippy::unwrap_used)] // tests

use crate::testing::Fixture;
use arrow::array::{ArrayRef, Int64Array, StringArray};
use quiver_base::SqlType;
use std::sync::Arc;

/// Rows (1, [1,2,3]), (2, [4,5,6]), (3, NULL).
fn fixture() -> Fixture {
    let mut fixture = Fixture::new();
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("[1,2,3]"), Some("[4,5,6]"), None]));
    let vectors = crate::vector::to_vector(&texts, Some(3)).unwrap();
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    fixture.table("t", &[("id", SqlType::Int8), ("v", SqlType::Vector(Some(3)))], 1, &[ids, vectors]);
    fixture
}

#[tokio::test]
async fn functions_answer_as_pgvector_does() {
    let fixture = fixture();
    for (expr, expected) in [
        ("l2_distance('[0,0]', '[3,4]')", "5.0"),
        ("l2_distance(NULL, '[3,4]')", "NULL"),
        ("inner_product('[1,2]', '[3,4]')", "11.0"),
        ("vector_negative_inner_product('[1,2]', '[3,4]')", "-11.0"),
        ("cosine_distance('[1,0]', '[0,2]')", "1.0"),
        ("cosine_distance('[1,0]', '[0,0]')", "NaN"),
        ("l1_distance('[0,0]', '[3,-4]')", "7.0"),
        ("l2_distance(ARRAY[0, 0], ARRAY[3.0, 4.0])", "5.0"),
        ("vector_dims('[1,2,3]')", "3"),
        ("vector_norm('[3,4]')", "5.0"),
        ("l2_norm('[3,4]')", "5.0"),
        ("l2_normalize('[3,4]')", "[0.6, 0.8]"),
        ("l2_normalize('[0,0]')", "[0.0, 0.0]"),
        ("subvector('[1,2,3,4,5]', 2, 3)", "[2.0, 3.0, 4.0]"),
        ("subvector('[1,2,3,4,5]', -1, 4)", "[1.0, 2.0]"),
        ("vector_add('[1,2]', '[3,4]')", "[4.0, 6.0]"),
        ("vector_sub('[1,2]', '[3,5]')", "[-2.0, -3.0]"),
        ("vector_mul('[1,2]', '[3,4]')", "[3.0, 8.0]"),
        ("vector_concat('[1,2]', '[3]')", "[1.0, 2.0, 3.0]"),
        ("vector_cmp('[1,2]', '[1,3]')", "-1"),
        ("vector_cmp('[1,2]', '[1,2]')", "0"),
        ("vector_cmp('[1,2,3]', '[1,2]')", "1"),
    ] {
        assert_eq!(fixture.rows(&format!("SELECT {expr}")).await, [expected], "{expr}");
    }
}

#[tokio::test]
async fn functions_work_over_columns() {
    let fixture = fixture();
    let sql = "SELECT id, l1_distance(v, '[1,2,4]'), vector_dims(v), vector_add(v, v) FROM t ORDER BY id";
    assert_eq!(
        fixture.rows(sql).await,
        ["1|1.0|3|[2.0, 4.0, 6.0]", "2|8.0|3|[8.0, 10.0, 12.0]", "3|NULL|NULL|NULL"]
    );
}

#[tokio::test]
async fn errors_are_pgvectors() {
    let fixture = fixture();
    for (expr, state, message) in [
        ("l2_distance('[1,2,3]', '[1,2]')", "22000", "different vector dimensions 3 and 2"),
        ("l2_distance('[1,', '[1,2]')", "22P02", "invalid input syntax for type vector: \"[1,\""),
        ("l2_distance('[]', '[1,2]')", "22000", "vector must have at least 1 dimension"),
        ("l2_distance(ARRAY[1, NULL], '[1,2]')", "22004", "array must not contain nulls"),
        ("vector_add('[3e38]', '[3e38]')", "22003", "value out of range: overflow"),
        ("vector_mul('[1e-37]', '[1e-37]')", "22003", "value out of range: underflow"),
        ("subvector('[1,2,3]', 1, 0)", "22000", "vector must have at least 1 dimension"),
        ("subvector('[1,2,3]', 4, 2)", "22000", "vector must have at least 1 dimension"),
        ("l2_distance(1, '[1]')", "42883", "function l2_distance(bigint, text) does not exist"),
    ] {
        let error = fixture.error(&format!("SELECT {expr}")).await;
        assert_eq!((error.state().code(), error.message()), (state, message), "{expr}");
    }
    let error = fixture.error("SELECT l2_distance(v, '[1,2]') FROM t").await;
    assert_eq!(error.message(), "different vector dimensions 3 and 2");
}

#[tokio::test]
async fn vectors_aggregate_and_numbers_still_do() {
    let fixture = fixture();
    assert_eq!(
        fixture.rows("SELECT avg(v), sum(v), count(v), sum(id), avg(id) FROM t").await,
        ["[2.5, 3.5, 4.5]|[5.0, 7.0, 9.0]|2|6|2.0"]
    );
    let grouped = "SELECT id % 2 AS g, sum(v), sum(id), avg(v) FROM t GROUP BY g ORDER BY g";
    assert_eq!(
        fixture.rows(grouped).await,
        ["0|[4.0, 5.0, 6.0]|2|[4.0, 5.0, 6.0]", "1|[1.0, 2.0, 3.0]|4|[1.0, 2.0, 3.0]"]
    );
    assert_eq!(fixture.rows("SELECT avg(v) FROM t WHERE id > 5").await, ["NULL"]);
}
