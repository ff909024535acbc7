//! Decision trees.

/// A node of a decision tree.
#[derive(Debug, Clone, PartialEq)]
pub enum TreeNode {
    /// Compares a feature.
    Branch {
        /// Column of the input.
        feature: usize,
        /// What it is compared with.
        threshold: f32,
        /// Next node if the comparison holds; a later one in the list.
        below: usize,
        /// Next node otherwise; a later one in the list.
        above: usize,
    },
    /// The end of a path.
    Leaf {
        /// One summand per target.
        values: Vec<f32>,
    },
}

/// Decision trees whose leaves are added up.
#[derive(Debug, Clone, PartialEq)]
pub struct TreeEnsemble {
    /// The trees; node 0 is the root and every branch leads to later nodes.
    pub trees: Vec<Vec<TreeNode>>,
    /// Number of results per row.
    pub targets: usize,
    /// Whether a branch asks for `feature < threshold` instead of `feature ≤ threshold`.
    pub strict: bool,
}

impl TreeEnsemble {
    /// Whether all nodes, features and leaf sizes exist, so that every path over rows of `features` ends.
    pub fn is_valid(&self, features: usize) -> bool {
        let valid = |at: usize, node: &TreeNode, len: usize| match node {
            TreeNode::Branch { feature, below, above, .. } => {
                *feature < features && [below, above].iter().all(|&&next| next > at && next < len)
            }
            TreeNode::Leaf { values } => values.len() == self.targets,
        };
        self.trees.iter().all(|tree| !tree.is_empty() && tree.iter().enumerate().all(|(at, node)| valid(at, node, tree.len())))
    }
}
