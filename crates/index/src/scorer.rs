//! One query against the rows of a column, by the kernels of what these are made of.

use crate::distance::{self, prefetch};
use crate::mapped::as_numbers;
use crate::{Element, Metric, VectorColumn};
use std::borrow::Cow;
use std::cell::RefCell;

/// A query, made ready for the rows of a column.
pub(crate) struct RowScorer<'a> {
    vectors: &'a VectorColumn,
    metric: Metric,
    query: Cow<'a, [f32]>,
    /// The query as rows of bits are, where they can be compared so.
    bits: Option<Vec<u8>>,
}

thread_local! {
    /// A row's numbers, for as long as it is compared.
    static ROW: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl<'a> RowScorer<'a> {
    pub(crate) fn new(
        vectors: &'a VectorColumn,
        metric: Metric,
        query: impl Into<Cow<'a, [f32]>>,
    ) -> RowScorer<'a> {
        let query = query.into();
        let is_bits = vectors.element() == Element::Bit
            && matches!(metric, Metric::L2 | Metric::Jaccard)
            && query.len() == usize::from(vectors.dim())
            && query.iter().all(|x| *x == 0.0 || *x == 1.0);
        let bits = is_bits.then(|| Element::Bit.packed(&query));
        RowScorer { vectors, metric, query, bits }
    }

    /// A row as the query.
    pub(crate) fn of_row(vectors: &'a VectorColumn, metric: Metric, row: u32) -> RowScorer<'a> {
        match vectors.floats(row) {
            Some(query) => RowScorer::new(vectors, metric, query),
            None => {
                let mut query = Vec::new();
                vectors.widened(row, &mut query);
                RowScorer::new(vectors, metric, query)
            }
        }
    }

    /// [`Metric::score`] of a row: zeros where it is NULL.
    #[inline(always)]
    pub(crate) fn score(&self, row: u32) -> f32 {
        match self.vectors.floats(row) {
            Some(vector) => self.metric.score(&self.query, vector),
            None => self.score_packed(row),
        }
    }

    fn score_packed(&self, row: u32) -> f32 {
        let bytes = self.vectors.row_bytes(row);
        match (self.vectors.element(), &self.bits) {
            (Element::F16, _) => score_f16(self.metric, &self.query, as_numbers(bytes).unwrap_or_default()),
            (Element::Bit, Some(bits)) => score_bits(self.metric, bits, bytes),
            _ => self.widened(row, |vector| self.metric.score(&self.query, vector)),
        }
    }

    /// The score and what SQL shows for it, with the arithmetic of f32.
    #[inline]
    pub(crate) fn score_and_distance(&self, row: u32) -> (f32, f64) {
        self.widened(row, |vector| self.metric.score_and_distance(&self.query, vector))
    }

    /// Asks for the memory that `score` will read.
    #[inline(always)]
    pub(crate) fn prefetch(&self, row: u32) {
        prefetch(self.vectors.row_bytes(row));
    }

    #[inline(always)]
    fn widened<T>(&self, row: u32, look: impl FnOnce(&[f32]) -> T) -> T {
        match self.vectors.floats(row) {
            Some(vector) => look(vector),
            None => ROW.with_borrow_mut(|buffer| look(self.vectors.widened(row, buffer))),
        }
    }
}

/// The score of two rows.
pub(crate) fn score_rows(vectors: &VectorColumn, metric: Metric, a: u32, b: u32) -> f32 {
    if let (Some(a), Some(b)) = (vectors.floats(a), vectors.floats(b)) {
        return metric.score(a, b);
    }
    if vectors.element() == Element::Bit && matches!(metric, Metric::L2 | Metric::Jaccard) {
        return score_bits(metric, vectors.row_bytes(a), vectors.row_bytes(b));
    }
    ROW.with_borrow_mut(|buffer| {
        let a = vectors.widened(a, buffer);
        match vectors.element() {
            Element::F16 => score_f16(metric, a, as_numbers(vectors.row_bytes(b)).unwrap_or_default()),
            _ => metric.score(a, vectors.widened(b, &mut Vec::new())),
        }
    })
}

fn score_f16(metric: Metric, a: &[f32], b: &[u16]) -> f32 {
    match metric {
        Metric::L2 => distance::l2_squared_f16(a, b),
        Metric::InnerProduct => -distance::dot_f16(a, b),
        Metric::L1 => distance::l1_f16(a, b),
        Metric::Cosine | Metric::Jaccard => metric.of_products(distance::dot_and_norms_f16(a, b)) as f32,
    }
}

/// Of zeros and ones, whose sums are whole numbers: the same as of f32.
fn score_bits(metric: Metric, a: &[u8], b: &[u8]) -> f32 {
    match metric {
        Metric::Jaccard => {
            let (both, either) = distance::common_bits(a, b);
            Metric::jaccard(both.into(), either.into()) as f32
        }
        _ => distance::hamming(a, b) as f32,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use crate::Mapped;
    use proptest::prelude::*;

    const METRICS: [Metric; 5] =
        [Metric::L2, Metric::InnerProduct, Metric::Cosine, Metric::L1, Metric::Jaccard];

    fn column(element: Element, dim: u16, rows: &[Vec<f32>]) -> VectorColumn {
        let packed: Vec<Vec<u8>> = rows.iter().map(|row| element.packed(row)).collect();
        let mut file = Vec::new();
        VectorColumn::write_packed(&mut file, dim, element, packed.iter().map(|row| Some(&row[..]))).unwrap();
        VectorColumn::open(Mapped::from_bytes(&file)).unwrap()
    }

    proptest! {
        /// Whatever rows are made of, they are compared as the numbers that they are.
        #[test]
        fn scores_are_those_of_the_widened_rows(
            rows in (1usize..90).prop_flat_map(|dim| {
                proptest::collection::vec(proptest::collection::vec(0u8..4, dim), 2..6)
            }),
        ) {
            let dim = rows[0].len() as u16;
            for element in Element::ALL {
                let number = |x: &u8| match element {
                    Element::Bit => f32::from(x & 1),
                    // Small whole numbers and halves: sums are exact in any order.
                    _ => f32::from(*x) * 0.5 - 0.5,
                };
                let rows: Vec<Vec<f32>> = rows.iter().map(|row| row.iter().map(number).collect()).collect();
                let column = column(element, dim, &rows);
                for metric in METRICS {
                    let asked = RowScorer::new(&column, metric, &rows[0][..]);
                    let row_asked = RowScorer::of_row(&column, metric, 0);
                    for (at, row) in rows.iter().enumerate() {
                        let wanted = metric.score_and_distance(&rows[0], row);
                        let bits = |x: f32| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() };
                        let at = at as u32;
                        for found in [asked.score(at), row_asked.score(at), score_rows(&column, metric, 0, at)] {
                            prop_assert!((found - wanted.0).abs() < 1e-6 || bits(found) == bits(wanted.0));
                        }
                        prop_assert_eq!(asked.score_and_distance(at).1.to_bits(), wanted.1.to_bits());
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_zero_or_one_is_compared_with_bits_as_numbers() {
        let column = column(Element::Bit, 3, &[vec![1.0, 0.0, 1.0]]);
        assert_eq!(RowScorer::new(&column, Metric::L2, &[0.5, 0.0, 3.0][..]).score(0), 4.25);
        assert_eq!(RowScorer::new(&column, Metric::InnerProduct, &[1.0, 1.0, 1.0][..]).score(0), -2.0);
    }
}
