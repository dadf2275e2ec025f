//! Walks beside other segments, which have found something already.

use super::*;
use crate::Rival;

/// What other segments have ends a walk sooner, and takes nothing of what is nearer.
#[test]
fn a_rival_ends_the_walk() {
    let mut rng = StdRng::seed_from_u64(5);
    let rows = clustered(&mut rng, 12_000, 64, 100);
    let queries = clustered(&mut rng, 50, 64, 100);
    let vectors = column(64, &rows);
    let kinds = [Metric::L2, Metric::Cosine].map(|metric| (metric, Quantization::Auto));
    // Of one bit a dimension a walk needs several times the candidates; it must not be cut to a share of what it would need without codes.
    for (metric, quantization) in kinds.into_iter().chain([(Metric::L2, Quantization::Rabitq(1))]) {
        let params = HnswParams { quantization, ..HnswParams::default() };
        let control = BuildControl { threads: 2, ..BuildControl::unlimited() };
        let mut graph = Vec::new();
        HnswGraph::build(&vectors, metric, params, None, &control, &mut graph).unwrap();
        let graph = VectorIndex::open(Mapped::from_bytes(graph)).unwrap();
        let search = |query: &[f32], score: Option<f32>| {
            let rival = score.map(|score| Rival { score, looked_from: 0.25 });
            let effort = Effort { rival, ..Effort::new(60, 1) };
            search_segment(&vectors, Some(&graph), metric, query, 10, effort, None, false)
        };
        let (mut visited, mut among_rivals, mut found, mut wanted) = (0, 0, 0, 0);
        for query in queries.iter().flatten() {
            let alone = search(query, None);
            assert_eq!(alone.strategy, Strategy::Graph);
            visited += alone.visited;
            let nearest = alone.neighbors[0].score;
            let none = search(query, Some(nearest.next_down()));
            among_rivals += none.visited;
            let third = alone.neighbors[2].score;
            let three = search(query, Some(third));
            assert_ordered(&three.neighbors);
            wanted += alone.neighbors.iter().filter(|it| it.score <= third).count();
            found += alone.neighbors[..3].iter().filter(|it| three.neighbors.contains(it)).count();
            assert_eq!(search(query, Some(f32::INFINITY)).neighbors, alone.neighbors, "{metric}");
        }
        assert!(found * 100 >= wanted * 95, "{metric}, {quantization}: {found} of {wanted}");
        assert!(among_rivals * 10 < visited * 9, "{metric}, {quantization}: {among_rivals} and {visited}");
    }
}

/// Beside a rival fewer rows than are wanted are no reason to look at all of them, and codes alone rule out what is farther.
#[test]
fn what_is_farther_is_left_out_exactly() {
    let mut rng = StdRng::seed_from_u64(6);
    let rows = clustered(&mut rng, 1500, 48, 20);
    let vectors = column(48, &rows);
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
        let graph = VectorIndex::Hnsw(build(&vectors, metric));
        for query in clustered(&mut rng, 20, 48, 20).iter().flatten() {
            let truth = exact_search(&vectors, metric, query, 10, None);
            let rival = Some(Rival { score: truth[3].score, looked_from: 1.0 });
            let effort = Effort { rival, ..Effort::new(1500, 1) };
            let outcome = search_segment(&vectors, Some(&graph), metric, query, 10, effort, None, false);
            assert_eq!(outcome.strategy, Strategy::ExactByCodes);
            assert_eq!(outcome.neighbors[..4], truth[..4], "{metric}");
            assert!(outcome.neighbors.len() <= 10);
            assert!(outcome.visited < 1500 + 100, "{metric}: {}", outcome.visited);
        }
    }
}
