//! Gradient-boosted trees.

use crate::bench::onnx::{Attr, Elem, Writer};

const TREES: usize = 100;
const DEPTH: u32 = 6;
const FEATURES: usize = 28;

/// 100 complete trees of depth 6 on 28 features in `[0, 1)`, whose leaves are added to one score: 6,300 comparisons, 6,400 leaves.
pub fn boosted() -> Vec<u8> {
    let mut w = Writer::new("trees", 17);
    let features = w.input("features", Elem::F32, &[1, FEATURES]);
    let (inner, all) = ((1i64 << DEPTH) - 1, (2i64 << DEPTH) - 1);
    let random = w.random();
    let mut leaves = Vec::new();
    let (mut tree_ids, mut node_ids, mut feature_ids, mut modes, mut values) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut yes, mut no) = (Vec::new(), Vec::new());
    for tree in 0..TREES as i64 {
        for node in 0..all {
            let is_inner = node < inner;
            tree_ids.push(tree);
            node_ids.push(node);
            modes.push(if is_inner { "BRANCH_LEQ" } else { "LEAF" });
            feature_ids.push(if is_inner { (random.next_u64() % FEATURES as u64) as i64 } else { 0 });
            values.push(if is_inner { random.uniform() } else { 0.0 });
            yes.push(if is_inner { 2 * node + 1 } else { 0 });
            no.push(if is_inner { 2 * node + 2 } else { 0 });
            if !is_inner {
                leaves.push((tree, node, 0.1 * random.normal()));
            }
        }
    }
    let (leaf_trees, leaf_nodes): (Vec<i64>, Vec<i64>) = leaves.iter().map(|&(t, n, _)| (t, n)).unzip();
    let weights: Vec<f32> = leaves.iter().map(|l| l.2).collect();
    let targets = vec![0; leaves.len()];
    let attributes = [
        ("n_targets", Attr::Int(1)),
        ("nodes_treeids", Attr::Ints(&tree_ids)),
        ("nodes_nodeids", Attr::Ints(&node_ids)),
        ("nodes_featureids", Attr::Ints(&feature_ids)),
        ("nodes_modes", Attr::Texts(&modes)),
        ("nodes_values", Attr::Floats(&values)),
        ("nodes_truenodeids", Attr::Ints(&yes)),
        ("nodes_falsenodeids", Attr::Ints(&no)),
        ("target_treeids", Attr::Ints(&leaf_trees)),
        ("target_nodeids", Attr::Ints(&leaf_nodes)),
        ("target_ids", Attr::Ints(&targets)),
        ("target_weights", Attr::Floats(&weights)),
    ];
    w.node_of("ai.onnx.ml", "TreeEnsembleRegressor", &[&features], &["score"], &attributes);
    w.output("score", &[1, 1]);
    w.finish()
}
