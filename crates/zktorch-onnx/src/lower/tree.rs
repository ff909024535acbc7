//! Ensembles of decision trees, in both forms that the standard has.

use super::ml::{floats, transformed, weights};
use super::{Ctx, Lowered};
use crate::ImportError;
use crate::tensor::read;
use grow::{Forest, Mode, Next, Split};
use std::collections::HashMap;
use std::sync::Arc;
use zktorch_float::{BinaryFn, DType, Op, Tensor, TreeEnsemble, TreeNode, UnaryFn, ValueId};

mod grow;

pub(super) fn regress(ctx: &mut Ctx<'_>) -> Lowered {
    let targets = usize::try_from(ctx.attrs.int("n_targets").unwrap_or(1)).unwrap_or(0);
    let (trees, _) = ensemble(ctx, "target", targets)?;
    Ok(vec![scores(ctx, trees, targets)?])
}

pub(super) fn classify(ctx: &mut Ctx<'_>) -> Lowered {
    let labels = ctx.attrs.required(ctx.attrs.ints("classlabels_int64s"), "classlabels_int64s")?;
    let ids = ctx.attrs.ints("class_ids").unwrap_or_default();
    // Two classes and weights for one of them: the score speaks for the second class, whichever of the two is named.
    if labels.len() == 2 && ids.windows(2).all(|w| w[0] == w[1]) {
        return binary(ctx, labels, ids.first() == Some(&1));
    }
    let (trees, _) = ensemble(ctx, "class", labels.len())?;
    let scores = scores(ctx, trees, labels.len())?;
    let best = ctx.emit(Op::ArgMax { axis: 1, keepdims: false, select_last_index: false }, &[scores])?;
    let label = pick(ctx, labels, best)?;
    let scores = transformed(ctx, scores, ctx.attrs.string("post_transform"))?;
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

/// `apart`: the weights name the second class, so that the first one's score is 0; otherwise it follows from the second one's.
fn binary(ctx: &mut Ctx<'_>, labels: &[i64], apart: bool) -> Lowered {
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
    let (first, second) = if apart {
        let zero = ctx.float_literal(0.0);
        let nothing = ctx.binary(BinaryFn::Mul, score, zero)?;
        let both = ctx.emit(Op::Concat { axis: 1 }, &[nothing, score])?;
        return Ok(vec![label, transformed(ctx, both, Some(transform))?]);
    } else if positive {
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
    let given = |name: &str| -> Result<Option<Vec<f32>>, ImportError> {
        ctx.attrs.tensor(name).map(|proto| Ok(read(proto, ctx.files)?.to_f32_vec())).transpose()
    };
    let tensor = |name: &str| ctx.attrs.required(given(name)?, name);
    let targets = usize::try_from(ctx.attrs.int("n_targets").unwrap_or(1)).unwrap_or(0);
    let (roots, features) = (ints("tree_roots")?, ints("nodes_featureids")?);
    let (modes, splits, weights) = (tensor("nodes_modes")?, tensor("nodes_splits")?, tensor("leaf_weights")?);
    let leaf_targets = ints("leaf_targetids")?;
    let mut children = Vec::new();
    for (ids, leaves) in [("nodes_truenodeids", "nodes_trueleafs"), ("nodes_falsenodeids", "nodes_falseleafs")] {
        let (ids, leaves) = (ints(ids)?, ints(leaves)?);
        ctx.ensure(ids.len() == features.len() && leaves.len() == features.len(), || "lists of different lengths".to_owned())?;
        children.push((ids, leaves));
    }
    let equal = modes.len() == features.len() && splits.len() == features.len() && weights.len() == leaf_targets.len();
    ctx.ensure(equal, || "lists of different lengths".to_owned())?;
    // One list of members per node that asks for membership, each closed by a NaN.
    let members = given("membership_values")?.unwrap_or_default();
    let mut sets = members.split(|v| v.is_nan());
    let mut forest = Forest::default();
    for (&target, &weight) in leaf_targets.iter().zip(&weights) {
        let mut values = vec![0.0; targets];
        let place = usize::try_from(target).ok().and_then(|t| values.get_mut(t));
        *place.ok_or_else(|| ctx.error(format!("target {target} of {targets}")))? = weight;
        forest.leaves.push(values);
    }
    for (i, &feature) in features.iter().enumerate() {
        let mode = Mode::by_number(modes[i]).ok_or_else(|| ctx.error(format!("branch mode {}", modes[i])))?;
        let set = match mode {
            Mode::Member => sets.next().ok_or_else(|| ctx.error("fewer sets of members than nodes that ask for them"))?.to_vec(),
            _ => vec![splits[i]],
        };
        let next = |(ids, leaves): &(&[i64], &[i64])| {
            let at = usize::try_from(ids[i]).unwrap_or(usize::MAX);
            if leaves[i] != 0 { Next::Leaf(at) } else { Next::Branch(at) }
        };
        let feature = usize::try_from(feature).map_err(|_| ctx.error(format!("feature {feature}")))?;
        forest.branches.push(Split { feature, mode, values: set, yes: next(&children[0]), no: next(&children[1]) });
    }
    forest.roots = roots.iter().map(|&r| Next::Branch(usize::try_from(r).unwrap_or(usize::MAX))).collect();
    let trees = forest.grown().map_err(|e| ctx.error(e))?;
    let aggregate = ["AVERAGE", "SUM", "MIN", "MAX"].get(ctx.attrs.int("aggregate_function").unwrap_or(1) as usize).copied();
    Ok(vec![aggregated(ctx, trees, targets, aggregate.unwrap_or("SUM"))?])
}

/// Most trees of which the smallest or largest result is taken.
const MAX_COMPARED: usize = 256;

/// Sums, means, minima or maxima over all trees.
fn aggregated(ctx: &mut Ctx<'_>, mut trees: Vec<Vec<TreeNode>>, targets: usize, aggregate: &str) -> Result<ValueId, ImportError> {
    let x = floats(ctx)?;
    let ensemble = |trees| Op::TreeEnsemble(Arc::new(TreeEnsemble { trees, targets, strict: false }));
    let function = match aggregate {
        "MIN" => BinaryFn::Min,
        "MAX" => BinaryFn::Max,
        _ => {
            if aggregate == "AVERAGE" {
                let share = 1.0 / trees.len().max(1) as f32;
                for node in trees.iter_mut().flatten() {
                    if let TreeNode::Leaf { values } = node {
                        values.iter_mut().for_each(|v| *v *= share);
                    }
                }
            }
            return ctx.emit(ensemble(trees), &[x]);
        }
    };
    // With several targets it would matter which trees speak of which.
    ctx.ensure(targets == 1 && trees.len() <= MAX_COMPARED, || format!("{aggregate} of {} trees with {targets} targets", trees.len()))?;
    let mut best: Option<ValueId> = None;
    for tree in trees {
        let y = ctx.emit(ensemble(vec![tree]), &[x])?;
        best = Some(match best {
            None => y,
            Some(before) => ctx.binary(function, before, y)?,
        });
    }
    best.ok_or_else(|| ctx.error("no trees"))
}

/// The trees' results and base values.
fn scores(ctx: &mut Ctx<'_>, trees: Vec<Vec<TreeNode>>, targets: usize) -> Result<ValueId, ImportError> {
    let y = aggregated(ctx, trees, targets, ctx.attrs.string("aggregate_function").unwrap_or("SUM"))?;
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
fn ensemble(ctx: &Ctx<'_>, prefix: &str, targets: usize) -> Result<(Vec<Vec<TreeNode>>, bool), ImportError> {
    let ints = |name: &str| ctx.attrs.required(ctx.attrs.ints(name), name);
    let (tree_ids, node_ids) = (ints("nodes_treeids")?, ints("nodes_nodeids")?);
    let (yes, no, features) = (ints("nodes_truenodeids")?, ints("nodes_falsenodeids")?, ints("nodes_featureids")?);
    let thresholds = ctx.attrs.required(ctx.attrs.floats("nodes_values"), "nodes_values")?;
    let modes = ctx.attrs.required(ctx.attrs.strings("nodes_modes"), "nodes_modes")?;
    let count = tree_ids.len();
    let equal = [node_ids.len(), yes.len(), no.len(), features.len(), thresholds.len(), modes.len()].iter().all(|&l| l == count);
    ctx.ensure(equal && count > 0, || "the lists of node properties have different lengths".to_owned())?;
    let mut index = HashMap::new();
    for (i, id) in tree_ids.iter().zip(node_ids).enumerate() {
        ctx.ensure(index.insert(id, i).is_none(), || format!("tree {} has two nodes {}", id.0, id.1))?;
    }
    // A leaf has the number of its node, so that there is one list of each as long as all nodes.
    let mut forest = Forest { leaves: vec![vec![0.0; targets]; count], ..Forest::default() };
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
        let value = forest.leaves[node].get_mut(target).ok_or_else(|| ctx.error(format!("target {} of {targets}", leaf_ids[i])))?;
        *value += weight;
    }
    let next = |node: usize| if modes[node] == "LEAF" { Next::Leaf(node) } else { Next::Branch(node) };
    // The first node of a tree in the list is its root.
    let mut seen = std::collections::HashSet::new();
    for (i, tree) in tree_ids.iter().enumerate() {
        if seen.insert(tree) {
            forest.roots.push(next(i));
        }
        if modes[i] == "LEAF" {
            forest.branches.push(Split { feature: 0, mode: Mode::LessOrEqual, values: Vec::new(), yes: Next::Leaf(i), no: Next::Leaf(i) });
            continue;
        }
        let mode = Mode::by_name(modes[i]).ok_or_else(|| ctx.error(format!("branch mode {}", modes[i])))?;
        let feature = usize::try_from(features[i]).map_err(|_| ctx.error(format!("feature {}", features[i])))?;
        let child = |id: &i64| -> Result<Next, ImportError> {
            let &node = index.get(&(tree, id)).ok_or_else(|| ctx.error(format!("tree {tree} has no node {id}")))?;
            Ok(next(node))
        };
        forest.branches.push(Split { feature, mode, values: vec![thresholds[i]], yes: child(&yes[i])?, no: child(&no[i])? });
    }
    let trees = forest.grown().map_err(|e| ctx.error(e))?;
    Ok((trees, leaf_weights.iter().all(|&w| w >= 0.0)))
}
