//! Ensembles of decision trees, in the form with one list per property of the nodes.

use super::ml::{floats, weights};
use super::{Ctx, Lowered};
use crate::ImportError;
use crate::tensor::read;
use std::collections::HashMap;
use std::sync::Arc;
use zktorch_float::{BinaryFn, DType, Op, Tensor, TreeEnsemble, TreeNode, UnaryFn, ValueId};

pub(super) fn regress(ctx: &mut Ctx<'_>) -> Lowered {
    let targets = usize::try_from(ctx.attrs.int("n_targets").unwrap_or(1)).unwrap_or(0);
    let (trees, _) = ensemble(ctx, "target", targets)?;
    let y = scores(ctx, trees, targets)?;
    Ok(vec![y])
}

pub(super) fn classify(ctx: &mut Ctx<'_>) -> Lowered {
    let labels = ctx.attrs.required(ctx.attrs.ints("classlabels_int64s"), "classlabels_int64s")?;
    let ids = ctx.attrs.ints("class_ids").unwrap_or_default();
    // Two classes and weights for one of them: the score speaks for the second class.
    if labels.len() == 2 && ids.windows(2).all(|w| w[0] == w[1]) {
        return binary(ctx, labels);
    }
    let (trees, _) = ensemble(ctx, "class", labels.len())?;
    let scores = scores(ctx, trees, labels.len())?;
    let best = ctx.emit(Op::ArgMax { axis: 1, keepdims: false, select_last_index: false }, &[scores])?;
    let label = pick(ctx, labels, best)?;
    let scores = match ctx.attrs.string("post_transform") {
        Some("SOFTMAX") => ctx.emit(Op::Softmax { axis: 1 }, &[scores])?,
        Some("LOGISTIC") => ctx.unary(UnaryFn::Sigmoid, scores)?,
        _ => scores,
    };
    Ok(vec![label, scores])
}

/// The labels at the given positions.
fn pick(ctx: &mut Ctx<'_>, labels: &[i64], positions: ValueId) -> Result<ValueId, ImportError> {
    if labels.iter().enumerate().all(|(i, &l)| l == i as i64) {
        return Ok(positions);
    }
    let table = ctx.literal(Tensor::ints(labels.to_vec()));
    ctx.emit(Op::Gather { axis: 0 }, &[table, positions])
}

fn binary(ctx: &mut Ctx<'_>, labels: &[i64]) -> Lowered {
    let (trees, positive) = ensemble(ctx, "class", 1)?;
    let score = scores(ctx, trees, 1)?;
    // Scores of positive weights are probabilities.
    let bound = ctx.float_literal(if positive { 0.5 } else { 0.0 });
    let above = ctx.binary(BinaryFn::Greater, score, bound)?;
    let above = ctx.emit(Op::Cast { to: DType::I64 }, &[above])?;
    let rows = ctx.shape(above)[0];
    let above = ctx.reshape(above, vec![rows])?;
    let label = pick(ctx, labels, above)?;
    let transform = ctx.attrs.string("post_transform").unwrap_or("NONE");
    let (first, second) = if positive {
        ctx.ensure(transform == "NONE", || format!("post_transform {transform} of two classes with positive weights is not supported"))?;
        let one = ctx.float_literal(1.0);
        (ctx.binary(BinaryFn::Sub, one, score)?, score)
    } else {
        ctx.ensure(transform != "SOFTMAX", || "post_transform SOFTMAX of one score is not supported".to_owned())?;
        let negative = ctx.unary(UnaryFn::Neg, score)?;
        match transform {
            "LOGISTIC" => (ctx.unary(UnaryFn::Sigmoid, negative)?, ctx.unary(UnaryFn::Sigmoid, score)?),
            _ => (negative, score),
        }
    };
    let both = ctx.emit(Op::Concat { axis: 1 }, &[first, second])?;
    Ok(vec![label, both])
}

/// The form with lists of leaves of their own (`TreeEnsemble`).
pub(super) fn leaves_apart(ctx: &mut Ctx<'_>) -> Lowered {
    let ints = |name: &str| ctx.attrs.required(ctx.attrs.ints(name), name);
    let tensor = |name: &str| -> Result<Vec<f32>, ImportError> {
        let proto = ctx.attrs.required(ctx.attrs.tensor(name), name)?;
        Ok(read(proto, ctx.files)?.to_f32_vec())
    };
    let targets = usize::try_from(ctx.attrs.int("n_targets").unwrap_or(1)).unwrap_or(0);
    let (roots, features) = (ints("tree_roots")?, ints("nodes_featureids")?);
    let (modes, splits, weights) = (tensor("nodes_modes")?, tensor("nodes_splits")?, tensor("leaf_weights")?);
    let leaf_targets = ints("leaf_targetids")?;
    let sides = [("nodes_truenodeids", "nodes_trueleafs"), ("nodes_falsenodeids", "nodes_falseleafs")];
    let mut children = Vec::new();
    for (ids, leaves) in sides {
        let (ids, leaves) = (ints(ids)?, ints(leaves)?);
        ctx.ensure(ids.len() == features.len() && leaves.len() == features.len(), || "lists of different lengths".to_owned())?;
        children.push((ids, leaves));
    }
    let equal = modes.len() == features.len() && splits.len() == features.len() && weights.len() == leaf_targets.len();
    ctx.ensure(equal, || "lists of different lengths".to_owned())?;
    let strict = modes.contains(&1.0);
    ctx.ensure(modes.iter().all(|&m| m == f32::from(u8::from(strict))), || {
        "only trees whose branches all have mode LEQ, or all LT, are supported".to_owned()
    })?;
    let mut trees = Vec::with_capacity(roots.len());
    for &root in roots {
        let mut nodes = Vec::new();
        // Node or leaf by number, breadth first.
        let mut order = vec![(false, root)];
        let mut next = 0;
        while let Some(&(leaf, id)) = order.get(next) {
            next += 1;
            ctx.ensure(order.len() <= 2 * features.len() + 1, || format!("the tree at node {root} has a cycle"))?;
            let at = usize::try_from(id).unwrap_or(usize::MAX);
            if leaf {
                let target = leaf_targets.get(at).and_then(|&t| usize::try_from(t).ok()).filter(|&t| t < targets);
                let target = target.ok_or_else(|| ctx.error(format!("leaf {id} does not exist, or its target")))?;
                let mut values = vec![0.0; targets];
                values[target] = weights[at];
                nodes.push(TreeNode::Leaf { values });
                continue;
            }
            let feature = features.get(at).and_then(|&f| usize::try_from(f).ok());
            let feature = feature.ok_or_else(|| ctx.error(format!("node {id} does not exist, or its feature")))?;
            let (below, above) = (order.len(), order.len() + 1);
            order.extend(children.iter().map(|(ids, leaves)| (leaves[at] != 0, ids[at])));
            nodes.push(TreeNode::Branch { feature, threshold: splits[at], below, above });
        }
        trees.push(nodes);
    }
    Ok(vec![scores(ctx, TreeEnsemble { trees, targets, strict }, targets)?])
}

/// Sums of leaves and base values.
fn scores(ctx: &mut Ctx<'_>, trees: TreeEnsemble, targets: usize) -> Result<ValueId, ImportError> {
    let x = floats(ctx)?;
    let y = ctx.emit(Op::TreeEnsemble(Arc::new(trees)), &[x])?;
    match ctx.attrs.floats("base_values").filter(|b| !b.is_empty()) {
        Some(base) => {
            ctx.ensure(base.len() == targets, || format!("{} base values for {targets} targets", base.len()))?;
            let base = weights(ctx, vec![targets], base)?;
            ctx.binary(BinaryFn::Add, y, base)
        }
        None => Ok(y),
    }
}

/// The trees, and whether all weights are positive or 0. `prefix` names the attributes of the leaves; with one target their ids do not
/// matter.
fn ensemble(ctx: &Ctx<'_>, prefix: &str, targets: usize) -> Result<(TreeEnsemble, bool), ImportError> {
    let ints = |name: &str| ctx.attrs.required(ctx.attrs.ints(name), name);
    let (tree_ids, node_ids) = (ints("nodes_treeids")?, ints("nodes_nodeids")?);
    let (yes, no, features) = (ints("nodes_truenodeids")?, ints("nodes_falsenodeids")?, ints("nodes_featureids")?);
    let thresholds = ctx.attrs.required(ctx.attrs.floats("nodes_values"), "nodes_values")?;
    let modes = ctx.attrs.required(ctx.attrs.strings("nodes_modes"), "nodes_modes")?;
    let count = tree_ids.len();
    let equal = [node_ids.len(), yes.len(), no.len(), features.len(), thresholds.len(), modes.len()].iter().all(|&l| l == count);
    ctx.ensure(equal && count > 0, || "the lists of node properties have different lengths".to_owned())?;
    let strict = modes.contains(&"BRANCH_LT");
    ctx.ensure(!strict || !modes.contains(&"BRANCH_LEQ"), || "modes BRANCH_LT and BRANCH_LEQ together are not supported".to_owned())?;
    let mut index = HashMap::new();
    for (i, id) in tree_ids.iter().zip(node_ids).enumerate() {
        ctx.ensure(index.insert(id, i).is_none(), || format!("tree {} has two nodes {}", id.0, id.1))?;
    }
    let mut leaves: HashMap<usize, Vec<f32>> = HashMap::new();
    let list = |name: &str| ints(&format!("{prefix}_{name}"));
    let (leaf_trees, leaf_nodes, leaf_ids) = (list("treeids")?, list("nodeids")?, list("ids")?);
    let name = format!("{prefix}_weights");
    let leaf_weights = ctx.attrs.required(ctx.attrs.floats(&name), &name)?;
    let equal = [leaf_nodes.len(), leaf_ids.len(), leaf_weights.len()].iter().all(|&l| l == leaf_trees.len());
    ctx.ensure(equal, || "the lists of leaf properties have different lengths".to_owned())?;
    for (i, &weight) in leaf_weights.iter().enumerate() {
        let key = (&leaf_trees[i], &leaf_nodes[i]);
        let &node = index.get(&key).ok_or_else(|| ctx.error(format!("a leaf weight for node {} of tree {}", key.1, key.0)))?;
        let target = if targets == 1 { 0 } else { usize::try_from(leaf_ids[i]).unwrap_or(usize::MAX) };
        let values = leaves.entry(node).or_insert_with(|| vec![0.0; targets]);
        let value = values.get_mut(target).ok_or_else(|| ctx.error(format!("target {} of {targets}", leaf_ids[i])))?;
        *value += weight;
    }
    // The first node of a tree in the list is its root.
    let mut trees: Vec<Vec<TreeNode>> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for (root, tree) in tree_ids.iter().enumerate() {
        if !seen.insert(tree) {
            continue;
        }
        let mut nodes = Vec::new();
        let mut order = vec![root];
        let mut next = 0;
        // Breadth first: children come after their parents, and a node that is reached twice is another leaf of the path.
        while let Some(&at) = order.get(next) {
            next += 1;
            ctx.ensure(order.len() <= count, || format!("tree {tree} has a cycle or a node with two parents"))?;
            if modes[at] == "LEAF" {
                nodes.push(TreeNode::Leaf { values: leaves.get(&at).cloned().unwrap_or_else(|| vec![0.0; targets]) });
                continue;
            }
            let feature = usize::try_from(features[at]).map_err(|_| ctx.error(format!("feature {}", features[at])))?;
            let mut child = |id: &i64| -> Result<usize, ImportError> {
                let &node = index.get(&(tree, id)).ok_or_else(|| ctx.error(format!("tree {tree} has no node {id}")))?;
                order.push(node);
                Ok(order.len() - 1)
            };
            let (below, above) = (child(&yes[at])?, child(&no[at])?);
            nodes.push(TreeNode::Branch { feature, threshold: thresholds[at], below, above });
        }
        trees.push(nodes);
    }
    Ok((TreeEnsemble { trees, targets, strict }, leaf_weights.iter().all(|&w| w >= 0.0)))
}
