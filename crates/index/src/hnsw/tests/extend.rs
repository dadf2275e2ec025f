//! Graphs that go on from earlier ones.

use super::*;

/// Rows of two segments that became one: those of the first at even places as long as there are, every tenth of them gone.
struct Merged {
    graph: HnswGraph,
    all: VectorColumn,
    /// From the first segment's rows to the merged ones'.
    rows: Vec<u32>,
}

fn merged(metric: Metric, own: usize, new: usize, gone: impl Fn(usize) -> bool) -> Merged {
    merged_as(HnswParams::default(), metric, own, new, gone)
}

fn merged_as(
    params: HnswParams,
    metric: Metric,
    own: usize,
    new: usize,
    gone: impl Fn(usize) -> bool,
) -> Merged {
    let mut rng = StdRng::seed_from_u64(41);
    let dim = 16;
    let mut first = clustered(&mut rng, own, dim, 20);
    first[3] = None;
    first[own / 2] = first[1].clone();
    let mut second = clustered(&mut rng, new, dim, 20);
    second[5] = None;
    second[6] = first[2].clone();
    let earlier = column(dim, &first);
    let mut out = Vec::new();
    HnswGraph::build(&earlier, metric, params, None, &BuildControl::unlimited(), &mut out).unwrap();
    let graph = HnswGraph::open(Mapped::from_bytes(out)).unwrap();
    let (mut all, mut rows) = (Vec::new(), vec![Earlier::NO_ROW; own]);
    let mut second = second.into_iter();
    for (row, vector) in first.into_iter().enumerate() {
        if !gone(row) {
            rows[row] = all.len() as u32;
            all.push(vector);
        }
        all.extend(second.next());
    }
    all.extend(second);
    Merged { graph, all: column(dim, &all), rows }
}

impl Merged {
    fn extend(&self, threads: usize) -> HnswGraph {
        self.extend_over(None, threads)
    }

    fn extend_over(&self, only: Option<&RowSet>, threads: usize) -> HnswGraph {
        let control = BuildControl { threads, ..BuildControl::unlimited() };
        let earlier = Earlier { graph: &self.graph, rows: &self.rows };
        let mut out = Vec::new();
        let stats = HnswGraph::extend(earlier, &self.all, only, &control, &mut out).unwrap();
        assert_eq!(control.done_rows.load(Ordering::Relaxed), u64::from(stats.nodes));
        let graph = HnswGraph::open(Mapped::from_bytes(out)).unwrap();
        graph.verify().unwrap();
        graph
    }

    /// The share of the earlier graph's links that the new one has too, of those between rows that are left.
    fn shared_links(&self, graph: &HnswGraph) -> f64 {
        let pairs = |graph: &HnswGraph, rows: &dyn Fn(u32) -> u32| -> HashSet<(u32, u32)> {
            let (links, degree) = (graph.file.numbers(Section::Links), graph.file.header.degree());
            let row = |node: u32| rows(rows::NodeRows::of(&graph.file).of_node(node).first().unwrap());
            let of_node = |(node, links): (usize, &[u32])| {
                let links: Vec<u32> = links.iter().copied().take_while(|link| *link != NO_LINK).collect();
                links.into_iter().map(move |link| (node as u32, link)).collect::<Vec<_>>()
            };
            let all = links.chunks_exact(degree).enumerate().flat_map(of_node);
            all.map(|(from, to)| (row(from), row(to))).collect()
        };
        let gone = Earlier::NO_ROW;
        let mut before = pairs(&self.graph, &|row| self.rows[row as usize]);
        before.retain(|(from, to)| *from != gone && *to != gone);
        let after = pairs(graph, &|row| row);
        before.intersection(&after).count() as f64 / before.len() as f64
    }
}

#[test]
fn an_extended_graph_finds_as_much_and_keeps_its_links() {
    for metric in METRICS {
        let merged = merged(metric, 2000, 700, |row| row % 10 == 7);
        let graph = merged.extend(2);
        assert_eq!(reachable(&graph), graph.nodes() as usize);
        let shared = merged.shared_links(&graph);
        // A graph that is built anew has other levels and another order: about two thirds.
        assert!(shared > 0.8, "{metric}: {shared} of the links were kept");
        let mut rng = StdRng::seed_from_u64(42);
        let queries = clustered(&mut rng, 100, 16, 20);
        let mean = queries.iter().flatten().map(|query| {
            let found = graph.search(&merged.all, query, 10, Effort::new(100, 1), None).neighbors;
            recall(&found, &exact_search(&merged.all, metric, query, 10, None))
        });
        let mean = mean.sum::<f64>() / 100.0;
        assert!(mean >= floor(metric), "{metric}: recall {mean}");
    }
}

type Gone = fn(usize) -> bool;

#[test]
fn whatever_is_left_of_the_earlier_graph_every_node_is_reached() {
    let gone: [(&str, Gone); 4] = [
        ("nothing", |_| false),
        ("nearly all", |row| row % 50 != 0),
        ("all", |_| true),
        ("the first half", |row| row < 300),
    ];
    for (name, gone) in gone {
        let merged = merged(Metric::L2, 600, 60, gone);
        for threads in [1, 3] {
            let graph = merged.extend(threads);
            assert_eq!(reachable(&graph), graph.nodes() as usize, "{name} is gone");
            assert_eq!(graph.rows(), merged.all.rows());
        }
    }
}

#[test]
fn graphs_of_every_kind_of_codes_go_on() {
    let kinds = [Quantization::None, Quantization::Sq8, Quantization::Rabitq(1), Quantization::Rabitq(4)];
    for quantization in kinds {
        let params = HnswParams { quantization, ..HnswParams::default() };
        let merged = merged_as(params, Metric::L2, 1000, 400, |row| row % 10 == 7);
        let graph = merged.extend(2);
        assert_eq!(graph.params(), params);
        assert_eq!(reachable(&graph), graph.nodes() as usize, "{quantization}");
        let mut rng = StdRng::seed_from_u64(43);
        let queries = clustered(&mut rng, 50, 16, 20);
        let mean = queries.iter().flatten().map(|query| {
            let found = graph.search(&merged.all, query, 10, Effort::new(100, 1), None).neighbors;
            recall(&found, &exact_search(&merged.all, Metric::L2, query, 10, None))
        });
        let mean = mean.sum::<f64>() / 50.0;
        assert!(mean >= 0.97, "{quantization}: recall {mean}");
    }
}

/// A partial index: rows that its condition leaves out are not in the graph, whichever segment they come from.
#[test]
fn rows_left_out_are_in_no_extended_graph() {
    let merged = merged(Metric::L2, 900, 300, |row| row % 10 == 7);
    let only = RowSet::from_fn(merged.all.rows(), |row| row % 3 != 1);
    let graph = merged.extend_over(Some(&only), 2);
    assert_eq!(reachable(&graph), graph.nodes() as usize);
    let rows = rows::NodeRows::of(&graph.file);
    for node in 0..graph.nodes() {
        assert!(rows.of_node(node).iter().all(|row| only.contains(row)));
    }
    let mut rng = StdRng::seed_from_u64(44);
    for query in clustered(&mut rng, 30, 16, 20).iter().flatten() {
        let found = graph.search(&merged.all, query, 10, Effort::new(100, 1), Some(&only)).neighbors;
        let truth = exact_search(&merged.all, Metric::L2, query, 10, Some(&only));
        assert!(found.iter().all(|neighbor| only.contains(neighbor.row)));
        assert!(recall(&found, &truth) >= 0.9);
    }
}

#[test]
fn a_graph_of_other_rows_is_refused() {
    let merged = merged(Metric::L2, 100, 10, |_| false);
    let earlier = Earlier { graph: &merged.graph, rows: &merged.rows[1..] };
    let control = BuildControl::unlimited();
    assert!(HnswGraph::extend(earlier, &merged.all, None, &control, &mut Vec::new()).is_err());
    let narrow = column(2, &[Some(vec![1.0, 2.0])]);
    let earlier = Earlier { graph: &merged.graph, rows: &merged.rows };
    assert!(HnswGraph::extend(earlier, &narrow, None, &control, &mut Vec::new()).is_err());
}
