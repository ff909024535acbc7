use super::{Net, Random, verify, wrong_cells_are_caught};
use std::sync::Arc;
use zktorch_float::{Op, Tensor, TreeEnsemble, TreeNode};

fn branch(feature: usize, threshold: f32, below: usize, above: usize) -> TreeNode {
    TreeNode::Branch { feature, threshold, below, above }
}

fn leaf(values: [f32; 2]) -> TreeNode {
    TreeNode::Leaf { values: values.to_vec() }
}

#[test]
fn trees_of_different_depths_and_features_of_different_magnitude() {
    let deep = vec![
        branch(0, 1500.0, 1, 2),
        branch(1, 0.0125, 3, 4),
        branch(2, -0.5, 5, 6),
        leaf([1.0, 0.0]),
        branch(1, 0.02, 7, 8),
        leaf([0.0, -2.0]),
        leaf([0.5, 0.5]),
        leaf([0.25, 0.0]),
        leaf([-1.0, 3.0]),
    ];
    let stump = vec![branch(2, 0.0, 1, 2), leaf([0.125, 0.0]), leaf([0.0, 0.125])];
    for strict in [false, true] {
        let trees = vec![deep.clone(), stump.clone(), vec![leaf([0.0625, -0.0625])]];
        let mut net = Net::default();
        let x = net.input("x", &[6, 3]);
        let y = net.op(Op::TreeEnsemble(Arc::new(TreeEnsemble { trees, targets: 2, strict })), &[x]);
        net.output(y);
        // Rows on both sides of every threshold, and on the one that is on the grid.
        let rows = [
            [1000.0, 0.012, 0.0],
            [1500.0, 0.013, -0.01],
            [1600.0, 0.5, -0.5],
            [3000.0, 0.0, -0.49],
            [0.0, 0.03, 0.01],
            [1499.9, 0.019, -0.51],
        ];
        let inputs = vec![Tensor::f32(vec![6, 3], rows.concat()).unwrap()];
        let model = verify(&net, std::slice::from_ref(&inputs), 1e-3);
        wrong_cells_are_caught(&model, &inputs);
    }
    let mut r = Random::new(71);
    let mut net = Net::default();
    let x = net.input("x", &[1, 3]);
    let y = net.op(Op::TreeEnsemble(Arc::new(TreeEnsemble { trees: vec![deep], targets: 2, strict: false })), &[x]);
    net.output(y);
    verify(&net, &[vec![r.tensor(&[1, 3], 2.0)]], 1e-3);
}
