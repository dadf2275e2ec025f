//! Variances, covariances and regressions of doubles, added up as PostgreSQL does (float8_accum, float8_regr_accum), so that
//! the last digits are the same. A window whose frame moves is computed anew for each row, as there.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
    Volatility,
};
use quiver_base::{Error, SqlState};
use quiver_exec::to_datafusion;
use std::collections::VecDeque;
use std::sync::Arc;

/// What the sums give in the end; `None` is NULL.
type Figure = fn(&Sums) -> Option<f64>;

/// The aggregate of that name; `None` if there is none.
pub(super) fn moment(name: &str) -> Option<Arc<AggregateUDF>> {
    let (name, figure): (&'static str, Figure) = match name {
        "var_pop" => ("var_pop", |it| it.over(it.sxx, 0.0)),
        "var_samp" => ("var_samp", |it| it.over(it.sxx, 1.0)),
        "variance" => ("variance", |it| it.over(it.sxx, 1.0)),
        "stddev_pop" => ("stddev_pop", |it| it.over(it.sxx, 0.0).map(f64::sqrt)),
        "stddev_samp" => ("stddev_samp", |it| it.over(it.sxx, 1.0).map(f64::sqrt)),
        "stddev" => ("stddev", |it| it.over(it.sxx, 1.0).map(f64::sqrt)),
        "covar_pop" => ("covar_pop", |it| it.over(it.sxy, 0.0)),
        "covar_samp" => ("covar_samp", |it| it.over(it.sxy, 1.0)),
        "regr_avgx" => ("regr_avgx", |it| it.over(it.sx, 0.0)),
        "regr_avgy" => ("regr_avgy", |it| it.over(it.sy, 0.0)),
        "regr_sxx" => ("regr_sxx", |it| it.any(it.sxx)),
        "regr_syy" => ("regr_syy", |it| it.any(it.syy)),
        "regr_sxy" => ("regr_sxy", |it| it.any(it.sxy)),
        "regr_slope" => ("regr_slope", |it| it.sloped(it.sxy / it.sxx)),
        "regr_intercept" => ("regr_intercept", |it| it.sloped((it.sy - it.sx * it.sxy / it.sxx) / it.n)),
        "regr_r2" => ("regr_r2", |it| match it.syy {
            0.0 => it.sloped(1.0),
            _ => it.sloped(it.sxy * it.sxy / (it.sxx * it.syy)),
        }),
        "corr" => ("corr", |it| it.sloped(it.sxy / (it.sxx * it.syy).sqrt()).filter(|_| it.syy != 0.0)),
        _ => return None,
    };
    let signature = Signature::user_defined(Volatility::Immutable);
    let pairs = !name.starts_with("var") && !name.starts_with("stddev");
    Some(Arc::new(AggregateUDF::new_from_impl(Moment { name, figure: Shown(figure), pairs, signature })))
}

/// A function that takes no part in what aggregates are equal: their names say it.
#[derive(Clone, Copy)]
struct Shown(Figure);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("figure")
    }
}

impl PartialEq for Shown {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Shown {}

impl std::hash::Hash for Shown {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Moment {
    name: &'static str,
    figure: Shown,
    /// Of two arguments, y and x; of one, which is x.
    pairs: bool,
    signature: Signature,
}

impl AggregateUDFImpl for Moment {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(vec![DataType::Float64; types.len()])
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        if args.is_distinct {
            return Ok(Box::new(Different { figure: self.figure, pairs: self.pairs, values: Vec::new() }));
        }
        Ok(Box::new(One { figure: self.figure, pairs: self.pairs, sums: Sums::default() }))
    }

    fn create_sliding_accumulator(&self, _: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        Ok(Box::new(Frame { figure: self.figure, pairs: self.pairs, rows: VecDeque::new() }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        if args.is_distinct {
            let item = Arc::new(Field::new("item", DataType::Float64, true));
            let list = |name: &str| Arc::new(Field::new(name, DataType::List(item.clone()), true));
            return Ok(vec![list("x"), list("y")]);
        }
        let names = ["n", "sx", "sxx", "sy", "syy", "sxy"];
        Ok(names.map(|name| Arc::new(Field::new(name, DataType::Float64, true))).to_vec())
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs<'_>) -> DfResult<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups { figure: self.figure, pairs: self.pairs, sums: Vec::new() }))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// Youngs and Cramer's sums.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    n: f64,
    sx: f64,
    sxx: f64,
    sy: f64,
    syy: f64,
    sxy: f64,
}

impl Sums {
    fn any(&self, value: f64) -> Option<f64> {
        (self.n > 0.0).then_some(value)
    }

    /// A sum over the number of values, or one less.
    fn over(&self, sum: f64, less: f64) -> Option<f64> {
        (self.n > less).then(|| sum / (self.n - less))
    }

    /// NULL where all x are the same.
    fn sloped(&self, value: f64) -> Option<f64> {
        (self.n > 0.0 && self.sxx != 0.0).then_some(value)
    }

    fn add(&mut self, x: f64, y: f64, pairs: bool) -> DfResult<()> {
        let before = *self;
        self.n += 1.0;
        self.sx += x;
        self.sy += y;
        if before.n > 0.0 {
            let (of_x, of_y) = (x * self.n - self.sx, y * self.n - self.sy);
            // In PostgreSQL's order of operations, which is another one for pairs.
            let scale = if pairs { 1.0 / (self.n * before.n) } else { 1.0 };
            self.sxx += of_x * of_x * scale / if pairs { 1.0 } else { self.n * before.n };
            self.syy += of_y * of_y * scale;
            self.sxy += of_x * of_y * scale;
            self.check(&before, x, y)?;
        } else {
            // Infinity and NaN leave nothing to tell of squares.
            if !x.is_finite() {
                (self.sxx, self.sxy) = (f64::NAN, f64::NAN);
            }
            if !y.is_finite() {
                (self.syy, self.sxy) = (f64::NAN, f64::NAN);
            }
        }
        Ok(())
    }

    /// 22003 where finite values give an infinite sum.
    fn check(&mut self, before: &Sums, x: f64, y: f64) -> DfResult<()> {
        let sums = [self.sx, self.sxx, self.sy, self.syy, self.sxy];
        if !sums.iter().any(|sum| sum.is_infinite()) {
            return Ok(());
        }
        let of_x = before.sx.is_infinite() || x.is_infinite();
        let of_y = before.sy.is_infinite() || y.is_infinite();
        let unexplained = (self.sx.is_infinite() || self.sxx.is_infinite()) && !of_x
            || (self.sy.is_infinite() || self.syy.is_infinite()) && !of_y
            || self.sxy.is_infinite() && !of_x && !of_y;
        if unexplained {
            let message = "value out of range: overflow";
            return Err(to_datafusion(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message)));
        }
        for sum in [&mut self.sxx, &mut self.syy, &mut self.sxy] {
            *sum = if sum.is_infinite() { f64::NAN } else { *sum };
        }
        Ok(())
    }

    fn merge(&mut self, other: &Sums) {
        if other.n == 0.0 {
            return;
        }
        if self.n == 0.0 {
            *self = *other;
            return;
        }
        let n = self.n + other.n;
        let (of_x, of_y) = (self.sx / self.n - other.sx / other.n, self.sy / self.n - other.sy / other.n);
        self.sxx += other.sxx + self.n * other.n * of_x * of_x / n;
        self.syy += other.syy + self.n * other.n * of_y * of_y / n;
        self.sxy += other.sxy + self.n * other.n * of_x * of_y / n;
        self.sx += other.sx;
        self.sy += other.sy;
        self.n = n;
    }

    fn parts(&self) -> [f64; 6] {
        [self.n, self.sx, self.sxx, self.sy, self.syy, self.sxy]
    }

    fn of_state(states: &[ArrayRef], row: usize) -> Sums {
        let part = |at: usize| states[at].as_primitive::<Float64Type>().value(row);
        Sums { n: part(0), sx: part(1), sxx: part(2), sy: part(3), syy: part(4), sxy: part(5) }
    }
}

/// x and y of each row; `None` where one is NULL. With one argument, x alone.
fn rows(values: &[ArrayRef], pairs: bool) -> Vec<Option<(f64, f64)>> {
    let first = values[0].as_primitive::<Float64Type>();
    if !pairs {
        return first.iter().map(|x| x.map(|x| (x, 0.0))).collect();
    }
    let second = values[1].as_primitive::<Float64Type>();
    first.iter().zip(second.iter()).map(|(y, x)| Some((x?, y?))).collect()
}

/// One group.
#[derive(Debug)]
struct One {
    figure: Shown,
    pairs: bool,
    sums: Sums,
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        rows(values, self.pairs).into_iter().flatten().try_for_each(|(x, y)| self.sums.add(x, y, self.pairs))
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(ScalarValue::Float64((self.figure.0)(&self.sums)))
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(self.sums.parts().map(ScalarValue::from).to_vec())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        (0..states[0].len()).for_each(|row| self.sums.merge(&Sums::of_state(states, row)));
        Ok(())
    }
}

/// One group of a DISTINCT aggregate.
#[derive(Debug)]
struct Different {
    figure: Shown,
    pairs: bool,
    values: Vec<(f64, f64)>,
}

impl Accumulator for Different {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.values.extend(rows(values, self.pairs).into_iter().flatten());
        Ok(())
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        // PostgreSQL sorts the values to find which are different.
        self.values.sort_by(|(x, y), (a, b)| y.total_cmp(b).then_with(|| x.total_cmp(a)));
        self.values.dedup_by(|one, other| one.0 == other.0 && one.1 == other.1);
        let mut sums = Sums::default();
        self.values.iter().try_for_each(|(x, y)| sums.add(*x, *y, self.pairs))?;
        Ok(ScalarValue::Float64((self.figure.0)(&sums)))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.values.capacity() * size_of::<(f64, f64)>()
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        let list = |part: fn(&(f64, f64)) -> f64| {
            let items: Vec<ScalarValue> = self.values.iter().map(|it| ScalarValue::from(part(it))).collect();
            ScalarValue::List(ScalarValue::new_list_nullable(&items, &DataType::Float64))
        };
        Ok(vec![list(|it| it.0), list(|it| it.1)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let (xs, ys) = (states[0].as_list::<i32>(), states[1].as_list::<i32>());
        for (x, y) in xs.iter().zip(ys.iter()) {
            if let (Some(x), Some(y)) = (x, y) {
                let (x, y) = (x.as_primitive::<Float64Type>(), y.as_primitive::<Float64Type>());
                self.values.extend(x.values().iter().copied().zip(y.values().iter().copied()));
            }
        }
        Ok(())
    }
}

/// The rows of a window's frame.
#[derive(Debug)]
struct Frame {
    figure: Shown,
    pairs: bool,
    rows: VecDeque<Option<(f64, f64)>>,
}

impl Accumulator for Frame {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.rows.extend(rows(values, self.pairs));
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.rows.drain(..values[0].len().min(self.rows.len()));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let mut sums = Sums::default();
        self.rows.iter().flatten().try_for_each(|(x, y)| sums.add(*x, *y, self.pairs))?;
        Ok(ScalarValue::Float64((self.figure.0)(&sums)))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.rows.capacity() * size_of::<Option<(f64, f64)>>()
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Err(to_datafusion(Error::internal("a window has no state")))
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> DfResult<()> {
        Err(to_datafusion(Error::internal("a window has no state")))
    }
}

/// Many groups.
struct Groups {
    figure: Shown,
    pairs: bool,
    sums: Vec<Sums>,
}

impl Groups {
    fn taken(&mut self, emit_to: EmitTo) -> Vec<Sums> {
        emit_to.take_needed(&mut self.sums)
    }
}

fn state_of(sums: &[Sums]) -> Vec<ArrayRef> {
    let part = |at: usize| {
        Arc::new(sums.iter().map(|it| Some(it.parts()[at])).collect::<Float64Array>()) as ArrayRef
    };
    (0..6).map(part).collect()
}

fn counts(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        count: usize,
    ) -> DfResult<()> {
        self.sums.resize(count, Sums::default());
        for (row, value) in rows(values, self.pairs).into_iter().enumerate() {
            if let (Some((x, y)), true) = (value, counts(filter, row)) {
                self.sums[groups[row]].add(x, y, self.pairs)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> DfResult<ArrayRef> {
        let figure = self.figure.0;
        Ok(Arc::new(self.taken(emit_to).iter().map(figure).collect::<Float64Array>()))
    }

    fn state(&mut self, emit_to: EmitTo) -> DfResult<Vec<ArrayRef>> {
        Ok(state_of(&self.taken(emit_to)))
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], count: usize) -> DfResult<()> {
        self.sums.resize(count, Sums::default());
        for (row, group) in groups.iter().enumerate() {
            self.sums[*group].merge(&Sums::of_state(values, row));
        }
        Ok(())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> DfResult<Vec<ArrayRef>> {
        let mut each = Vec::with_capacity(values[0].len());
        for (row, value) in rows(values, self.pairs).into_iter().enumerate() {
            let mut sums = Sums::default();
            if let (Some((x, y)), true) = (value, counts(filter, row)) {
                sums.add(x, y, self.pairs)?;
            }
            each.push(sums);
        }
        Ok(state_of(&each))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.sums.capacity() * size_of::<Sums>()
    }
}
