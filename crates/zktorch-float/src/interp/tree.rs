//! Ensembles of decision trees.

use super::{ensure, float};
use crate::{EvalError, Tensor, TreeEnsemble, TreeNode};

/// Sums of the leaves that each row of `x` reaches.
pub(crate) fn ensemble(x: &Tensor, trees: &TreeEnsemble) -> Result<Tensor, EvalError> {
    let &[rows, features] = &x.shape[..] else {
        return Err(EvalError::invalid(format!("shape {:?} is no list of feature rows", x.shape)));
    };
    ensure(trees.is_valid(features), || format!("the trees do not fit {features} features"))?;
    let mut out = Vec::with_capacity(rows.saturating_mul(trees.targets));
    for row in x.as_f32()?.chunks(features.max(1)).take(rows) {
        let mut sums = vec![0f64; trees.targets];
        for tree in &trees.trees {
            let mut at = 0;
            loop {
                match &tree[at] {
                    TreeNode::Branch { feature, threshold, below, above } => {
                        let low = if trees.strict { row[*feature] < *threshold } else { row[*feature] <= *threshold };
                        at = if low { *below } else { *above };
                    }
                    TreeNode::Leaf { values } => {
                        sums.iter_mut().zip(values).for_each(|(s, v)| *s += f64::from(*v));
                        break;
                    }
                }
            }
        }
        out.extend(sums.iter().map(|&s| s as f32));
    }
    float(vec![rows, trees.targets], out)
}
