//! Decision trees: all comparisons at once, then the leaf of each tree whose path they agree with.

use super::{Const, Lower, LowerError, unsupported};
use crate::blocks;
use crate::{Accumulator, QTensor};
use zktorch_float::{Node, Tensor, TreeEnsemble, TreeNode};

/// The leaves of a tree: index, and the branches on the path with the answer that leads to the leaf.
fn paths(tree: &[TreeNode]) -> Vec<(usize, Vec<(usize, bool)>)> {
    let mut leaves = Vec::new();
    let mut open = vec![(0, Vec::new())];
    while let Some((at, path)) = open.pop() {
        match &tree[at] {
            TreeNode::Leaf { .. } => leaves.push((at, path)),
            TreeNode::Branch { below, above, .. } => {
                for (next, answer) in [(*above, false), (*below, true)] {
                    let mut longer = path.clone();
                    longer.push((at, answer));
                    open.push((next, longer));
                }
            }
        }
    }
    leaves
}

/// The ensemble as arrays, padded to the same number of branches and leaves per tree.
struct Arrays {
    trees: usize,
    branches: usize,
    leaves: usize,
    /// `[features, trees, branches]`: 1 at the feature of a branch.
    select: Vec<i64>,
    /// `[trees, branches]` at the scale of the features, so that a branch holds if `feature ≤ threshold`.
    thresholds: Vec<i64>,
    /// `[trees, branches, leaves]`: 1 or -1 for a branch on the leaf's path that must hold or must not.
    signs: Vec<i64>,
    /// `[trees, leaves]`: how many branches must hold. Padding is never reached.
    needed: Vec<i64>,
    /// `[trees, leaves, targets]`.
    values: Vec<f32>,
}

fn arrays(ensemble: &TreeEnsemble, features: usize, scale: i32) -> Arrays {
    let leaves: Vec<_> = ensemble.trees.iter().map(|t| paths(t)).collect();
    let trees = ensemble.trees.len();
    let most = leaves.iter().map(Vec::len).max().unwrap_or(1);
    // A binary tree has one branch less than leaves.
    let branches = most.saturating_sub(1).max(1);
    let unit = libm::exp2(f64::from(scale));
    let mut a = Arrays {
        trees,
        branches,
        leaves: most,
        select: vec![0; features * trees * branches],
        thresholds: vec![0; trees * branches],
        signs: vec![0; trees * branches * most],
        needed: vec![branches as i64 + 1; trees * most],
        values: vec![0.0; trees * most * ensemble.targets],
    };
    for (t, tree) in ensemble.trees.iter().enumerate() {
        let mut number = vec![0; tree.len()];
        let mut count = 0;
        for (at, node) in tree.iter().enumerate() {
            let TreeNode::Branch { feature, threshold, .. } = node else { continue };
            number[at] = count;
            a.select[(feature * trees + t) * branches + count] = 1;
            let v = f64::from(*threshold) * unit;
            // Exact on the grid of the features.
            let v = if ensemble.strict { libm::ceil(v) - 1.0 } else { libm::floor(v) };
            a.thresholds[t * branches + count] = v.clamp(-1e12, 1e12) as i64;
            count += 1;
        }
        for (j, (leaf, path)) in leaves[t].iter().enumerate() {
            for &(branch, holds) in path {
                a.signs[(t * branches + number[branch]) * most + j] = if holds { 1 } else { -1 };
            }
            a.needed[t * most + j] = path.iter().filter(|p| p.1).count() as i64;
            if let TreeNode::Leaf { values } = &tree[*leaf] {
                a.values[(t * most + j) * ensemble.targets..][..ensemble.targets].copy_from_slice(values);
            }
        }
    }
    a
}

impl Lower<'_> {
    /// A private integer parameter.
    fn private(&mut self, node: &Node, what: &str, shape: &[usize], values: Vec<i64>) -> Result<QTensor, LowerError> {
        let tensor = Tensor::i64(shape.to_vec(), values)?.into();
        self.constant_cells(&Const { name: format!("{}/{what}", node.name), tensor, weights: true }, Some(0))
    }

    /// `b[t, i] = [threshold - Σ_f x[f]·select[f, t, i] ≥ 0]`, `leaf[t, j] = [Σ_i b[t, i]·sign[t, i, j] - needed[t, j] ≥ 0]`, and the sum
    /// of `leaf·value`. Thresholds, features, the shape of the trees and the values are parameters; only the number of trees and the
    /// largest number of leaves show.
    pub(super) fn trees(&mut self, node: &Node, ensemble: &TreeEnsemble) -> Result<(), LowerError> {
        let x = self.operand(node, 0)?;
        let out = node.outputs[0];
        let q = self.cells(x)?;
        let [rows, features] = q.shape()[..] else {
            return unsupported("features of a shape other than [rows, features]");
        };
        if !ensemble.is_valid(features) || ensemble.trees.is_empty() {
            return unsupported("trees that do not fit the features");
        }
        let a = arrays(ensemble, features, q.scale);
        let select = self.private(node, "features", &[features, a.trees, a.branches], a.select)?;
        let thresholds = self.private(node, "thresholds", &[a.trees, a.branches], a.thresholds)?;
        // Letters: tree, row, branch; feature.
        let sizes = [a.trees, rows, a.branches, features];
        let integers = QTensor { scale: 0, ..q };
        let mut below = Accumulator::contraction(-1, &sizes, 3, &[(&integers, &[1, 3]), (&select, &[3, 0, 2])]);
        below.push(1, &[(&thresholds, &[0, 2])]);
        let answers = blocks::non_negative(&mut self.ctx, &node.name, &below)?;
        let signs = self.private(node, "paths", &[a.trees, a.branches, a.leaves], a.signs)?;
        let needed = self.private(node, "depths", &[a.trees, a.leaves], a.needed)?;
        // Letters: tree, row, leaf; branch.
        let sizes = [a.trees, rows, a.leaves, a.branches];
        let mut agreed = Accumulator::contraction(1, &sizes, 3, &[(&answers, &[0, 1, 3]), (&signs, &[0, 3, 2])]);
        agreed.push(-1, &[(&needed, &[0, 2])]);
        let reached = blocks::non_negative(&mut self.ctx, &node.name, &agreed)?;
        let tensor = Tensor::f32(vec![a.trees, a.leaves, ensemble.targets], a.values)?.into();
        let values = Const { name: format!("{}/leaves", node.name), tensor, weights: true };
        let values = self.weight_for(&values, Some(0), self.rescaling_scale(out))?;
        // Letters: row, target; tree, leaf.
        let sizes = [rows, ensemble.targets, a.trees, a.leaves];
        let acc = Accumulator::contraction(1, &sizes, 2, &[(&reached, &[2, 0, 3]), (&values, &[2, 3, 1])]);
        self.set_acc(node, out, acc)
    }
}
