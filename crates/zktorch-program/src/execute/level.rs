//! The smallest level at which a row's sum of table values stays below a limit.

use super::ExecuteError;
use super::memory::Memory;
use super::steps::{map_indices, out_of_range};
use crate::relation::Table;
use crate::step::Step;

/// Sums of table values of one row.
struct Row<'a> {
    x: &'a [i64],
    allowed: Option<&'a [i64]>,
    column: &'a [i64],
    limit: i64,
}

impl Row<'_> {
    fn values(&self) -> impl Iterator<Item = i64> + '_ {
        self.x.iter().enumerate().filter(|(k, _)| self.allowed.is_none_or(|a| a[*k] != 0)).map(|(_, &x)| x)
    }

    /// `Σ T(level - x)`, or more than the limit if a difference is negative.
    fn sum(&self, level: i64) -> i64 {
        let mut sum = 0i64;
        for x in self.values() {
            let value = match usize::try_from(level.saturating_sub(x)) {
                Ok(d) => self.column.get(d).copied().unwrap_or(0),
                Err(_) => return i64::MAX,
            };
            sum = sum.saturating_add(value);
        }
        sum
    }

    /// The smallest level whose sum is at most the limit, for values that never increase: between one below the largest element, where the
    /// sum is too large, and one table above it, where it is 0.
    fn level(&self) -> i64 {
        let Some(top) = self.values().max() else { return 0 };
        let (mut above, mut below) = (top.saturating_sub(1), top.saturating_add(self.column.len() as i64));
        // Sums fall about as the table does: a first guess, then the ones beside it.
        let first = i128::from(self.column[0]);
        let scaled = i128::from(self.sum(top));
        let room = i128::from(self.limit) * first;
        let mut guess = top.saturating_add(self.column.partition_point(|&t| i128::from(t) * scaled > room) as i64);
        let mut stride = 1;
        while below - above > 1 {
            let probe = guess.clamp(above + 1, below - 1);
            if self.sum(probe) <= self.limit {
                below = probe;
                guess = probe.saturating_sub(stride);
            } else {
                above = probe;
                guess = probe.saturating_add(stride);
            }
            stride = stride.saturating_mul(2);
            if stride > 64 {
                guess = above + (below - above) / 2;
            }
        }
        below
    }
}

/// Runs a valid [`Step::Level`].
pub(super) fn run(memory: &mut Memory, step: &Step) -> Result<(), ExecuteError> {
    let Step::Level { node, x, allowed, table, column, offset, limit, out, lo, hi } = step else {
        return Ok(());
    };
    let program = memory.program;
    let Table::Function { outputs, .. } = &program.tables[table.0 as usize] else { unreachable!("the step's table was checked") };
    let values = memory.read(x);
    let factors = allowed.as_ref().map(|a| memory.read(a));
    let rows = out.len();
    let width = values.len() / rows.max(1);
    let one = |i: usize| {
        let part = i * width..(i + 1) * width;
        let allowed = factors.as_ref().map(|f| &f[part.clone()]);
        let row = Row { x: &values[part], allowed, column: &outputs[*column], limit: *limit };
        let level = row.level().saturating_sub(*offset);
        match (*lo..=*hi).contains(&level) {
            true => Ok(level),
            false => Err(out_of_range(node, i128::from(level), i, out, i128::from(*lo), i128::from(*hi))),
        }
    };
    let levels = map_indices(rows, one)?;
    memory.write(out, &levels);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::Builder;
    use crate::execute::{StepFlaw, execute};
    use crate::view::{TableId, View};

    #[test]
    fn the_level_is_the_first_at_which_the_sum_fits() {
        let column: Vec<i64> = (0..200).map(|d| (1000.0 * f64::exp(-f64::from(d) / 16.0) + 0.5) as i64).collect();
        let mut seed = 7u64;
        for n in 1..40 {
            let x: Vec<i64> = (0..n)
                .map(|_| {
                    seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (seed >> 56) as i64 - 128
                })
                .collect();
            let allowed: Vec<i64> = (0..n).map(|k| i64::from(k % 3 != 1)).collect();
            for allowed in [None, Some(&allowed[..])] {
                let row = Row { x: &x, allowed, column: &column, limit: 1030 };
                let level = row.level();
                assert!(row.sum(level) <= 1030 && row.sum(level - 1) > 1030, "{x:?}");
            }
        }
    }

    /// Levels of the rows `(0, 1, 2)` and `(5, 5, -3)` by a table of 8, 4, 2, 1, 0, at most 9; after a change to the step.
    fn levels(change: impl FnOnce(&mut Builder, &mut Step)) -> Result<Vec<i64>, ExecuteError> {
        let mut b = Builder::new();
        let x = b.public("x", &[2, 3], -100, 100);
        let out = b.public("m", &[2], -100, 100);
        let table = b.function_table("halves", 0, vec![vec![8, 4, 2, 1, 0]]);
        b.step(Step::Input { input: 0, name: "x".into(), view: x.clone(), lo: -100, hi: 100 });
        let mut step =
            Step::Level { node: "weights".into(), x, allowed: None, table, column: 0, offset: 0, limit: 9, out, lo: -100, hi: 100 };
        change(&mut b, &mut step);
        b.step(step);
        Ok(execute(&b.finish(None), &[vec![0, 1, 2, 5, 5, -3]])?.publics[1].clone())
    }

    fn flaw(change: impl FnOnce(&mut Builder, &mut Step)) -> StepFlaw {
        match levels(change) {
            Err(ExecuteError::Step { step: 1, node, reason }) if node == "weights" => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn levels_count_allowed_values_and_are_less_by_the_offset() {
        assert_eq!(levels(|_, _| ()), Ok(vec![3, 6]));
        let shifted = |_: &mut Builder, step: &mut Step| {
            let Step::Level { offset, .. } = step else { unreachable!() };
            *offset = 4;
        };
        assert_eq!(levels(shifted), Ok(vec![-1, 2]));
        let masked = |b: &mut Builder, step: &mut Step| {
            let Step::Level { allowed, .. } = step else { unreachable!() };
            *allowed = Some(b.constant("allowed", &[2, 3], vec![1, 1, 0, 0, 0, 0]));
        };
        // A row without an allowed value has none to exceed the limit.
        assert_eq!(levels(masked), Ok(vec![2, 0]));
    }

    #[test]
    fn a_level_out_of_range_names_its_node_and_place() {
        for (range, value, index) in [((-100, 5), 6, 1), ((4, 100), 3, 0)] {
            let narrow = |_: &mut Builder, step: &mut Step| {
                let Step::Level { lo, hi, .. } = step else { unreachable!() };
                (*lo, *hi) = range;
            };
            let (lo, hi) = (i128::from(range.0), i128::from(range.1));
            let expected = ExecuteError::OutOfRange { node: "weights".into(), value, index: vec![index], lo, hi, what: String::new() };
            assert_eq!(levels(narrow), Err(expected));
        }
    }

    #[test]
    fn a_malformed_step_is_refused_before_it_runs() {
        let with_table = |make: fn(&mut Builder) -> TableId| {
            flaw(move |b, step| {
                let Step::Level { table, .. } = step else { unreachable!() };
                *table = make(b);
            })
        };
        assert_eq!(with_table(|_| TableId(7)), StepFlaw::Table);
        assert_eq!(with_table(|b| b.range_table(0, 3)), StepFlaw::Table);
        assert_eq!(with_table(|b| b.function_table("from one", 1, vec![vec![8, 4]])), StepFlaw::Table);
        let wrong_column = |_: &mut Builder, step: &mut Step| {
            let Step::Level { column, .. } = step else { unreachable!() };
            *column = 1;
        };
        assert_eq!(flaw(wrong_column), StepFlaw::Table);

        let with_out = |make: fn(&mut Builder) -> View| {
            flaw(move |b, step| {
                let Step::Level { out, .. } = step else { unreachable!() };
                *out = make(b);
            })
        };
        let shape = |expected: &[usize], got: &[usize]| StepFlaw::Shape { expected: expected.to_vec(), got: got.to_vec() };
        assert_eq!(with_out(|b| b.public("three", &[3], -100, 100)), shape(&[2], &[3]));
        assert_eq!(with_out(|b| b.public("deep", &[2, 3, 1], -100, 100)), shape(&[2, 3], &[2, 3, 1]));
        assert_eq!(with_out(|b| b.constant("fixed", &[2], vec![0, 0])), StepFlaw::ReadOnly);
        assert!(matches!(with_out(|b| View { offset: 1, ..b.public("short", &[2], -100, 100) }), StepFlaw::View(_)));

        let wrong_mask = |b: &mut Builder, step: &mut Step| {
            let Step::Level { allowed, .. } = step else { unreachable!() };
            *allowed = Some(b.constant("allowed", &[2], vec![1, 1]));
        };
        assert_eq!(flaw(wrong_mask), shape(&[2, 3], &[2]));
    }
}
