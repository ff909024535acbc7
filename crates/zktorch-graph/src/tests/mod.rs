//! Operators, one small graph each: the integer program against the float interpreter, all relations checked, wrong cells caught.

#![allow(clippy::unwrap_used)]

mod choose;
mod elementwise;
mod fusion;
mod goal;
mod interface;
mod layers;
mod margins;
mod movement;
mod positions;
mod quant;
mod tree;

use crate::{CompileOptions, CompiledModel, compile};
use zktorch_float::{DType, Data, Graph, Node, Op, Tensor, ValueId, run};
use zktorch_program::derive::{batch, batched_segments};
use zktorch_program::{Program, RegionKind, Source, Table, View, Witness, audit, check};

/// A deterministic stream of numbers in [-1, 1).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }
    pub(super) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32) / (1u64 << 23) as f32 - 1.0
    }
    pub(super) fn tensor(&mut self, shape: &[usize], scale: f32) -> Tensor {
        let n = shape.iter().product();
        Tensor::f32(shape.to_vec(), (0..n).map(|_| scale * self.next()).collect()).unwrap()
    }
    pub(super) fn ids(&mut self, shape: &[usize], bound: i64) -> Tensor {
        let n = shape.iter().product();
        let ids = (0..n).map(|_| (((self.next() + 1.0) / 2.0 * bound as f32) as i64).min(bound - 1));
        Tensor::i64(shape.to_vec(), ids.collect()).unwrap()
    }
}

/// A graph under construction.
#[derive(Default)]
pub(super) struct Net {
    pub graph: Graph,
}

impl Net {
    pub(super) fn input(&mut self, name: &str, shape: &[usize]) -> ValueId {
        self.typed_input(name, shape, DType::F32)
    }
    pub(super) fn typed_input(&mut self, name: &str, shape: &[usize], dtype: DType) -> ValueId {
        let id = self.graph.add_value(name, dtype, shape.to_vec());
        self.graph.inputs.push(id);
        id
    }
    pub(super) fn weight(&mut self, tensor: Tensor) -> ValueId {
        let name = format!("w{}", self.graph.values.len());
        self.graph.add_constant(name, tensor, true)
    }
    pub(super) fn constant(&mut self, tensor: Tensor) -> ValueId {
        let name = format!("c{}", self.graph.values.len());
        self.graph.add_constant(name, tensor, false)
    }
    /// A node with `n` results, whose shapes calibration finds out.
    pub(super) fn node(&mut self, op: Op, inputs: &[Option<ValueId>], n: usize) -> Vec<ValueId> {
        let name = format!("n{}", self.graph.nodes.len());
        let constants: Vec<Tensor> = inputs
            .iter()
            .flatten()
            .map(|id| {
                let v = self.graph.value(*id);
                match &v.constant {
                    Some(t) => (**t).clone(),
                    None => {
                        let n = v.shape.iter().product();
                        let data = match v.dtype {
                            DType::F32 => Data::F32(vec![1.0; n].into()),
                            DType::I64 => Data::I64(vec![0; n]),
                            DType::Bool => Data::Bool(vec![true; n]),
                        };
                        Tensor::new(v.shape.clone(), data).unwrap()
                    }
                }
            })
            .collect();
        let mut given = constants.iter();
        let operands: Vec<Option<&Tensor>> = inputs.iter().map(|i| i.and_then(|_| given.next())).collect();
        let shapes = zktorch_float::eval_op(&op, &operands).unwrap();
        let outputs: Vec<ValueId> = shapes
            .iter()
            .take(n)
            .enumerate()
            .map(|(i, t)| self.graph.add_value(format!("{name}.{i}"), t.dtype(), t.shape.clone()))
            .collect();
        self.graph.nodes.push(Node {
            name,
            onnx_op: format!("{op:?}").split([' ', '(']).next().unwrap().to_string(),
            op,
            inputs: inputs.to_vec(),
            outputs: outputs.clone(),
        });
        outputs
    }
    pub(super) fn op(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        self.node(op, &inputs, 1)[0]
    }
    pub(super) fn output(&mut self, id: ValueId) {
        self.graph.outputs.push(id);
    }
}

/// Float outputs.
pub(super) fn reference(graph: &Graph, inputs: &[Tensor]) -> Vec<Tensor> {
    run(graph, inputs, |_, _| {}).unwrap().iter().map(|t| (**t).clone()).collect()
}

/// Compiles, runs and checks: every output within `bound` of the float interpreter, every relation true, the program audited.
pub(super) fn verify(net: &Net, inputs: &[Vec<Tensor>], bound: f32) -> CompiledModel {
    verify_with(net, inputs, bound, &CompileOptions { adapt: false, ..CompileOptions::default() })
}

pub(super) fn verify_with(net: &Net, inputs: &[Vec<Tensor>], bound: f32, options: &CompileOptions) -> CompiledModel {
    let model = compile(&net.graph, inputs, options).unwrap_or_else(|e| panic!("{e}"));
    model.built.program.validate().unwrap();
    audit(&model.built.program).unwrap_or_else(|e| panic!("{e}"));
    let mut witnesses = Vec::new();
    for sample in inputs {
        let got = model.run(sample).unwrap_or_else(|e| panic!("{e}"));
        for (want, got) in reference(&net.graph, sample).iter().zip(&got.outputs) {
            assert_eq!(want.shape, got.shape);
            assert_eq!(want.dtype(), got.dtype());
            for (i, (a, b)) in want.to_f32_vec().iter().zip(got.to_f32_vec()).enumerate() {
                assert!((a - b).abs() <= bound, "element {i}: expected {a}, got {b}, bound {bound}");
            }
        }
        check(&model.built.program, &model.built.parameters, &got.witness).unwrap_or_else(|e| panic!("{e}"));
        witnesses.push(got.witness);
    }
    batches_and_segments_hold(&model, &witnesses);
    model
}

/// The model's inferences hold together, whole and in segments.
fn batches_and_segments_hold(model: &CompiledModel, witnesses: &[Witness]) {
    let (program, parameters) = (&model.built.program, &model.built.parameters);
    let inferences: Vec<Witness> = witnesses.iter().cycle().take(2).cloned().collect();
    let batched = batch(program, 2, &[]).unwrap_or_else(|e| panic!("{e}"));
    batched.audit().unwrap_or_else(|e| panic!("{e}"));
    let segments = batched_segments(program, 2, &[], 3).unwrap_or_else(|e| panic!("{e}"));
    for d in std::iter::once(&batched).chain(&segments) {
        let witness = d.fill(parameters, &inferences).unwrap_or_else(|e| panic!("{e}"));
        check(&d.program, parameters, &witness).unwrap_or_else(|e| panic!("{e}"));
    }
}

/// Every kind of cell, changed by one, must break a relation.
pub(super) fn wrong_cells_are_caught(model: &CompiledModel, inputs: &[Tensor]) {
    let program = &model.built.program;
    let witness = model.run(inputs).unwrap().witness;
    for region in &program.regions {
        // The ends and the middle of each region.
        for at in [0, region.len / 2, region.len - 1] {
            for delta in [1, -1] {
                let mut wrong = witness.clone();
                wrong.heap[region.base + at] += delta;
                if !matches!(region.kind, RegionKind::Multiplicity { .. }) {
                    count(program, &mut wrong);
                }
                assert!(
                    check(program, &model.built.parameters, &wrong).is_err(),
                    "cell {at} of a region of {:?} by {delta}",
                    kind(&region.kind)
                );
            }
        }
    }
    for public in 0..program.publics.len() {
        let mut wrong = witness.clone();
        wrong.publics[public][0] += 1;
        assert!(check(program, &model.built.parameters, &wrong).is_err(), "public tensor {public}");
    }
}

/// Adjusts the multiplicities to the other cells, as a prover who changes a cell would.
fn count(program: &Program, witness: &mut Witness) {
    for id in &program.multiplicities {
        let region = &program.regions[id.0 as usize];
        witness.heap[region.base..region.base + region.len].fill(0);
    }
    for lookup in &program.lookups {
        let table = &program.tables[lookup.table.0 as usize];
        let lo = match table {
            Table::Range { lo, .. } | Table::Function { lo, .. } => *lo,
            Table::Rows { .. } => 0,
        };
        let column = &lookup.columns[0];
        let view = View { offset: program.absolute_offset(column), axes: column.axes[..lookup.index_axes].to_vec(), ..column.clone() };
        let base = program.regions[program.multiplicities[lookup.table.0 as usize].0 as usize].base;
        for cell in view.cells() {
            let value = match view.source {
                Source::Region(_) => witness.heap[cell],
                _ => continue,
            };
            if (0..table.len() as i64).contains(&(value - lo)) {
                witness.heap[base + (value - lo) as usize] += 1;
            }
        }
    }
}

fn kind(kind: &RegionKind) -> String {
    match kind {
        RegionKind::Column { table, column } => format!("column {column} of table {}", table.0),
        RegionKind::Assigned { lo, hi } => format!("assigned {lo}..={hi}"),
        RegionKind::Multiplicity { table } => format!("multiplicities of table {}", table.0),
        RegionKind::Virtual { table } => format!("virtual, in table {}", table.0),
    }
}
