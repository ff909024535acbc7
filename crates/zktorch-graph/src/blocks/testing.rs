//! Tests of blocks: run them on public inputs, audit and check the program, and try to cheat.

#![allow(clippy::unwrap_used)]

use super::Lowering;
use crate::tensor::{Format, QTensor};
use zktorch_program::{Built, Digit, RegionKind, Source, Step, Table, Term, View, Witness, audit, check, execute, execute_steps};

/// A small generator, so that tests are the same everywhere.
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// Uniform in `lo..=hi`.
    pub(super) fn between(&mut self, lo: i64, hi: i64) -> i64 {
        lo + (self.next() % (hi - lo + 1) as u64) as i64
    }
    pub(super) fn integers(&mut self, n: usize, lo: i64, hi: i64) -> Vec<i64> {
        (0..n).map(|_| self.between(lo, hi)).collect()
    }
    /// About normal with the given deviation, clipped to 6 of them.
    pub(super) fn normal(&mut self, n: usize, deviation: f64) -> Vec<i64> {
        (0..n)
            .map(|_| ((0..12).map(|_| self.between(0, 1 << 20) as f64 / (1u64 << 20) as f64).sum::<f64>() - 6.0) * deviation)
            .map(|v| v as i64)
            .collect()
    }
}

/// A block under test with its inputs.
#[derive(Default)]
pub(super) struct Bench {
    pub ctx: Lowering,
    inputs: Vec<Vec<i64>>,
}

/// An executed block.
pub(super) struct Run {
    pub built: Built,
    pub witness: Witness,
    inputs: Vec<Vec<i64>>,
}

impl Bench {
    /// A public input.
    pub(super) fn input(&mut self, shape: &[usize], lo: i64, hi: i64, scale: i32, values: Vec<i64>) -> QTensor {
        let input = self.inputs.len();
        let name = format!("x{input}");
        let view = self.ctx.builder.public(&name, shape, lo, hi);
        self.ctx.builder.step(Step::Input { input, name, view: view.clone(), lo, hi });
        self.inputs.push(values);
        QTensor { view, scale, lo, hi }
    }

    /// A public input of a format.
    pub(super) fn tensor(&mut self, shape: &[usize], format: Format, values: Vec<i64>) -> QTensor {
        self.input(shape, format.lo(), format.hi(), format.scale, values)
    }

    fn build(self) -> (Built, Vec<Vec<i64>>) {
        let built = self.ctx.builder.finish(None);
        let report = audit(&built.program).unwrap();
        assert!(report.padding_cells < built.program.heap_len);
        (built, self.inputs)
    }

    /// Executes, audits and checks.
    pub(super) fn run(self) -> Run {
        let (built, inputs) = self.build();
        let witness = execute(&built, &inputs).unwrap();
        check(&built.program, &built.parameters, &witness).unwrap();
        Run { built, witness, inputs }
    }

    /// The error of an execution that must fail.
    pub(super) fn fails(self) -> String {
        let (built, inputs) = self.build();
        execute(&built, &inputs).unwrap_err().to_string()
    }
}

impl Run {
    /// Integers of a tensor, row-major.
    pub(super) fn read(&self, x: &QTensor) -> Vec<i64> {
        let cell = |c: usize| match x.view.source {
            Source::Region(r) => self.witness.heap[self.built.program.regions[r.0 as usize].base + c],
            Source::Public(p) => self.witness.publics[p.0 as usize][c],
            Source::Params => self.built.parameters.heap[c],
            _ => panic!("not an activation"),
        };
        let values: Vec<i64> = x.view.cells().into_iter().map(cell).collect();
        assert!(values.iter().all(|v| (x.lo..=x.hi).contains(v)), "{values:?} exceed the bounds of the tensor");
        values
    }

    /// Real values of a tensor.
    pub(super) fn reals(&self, x: &QTensor) -> Vec<f64> {
        self.read(x).into_iter().map(|v| v as f64 * (-x.scale as f64).exp2()).collect()
    }

    /// No cell can be changed: neither alone (with multiplicities made right again), nor with everything that is computed from it.
    pub(super) fn assert_forced(&self) {
        self.no_cell_can_change();
        self.no_step_can_lie();
    }

    /// Whether some relation does not hold once multiplicities are right.
    pub(super) fn rejects(&self, mut witness: Witness) -> bool {
        recount(&self.built, &mut witness);
        check(&self.built.program, &self.built.parameters, &witness).is_err()
    }

    fn no_cell_can_change(&self) {
        for (r, region) in self.built.program.regions.iter().enumerate() {
            if matches!(region.kind, RegionKind::Multiplicity { .. }) {
                continue;
            }
            for i in (0..region.len).step_by((region.len / 12).max(1)) {
                for delta in [-1, 1, 1 << 16, -(1i64 << 16), 1 << 40] {
                    let mut witness = self.witness.clone();
                    witness.heap[region.base + i] += delta;
                    assert!(self.rejects(witness), "cell {i} of region {r} ({:?}) can change by {delta}", region.kind);
                }
            }
        }
    }

    /// Writes something else after each step that is no mere decomposition, and goes on honestly from there.
    fn no_step_can_lie(&self) {
        for (s, step) in self.built.steps.iter().enumerate() {
            let written: Vec<&View> = match step {
                Step::Input { .. } => vec![],
                Step::Digits { digits, .. } => digits.iter().map(|d| &d.view).collect(),
                Step::Apply { outputs, .. } => outputs.iter().collect(),
                Step::Max { max, .. } => vec![max],
                Step::Quotient { quotient, .. } => vec![quotient],
                Step::InverseSqrt { out, .. } | Step::Sqrt { out, .. } | Step::Gather { out, .. } | Step::Level { out, .. } => vec![out],
            };
            for view in written {
                for delta in [-2, -1, 1, 2, 1000] {
                    for last in [false, true] {
                        let mut one = view.clone();
                        for axis in 0..one.axes.len() {
                            let index = if last { one.axes[axis].size - 1 } else { 0 };
                            one = one.slice(axis, index, 1, 1);
                        }
                        let mut steps = self.built.steps.clone();
                        steps.insert(s + 1, shift(&one, delta));
                        let Ok(witness) = execute_steps(&self.built.program, &self.built.parameters, &steps, &self.inputs) else {
                            continue;
                        };
                        // Values that only serve to find a maximum may be wrong without consequences.
                        if witness == self.witness {
                            continue;
                        }
                        assert!(self.rejects(witness), "step {s} {step:?} can lie by {delta}");
                    }
                }
            }
        }
    }
}

fn shift(view: &View, delta: i128) -> Step {
    let sizes = view.shape();
    let letters: Vec<u8> = (0..sizes.len() as u8).collect();
    let terms = vec![Term::linear(1, view.clone(), &letters), Term::constant(delta)];
    let digits = vec![Digit { view: view.clone(), weight: 1, lo: i64::MIN / 2, hi: i64::MAX / 2 }];
    Step::Digits { node: "cheat".into(), outputs: sizes.len(), sizes, terms, digits }
}

/// Multiplicities that fit the looked-up cells, as a cheating prover would commit to.
fn recount(built: &Built, witness: &mut Witness) {
    let program = &built.program;
    for (t, table) in program.tables.iter().enumerate() {
        let region = &program.regions[program.multiplicities[t].0 as usize];
        let mut counts = vec![0; region.len];
        let lo = match table {
            Table::Range { lo, .. } | Table::Function { lo, .. } => *lo,
            Table::Rows { .. } => 0,
        };
        for l in program.lookups.iter().filter(|l| l.table.0 as usize == t) {
            for cell in l.columns[0].cells() {
                let value = match l.columns[0].source {
                    Source::Region(r) => witness.heap[program.regions[r.0 as usize].base + cell],
                    Source::Public(p) => witness.publics[p.0 as usize][cell],
                    _ => continue,
                };
                if let Some(count) = usize::try_from(value - lo).ok().and_then(|row| counts.get_mut(row)) {
                    *count += 1;
                }
            }
        }
        witness.heap[region.base..region.base + region.len].copy_from_slice(&counts);
    }
}
