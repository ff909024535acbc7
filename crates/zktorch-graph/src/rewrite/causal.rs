//! Attention under a fixed mask: rows are handled in blocks, each over the columns that its mask leaves open. Under a causal mask almost
//! half of the scores need no cells.

use zktorch_float::{DType, Data, EvalError, Graph, Node, Op, Tensor, ValueId, eval_op};

/// Most blocks of rows; each costs a few identities.
const BLOCKS: usize = 8;
/// Most blocks where there are fewer than [`LONG`] rows.
const SHORT_BLOCKS: usize = 4;
/// From this many rows on finer blocks pay.
const LONG: usize = 256;
/// Fewest rows of a block.
const ROWS: usize = 8;

/// The open columns of a block of rows.
struct Block {
    rows: (usize, usize),
    columns: (usize, usize),
}

/// A fixed mask over the last two axes of the scores.
struct Mask {
    /// Row-major over the shape of the scores.
    open: Vec<bool>,
    shape: Vec<usize>,
}

impl Mask {
    fn of(tensor: &Tensor, shape: &[usize]) -> Result<Option<Mask>, EvalError> {
        let op = Op::Expand { shape: shape.to_vec() };
        let expanded = eval_op(&op, &[Some(tensor)])?.pop();
        Ok(match expanded.map(|t| t.data) {
            Some(Data::Bool(open)) => Some(Mask { open, shape: shape.to_vec() }),
            _ => None,
        })
    }

    fn size(&self) -> (usize, usize) {
        let n = self.shape.len();
        (self.shape[n - 2], self.shape[n - 1])
    }

    /// Blocks of rows with the smallest range of columns that contains everything open; `None` if they save less than a fifth.
    fn blocks(&self) -> Option<Vec<Block>> {
        let (rows, columns) = self.size();
        // A closed row has weights in all columns, or in none.
        if self.open.chunks(columns.max(1)).any(|row| !row.contains(&true)) {
            return None;
        }
        let count = (rows / ROWS).min(if rows < LONG { SHORT_BLOCKS } else { BLOCKS });
        if count < 2 {
            return None;
        }
        let mut blocks = Vec::new();
        let mut area = 0;
        for b in 0..count {
            let (from, to) = (b * rows / count, (b + 1) * rows / count);
            let (mut first, mut last) = (columns, 0);
            for (i, _) in self.open.iter().enumerate().filter(|(_, open)| **open) {
                let (row, column) = (i / columns % rows, i % columns);
                if (from..to).contains(&row) {
                    first = first.min(column);
                    last = last.max(column + 1);
                }
            }
            if first >= last {
                return None;
            }
            area += (to - from) * (last - first);
            blocks.push(Block { rows: (from, to), columns: (first, last) });
        }
        (area * 5 <= rows * columns * 4).then_some(blocks)
    }

    /// The part of a block, as a tensor.
    fn part(&self, block: &Block) -> Result<Tensor, EvalError> {
        let n = self.shape.len();
        let whole = Tensor::bool(self.shape.clone(), self.open.clone())?;
        let mut starts = vec![0; n];
        let mut sizes = self.shape.clone();
        starts[n - 2] = block.rows.0;
        sizes[n - 2] = block.rows.1 - block.rows.0;
        starts[n - 1] = block.columns.0;
        sizes[n - 1] = block.columns.1 - block.columns.0;
        let op = Op::Slice { starts, sizes, steps: vec![1; n] };
        eval_op(&op, &[Some(&whole)])?.pop().ok_or_else(|| EvalError::Invalid("slice without result".into()))
    }
}

/// `maskedsoftmax(q·k (·c), mask)·v` with a fixed mask, row block by row block.
pub(super) fn split_masked_attention(graph: &mut Graph) -> Result<(), EvalError> {
    let producers = graph.producers();
    let consumers = graph.consumers();
    let outputs = graph.outputs.clone();
    let single = |id: ValueId| consumers.get(id.0).is_some_and(|c| c.len() == 1) && !outputs.contains(&id);
    let mut replaced: Vec<Option<Vec<Node>>> = vec![None; graph.nodes.len()];
    for index in 0..graph.nodes.len() {
        let node = graph.nodes[index].clone();
        let operand = |node: &Node, i: usize| node.inputs.get(i).copied().flatten();
        let (Op::MaskedSoftmax { axis, closed }, Some(scores), Some(mask)) = (&node.op, operand(&node, 0), operand(&node, 1)) else {
            continue;
        };
        let shape = graph.value(scores).shape.clone();
        let probabilities = node.outputs[0];
        if shape.len() < 2 || axis + 1 != shape.len() || !single(scores) || !single(probabilities) {
            continue;
        }
        let last = graph.nodes[consumers[probabilities.0][0]].clone();
        let (Op::MatMul, Some(p), Some(v)) = (&last.op, operand(&last, 0), operand(&last, 1)) else {
            continue;
        };
        if p != probabilities || graph.value(v).shape.len() < 2 {
            continue;
        }
        // Scores: a product, or a multiple of one.
        let Some(mut product) = producers[scores.0].map(|i| graph.nodes[i].clone()) else {
            continue;
        };
        let mut factor = None;
        if let (Op::Binary(zktorch_float::BinaryFn::Mul), Some(x), Some(c)) = (&product.op, operand(&product, 0), operand(&product, 1)) {
            let scalar = graph.constant(c).is_some_and(|t| t.len() == 1);
            match producers[x.0] {
                Some(i) if scalar && single(x) => {
                    factor = Some(c);
                    product = graph.nodes[i].clone();
                }
                _ => continue,
            }
        }
        let (Op::MatMul, Some(q), Some(k)) = (&product.op, operand(&product, 0), operand(&product, 1)) else {
            continue;
        };
        let Some(mask) = graph.constant(mask).cloned() else {
            continue;
        };
        let Some(mask) = Mask::of(&mask, &shape)? else {
            continue;
        };
        if graph.value(q).shape.len() < 2 || graph.value(k).shape.len() < 2 {
            continue;
        }
        let Some(blocks) = mask.blocks() else {
            continue;
        };
        // Parts are put together in the order in which the result is read on, which may make a copy unnecessary.
        let moved = match consumers[last.outputs[0].0][..] {
            [at] if single(last.outputs[0]) => match &graph.nodes[at].op {
                Op::Transpose { perm } => Some((at, perm.clone())),
                _ => None,
            },
            _ => None,
        };
        let mut maker = Maker { graph, name: &node.name, nodes: Vec::new() };
        let mut parts = Vec::new();
        for block in &blocks {
            let q = maker.slice(q, 2, block.rows);
            let k = maker.slice(k, 1, block.columns);
            let v = maker.slice(v, 2, block.columns);
            let mut part = shape.clone();
            let n = part.len();
            part[n - 2] = block.rows.1 - block.rows.0;
            part[n - 1] = block.columns.1 - block.columns.0;
            let mut s = maker.node("MatMul", Op::MatMul, &[q, k], part.clone());
            if let Some(c) = factor {
                s = maker.node("Mul", Op::Binary(zktorch_float::BinaryFn::Mul), &[s, c], part.clone());
            }
            let open = mask.part(block)?;
            let all = matches!(&open.data, Data::Bool(v) if v.iter().all(|b| *b));
            let p = if all {
                maker.node("Softmax", Op::Softmax { axis: n - 1 }, &[s], part)
            } else {
                let open = maker.graph.add_constant(format!("{}/mask", node.name), open, false);
                maker.node("Softmax", Op::MaskedSoftmax { axis: n - 1, closed: *closed }, &[s, open], part)
            };
            let mut shape = maker.graph.value(last.outputs[0]).shape.clone();
            let rank = shape.len();
            shape[rank - 2] = block.rows.1 - block.rows.0;
            let mut part = maker.node("MatMul", Op::MatMul, &[p, v], shape.clone());
            if let Some((_, perm)) = &moved {
                shape = perm.iter().map(|&p| shape[p]).collect();
                part = maker.node("Transpose", Op::Transpose { perm: perm.clone() }, &[part], shape);
            }
            parts.push(part);
        }
        let mut nodes = maker.nodes;
        let rows = graph.value(last.outputs[0]).shape.len() - 2;
        let (axis, outputs) = match &moved {
            Some((at, perm)) => (perm.iter().position(|&p| p == rows).unwrap_or(rows), graph.nodes[*at].outputs.clone()),
            None => (rows, last.outputs.clone()),
        };
        nodes.push(Node {
            name: last.name.clone(),
            onnx_op: last.onnx_op.clone(),
            op: Op::Concat { axis },
            inputs: parts.into_iter().map(Some).collect(),
            outputs,
        });
        if let Some((at, _)) = moved {
            replaced[at] = Some(Vec::new());
        }
        replaced[consumers[probabilities.0][0]] = Some(nodes);
    }
    let old = std::mem::take(&mut graph.nodes);
    for (node, new) in old.into_iter().zip(replaced) {
        match new {
            Some(nodes) => graph.nodes.extend(nodes),
            None => graph.nodes.push(node),
        }
    }
    Ok(())
}

struct Maker<'a> {
    graph: &'a mut Graph,
    name: &'a str,
    nodes: Vec<Node>,
}

impl Maker<'_> {
    fn node(&mut self, onnx_op: &str, op: Op, inputs: &[ValueId], shape: Vec<usize>) -> ValueId {
        let name = format!("{}#{}", self.name, self.nodes.len());
        let out = self.graph.add_value(name.clone(), DType::F32, shape);
        self.nodes.push(Node {
            name,
            onnx_op: onnx_op.to_string(),
            op,
            inputs: inputs.iter().copied().map(Some).collect(),
            outputs: vec![out],
        });
        out
    }

    /// Elements `range.0..range.1` of the axis that is `from_end`-th from the end.
    fn slice(&mut self, x: ValueId, from_end: usize, range: (usize, usize)) -> ValueId {
        let mut sizes = self.graph.value(x).shape.clone();
        let rank = sizes.len();
        let axis = rank - from_end;
        if range == (0, sizes[axis]) {
            return x;
        }
        let mut starts = vec![0; rank];
        starts[axis] = range.0;
        sizes[axis] = range.1 - range.0;
        let op = Op::Slice { starts, sizes: sizes.clone(), steps: vec![1; rank] };
        self.node("Slice", op, &[x], sizes)
    }
}
