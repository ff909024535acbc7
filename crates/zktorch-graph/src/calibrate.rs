//! Ranges of all values on sample inputs, and the formats that follow.

use crate::rewrite::MASK_LIMIT;
use crate::{CompileError, CompileOptions, Format};
use std::collections::BTreeMap;
use zktorch_float::{BinaryFn, DType, Data, Graph, Node, Op, Tensor, UnaryFn, ValueId, run};

/// What calibration saw.
pub(crate) struct Ranges {
    /// Largest finite magnitude of each value; masks (below -1e9) do not count.
    pub abs_max: Vec<f64>,
    /// Smallest element of each value.
    pub min: Vec<f64>,
    /// Whether the inputs were made up.
    pub random: bool,
    /// Number of samples.
    pub samples: usize,
    /// Bits of each value beyond those of the options.
    pub extra_bits: Vec<u32>,
}

/// Runs the graph on `samples` (or on random inputs, if there are none), recording ranges and filling in shapes.
pub(crate) fn calibrate(graph: &mut Graph, samples: &[Vec<Tensor>], seed: u64) -> Result<Ranges, CompileError> {
    let made_up;
    let random = samples.is_empty() && !graph.inputs.is_empty();
    let samples = if samples.is_empty() {
        made_up = (0..4).map(|i| random_inputs(graph, seed.wrapping_add(i))).collect::<Vec<_>>();
        &made_up
    } else {
        samples
    };
    let n = graph.values.len();
    let mut ranges = Ranges { abs_max: vec![0.0; n], min: vec![0.0; n], random, samples: samples.len(), extra_bits: vec![0; n] };
    let mut shapes: Vec<Option<(Vec<usize>, DType)>> = vec![None; n];
    for (sample, inputs) in samples.iter().enumerate() {
        let mut bad: Option<(ValueId, f32)> = None;
        run(graph, inputs, |id, tensor| {
            shapes[id.0] = Some((tensor.shape.clone(), tensor.dtype()));
            let (mut max, mut min) = (0f64, 0f64);
            match &tensor.data {
                Data::F32(values) => {
                    for &v in values {
                        if v.is_nan() || v == f32::INFINITY {
                            bad = bad.or(Some((id, v)));
                        } else if v.abs() < MASK_LIMIT {
                            max = max.max(f64::from(v.abs()));
                            min = min.min(f64::from(v));
                        }
                    }
                }
                Data::I64(values) => {
                    for &v in values {
                        max = max.max((v as f64).abs());
                        min = min.min(v as f64);
                    }
                }
                Data::Bool(_) => max = 1.0,
            }
            ranges.abs_max[id.0] = ranges.abs_max[id.0].max(max);
            ranges.min[id.0] = ranges.min[id.0].min(min);
        })?;
        if let Some((id, got)) = bad {
            let node = graph.producers()[id.0].map_or("graph input".to_string(), |p| graph.nodes[p].name.clone());
            return Err(CompileError::NotFinite { node, value: graph.value(id).name.clone(), got, sample });
        }
    }
    for (value, seen) in graph.values.iter_mut().zip(shapes) {
        if let Some((shape, dtype)) = seen {
            value.shape = shape;
            value.dtype = dtype;
        }
    }
    Ok(ranges)
}

/// The format of every value.
pub(crate) fn formats(graph: &Graph, ranges: &Ranges, options: &CompileOptions) -> Vec<Format> {
    let producers = graph.producers();
    let format = |i: usize| match graph.values[i].dtype {
        DType::Bool => Format { scale: 0, bits: 2 },
        DType::I64 => Format { scale: 0, bits: if ranges.abs_max[i] < f64::from(1 << 15) { 16 } else { 32 } },
        DType::F32 => {
            let extra = ranges.extra_bits[i];
            let bits = options.activation_bits + extra;
            let bounded = producers[i].is_some_and(|p| unit_range(&graph.nodes[p].op));
            let scale = if bounded { bits as i32 - 2 } else { activation_scale(ranges.abs_max[i], bits, options.headroom_bits) };
            Format { scale: scale.min(options.max_scale + extra as i32), bits }
        }
    };
    let mut formats: Vec<Format> = (0..graph.values.len()).map(format).collect();
    score_formats(graph, &mut formats);
    shared_functions(graph, &mut formats);
    // What is quantised next keeps 16 bits, so that its rounding is that of the given numbers.
    let consumers = graph.consumers();
    for node in &graph.nodes {
        let (Op::QuantizeLinear { .. } | Op::DynamicQuantizeLinear, Some(&Some(id))) = (&node.op, node.inputs.first()) else { continue };
        let alone = graph.inputs.contains(&id) && consumers[id.0].iter().all(|&c| graph.nodes[c].op == Op::DynamicQuantizeLinear);
        let bits = if alone { GIVEN_BITS } else { 16 };
        let most = options.max_scale + (bits - 16) as i32;
        let scale = activation_scale(ranges.abs_max[id.0], bits, options.headroom_bits).min(most);
        formats[id.0] = Format { scale, bits };
    }
    computed_scales(graph, ranges, options, &mut formats);
    wide_features(graph, ranges, options, &mut formats);
    formats
}

/// Bits of an input that is quantised by its extrema and read by nothing else: quotients by the span are then those of the given numbers.
const GIVEN_BITS: u32 = 22;

/// Most fractional bits of a scale.
const FINEST: i32 = 40;

/// Scales of dynamic quantisations, and their products with scales of weights, have 16 bits however small they are.
fn computed_scales(graph: &Graph, ranges: &Ranges, options: &CompileOptions, formats: &mut [Format]) {
    let mut fine = vec![false; graph.values.len()];
    for node in &graph.nodes {
        let known = |id: ValueId| fine[id.0] || graph.constant(id).is_some();
        let any = node.inputs.iter().flatten().any(|id| fine[id.0]);
        let out = match node.op {
            Op::DynamicQuantizeLinear => node.outputs.get(1),
            Op::Reshape { .. } | Op::Expand { .. } | Op::Transpose { .. } | Op::Slice { .. } if any => node.outputs.first(),
            Op::Binary(BinaryFn::Mul) if any && node.inputs.iter().flatten().all(|id| known(*id)) => node.outputs.first(),
            _ => None,
        };
        if let Some(id) = out {
            fine[id.0] = true;
            formats[id.0] = Format { scale: activation_scale(ranges.abs_max[id.0], 16, options.headroom_bits).min(FINEST), bits: 16 };
        }
    }
}

/// Most fractional bits of a feature.
const FEATURE_SCALE: i32 = 20;

/// Inputs of decision trees have up to 32 bits: features of very different magnitude share a scale, and comparing them costs little.
fn wide_features(graph: &Graph, ranges: &Ranges, options: &CompileOptions, formats: &mut [Format]) {
    for node in graph.nodes.iter().filter(|n| matches!(n.op, Op::TreeEnsemble(_))) {
        let Some(id) = node.inputs.first().copied().flatten().filter(|id| graph.inputs.contains(id)) else { continue };
        let scale = activation_scale(ranges.abs_max[id.0], 32, options.headroom_bits).min(FEATURE_SCALE);
        let top = ranges.abs_max[id.0].max(1.0) * f64::from(1u32 << options.headroom_bits);
        let bits = (scale + libm::ceil(libm::log2(top)) as i32 + 2).clamp(16, 32) as u32;
        formats[id.0] = Format { scale, bits };
    }
}

/// Fractional bits that exponentials want.
const SCORE_SCALE: std::ops::RangeInclusive<i32> = 8..=12;

/// Scores before a softmax: narrow activations are widened to 16 bits as far as it takes to keep [`SCORE_SCALE`], and scores whose scales
/// are in that range share the smallest one, and with it one table of exponentials.
fn score_formats(graph: &Graph, formats: &mut [Format]) {
    let softmax = |n: &&Node| matches!(n.op, Op::Softmax { .. } | Op::MaskedSoftmax { .. } | Op::LogSoftmax { .. });
    let scores: Vec<usize> =
        graph.nodes.iter().filter(softmax).filter_map(|n| n.inputs.first().copied().flatten()).map(|id| id.0).collect();
    let (least, most) = (*SCORE_SCALE.start(), *SCORE_SCALE.end());
    for &i in &scores {
        let f = &mut formats[i];
        let more = (least - f.scale).clamp(0, 16 - f.bits.min(16) as i32);
        *f = Format { scale: (f.scale + more).min(most), bits: f.bits + more as u32 };
    }
    let common = scores.iter().map(|&i| formats[i].scale).filter(|s| SCORE_SCALE.contains(s)).min();
    for &i in &scores {
        if let Some(s) = common.filter(|_| SCORE_SCALE.contains(&formats[i].scale)) {
            formats[i].scale = s;
        }
    }
}

/// Functions in different places share a table if it costs the argument and the result one bit at most: a table costs as much as thousands
/// of elements.
fn shared_functions(graph: &Graph, formats: &mut [Format]) {
    let mut sides: BTreeMap<(String, bool, u32), Vec<usize>> = BTreeMap::new();
    for node in &graph.nodes {
        let Op::Unary(f) = &node.op else { continue };
        // The tables of these depend on the ratio of the scales only.
        if matches!(f, UnaryFn::Relu | UnaryFn::LeakyRelu { .. } | UnaryFn::Abs | UnaryFn::Neg) {
            continue;
        }
        for (result, id) in [(false, node.inputs[0]), (true, node.outputs.first().copied())] {
            let Some(id) = id.filter(|id| graph.value(*id).dtype == DType::F32 && graph.constant(*id).is_none()) else { continue };
            if !graph.inputs.contains(&id) && !graph.outputs.contains(&id) {
                sides.entry((format!("{f:?}"), result, formats[id.0].bits)).or_default().push(id.0);
            }
        }
    }
    for values in sides.values_mut() {
        values.sort_by_key(|&i| formats[i].scale);
        let mut least: Option<i32> = None;
        for &i in values.iter() {
            let own = formats[i].scale;
            match least {
                Some(scale) if own == scale + 1 => formats[i].scale = scale,
                Some(scale) if own == scale => {}
                _ => least = Some(own),
            }
        }
    }
}

/// Operators whose results never leave [-1, 1]: no headroom needed.
fn unit_range(op: &Op) -> bool {
    matches!(
        op,
        Op::Softmax { .. }
            | Op::MaskedSoftmax { .. }
            | Op::Unary(
                UnaryFn::Sigmoid
                    | UnaryFn::Tanh
                    | UnaryFn::Erf
                    | UnaryFn::HardSigmoid { .. }
                    | UnaryFn::Sin
                    | UnaryFn::Cos
                    | UnaryFn::Sign
                    | UnaryFn::Softsign
            )
    )
}

/// `floor(log2((2^(bits-1) - 1) / (2^headroom · abs_max)))`.
fn activation_scale(abs_max: f64, bits: u32, headroom: u32) -> i32 {
    if abs_max <= 0.0 {
        return i32::MAX;
    }
    let top = f64::from((1u32 << (bits - 1)) - 1);
    libm::floor(libm::log2(top / (abs_max * f64::from(1u32 << headroom)))) as i32
}

/// The largest scale at which a constant tensor fits into `bits` signed bits.
pub(crate) fn constant_scale(abs_max: f64, bits: u32) -> i32 {
    if abs_max <= 0.0 {
        return 0;
    }
    let top = f64::from((1u32 << (bits - 1)) - 1) + 0.499;
    (libm::floor(libm::log2(top / abs_max)) as i32).min(40)
}

/// One made-up input per graph input: standard normal floats, indices below the size of the tables they select from, ones elsewhere.
pub fn random_inputs(graph: &Graph, seed: u64) -> Vec<Tensor> {
    let consumers = graph.consumers();
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    let mut next = move || {
        // SplitMix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut inputs = Vec::new();
    for &id in &graph.inputs {
        let info = graph.value(id);
        let n: usize = info.shape.iter().product();
        let data = match info.dtype {
            DType::Bool => Data::Bool(vec![true; n]),
            DType::I64 => match index_bound(graph, &consumers, id) {
                Some(b) => Data::I64((0..n).map(|_| (next() % b.max(1) as u64) as i64).collect()),
                None => Data::I64(vec![1; n]),
            },
            DType::F32 => {
                let mut uniform = || ((next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
                let normal = (0..n).map(|_| {
                    let (a, b) = (uniform(), uniform());
                    (libm::sqrt(-2.0 * libm::log(a)) * libm::cos(std::f64::consts::TAU * b)) as f32
                });
                Data::F32(normal.collect())
            }
        };
        inputs.push(Tensor { shape: info.shape.clone(), data });
    }
    inputs
}

/// Size of the smallest axis that a value selects from, as it is or moved.
fn index_bound(graph: &Graph, consumers: &[Vec<usize>], id: ValueId) -> Option<usize> {
    let bound = |&c: &usize| {
        let node = &graph.nodes[c];
        match node.op {
            Op::Gather { axis } if node.inputs.get(1) == Some(&Some(id)) => {
                let table = node.inputs[0]?;
                graph.value(table).shape.get(axis).copied()
            }
            Op::Position { size } => Some(size),
            Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } | Op::Expand { .. } => {
                index_bound(graph, consumers, *node.outputs.first()?)
            }
            _ => None,
        }
    };
    consumers[id.0].iter().filter_map(bound).min()
}
