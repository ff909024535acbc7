//! Trees with branches of any kind, made into trees that only ask for `feature ≤ threshold`.

use zktorch_float::TreeNode;

/// What a branch asks of its feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    LessOrEqual,
    Less,
    GreaterOrEqual,
    Greater,
    Equal,
    NotEqual,
    /// Whether the feature is one of several numbers.
    Member,
}

impl Mode {
    /// By its number in `TreeEnsemble`.
    pub(super) fn by_number(number: f32) -> Option<Mode> {
        let all = [Mode::LessOrEqual, Mode::Less, Mode::GreaterOrEqual, Mode::Greater, Mode::Equal, Mode::NotEqual, Mode::Member];
        (0..all.len()).find(|&i| i as f32 == number).map(|i| all[i])
    }

    /// By its name in `TreeEnsembleRegressor` and `TreeEnsembleClassifier`.
    pub(super) fn by_name(name: &str) -> Option<Mode> {
        Some(match name {
            "BRANCH_LEQ" => Mode::LessOrEqual,
            "BRANCH_LT" => Mode::Less,
            "BRANCH_GTE" => Mode::GreaterOrEqual,
            "BRANCH_GT" => Mode::Greater,
            "BRANCH_EQ" => Mode::Equal,
            "BRANCH_NEQ" => Mode::NotEqual,
            _ => return None,
        })
    }
}

/// Where a path goes on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Next {
    Branch(usize),
    Leaf(usize),
}

/// A branch.
#[derive(Debug, Clone)]
pub(super) struct Split {
    pub feature: usize,
    pub mode: Mode,
    /// The threshold, or the members.
    pub values: Vec<f32>,
    pub yes: Next,
    pub no: Next,
}

/// Branches and leaves of all trees.
#[derive(Debug, Default)]
pub(super) struct Forest {
    pub roots: Vec<Next>,
    pub branches: Vec<Split>,
    /// Summands of each leaf, one per target.
    pub leaves: Vec<Vec<f32>>,
}

/// Most nodes of one tree: a question for several members repeats what follows a negative answer.
const MAX_NODES: usize = 1 << 20;

/// What a node of the grown tree is made of.
#[derive(Clone, Copy)]
enum Part {
    Next(Next),
    /// Branch, number of a member in ascending order: above the members before it.
    Above(usize, usize),
    /// Branch, number of a member: at most that member and above the members before it.
    Upto(usize, usize),
}

impl Forest {
    /// The trees as lists in which children come after their parents.
    pub(super) fn grown(&self) -> Result<Vec<Vec<TreeNode>>, String> {
        self.roots.iter().map(|&root| self.tree(root)).collect()
    }

    fn tree(&self, root: Next) -> Result<Vec<TreeNode>, String> {
        let mut nodes = Vec::new();
        let mut order = vec![Part::Next(root)];
        let mut next = 0;
        while let Some(&part) = order.get(next) {
            next += 1;
            if order.len() > MAX_NODES {
                return Err(format!("a tree of more than {MAX_NODES} nodes, or with a cycle"));
            }
            let mut branch = |feature, threshold, below, above| {
                order.extend([below, above]);
                nodes.push(TreeNode::Branch { feature, threshold, below: order.len() - 2, above: order.len() - 1 });
            };
            match part {
                Part::Next(Next::Leaf(at)) => {
                    let values = self.leaves.get(at).ok_or_else(|| format!("there is no leaf {at}"))?;
                    nodes.push(TreeNode::Leaf { values: values.clone() });
                }
                Part::Next(Next::Branch(at)) => {
                    let split = self.branches.get(at).ok_or_else(|| format!("there is no node {at}"))?;
                    let (yes, no) = (Part::Next(split.yes), Part::Next(split.no));
                    let threshold = split.values.first().copied().unwrap_or(0.0);
                    match split.mode {
                        Mode::LessOrEqual => branch(split.feature, threshold, yes, no),
                        Mode::Less => branch(split.feature, threshold.next_down(), yes, no),
                        Mode::GreaterOrEqual => branch(split.feature, threshold.next_down(), no, yes),
                        Mode::Greater => branch(split.feature, threshold, no, yes),
                        Mode::Equal | Mode::NotEqual | Mode::Member if split.values.is_empty() => {
                            return Err(format!("node {at} asks for one of no members"));
                        }
                        Mode::Equal | Mode::NotEqual | Mode::Member => {
                            let (threshold, above) = self.member(at, 0);
                            branch(split.feature, threshold, Part::Upto(at, 0), above);
                        }
                    }
                }
                Part::Above(at, i) => {
                    let (threshold, above) = self.member(at, i);
                    branch(self.branches[at].feature, threshold, Part::Upto(at, i), above);
                }
                Part::Upto(at, i) => {
                    let split = &self.branches[at];
                    let (yes, no) = self.answers(at);
                    branch(split.feature, self.sorted(at)[i].next_down(), no, yes);
                }
            }
        }
        Ok(nodes)
    }

    fn sorted(&self, at: usize) -> Vec<f32> {
        let mut values = self.branches[at].values.clone();
        values.sort_by(f32::total_cmp);
        values
    }

    /// Where a member leads to, and any other number.
    fn answers(&self, at: usize) -> (Part, Part) {
        let split = &self.branches[at];
        let (yes, no) = (Part::Next(split.yes), Part::Next(split.no));
        if split.mode == Mode::NotEqual { (no, yes) } else { (yes, no) }
    }

    /// Member `i` in ascending order, and what follows above it.
    fn member(&self, at: usize, i: usize) -> (f32, Part) {
        let values = self.sorted(at);
        let above = if i + 1 < values.len() { Part::Above(at, i + 1) } else { self.answers(at).1 };
        (values[i], above)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The leaf that a number reaches.
    fn leaf(tree: &[TreeNode], x: f32) -> f32 {
        let mut at = 0;
        loop {
            match &tree[at] {
                TreeNode::Leaf { values } => return values[0],
                TreeNode::Branch { threshold, below, above, .. } => at = if x <= *threshold { *below } else { *above },
            }
        }
    }

    #[test]
    fn every_kind_of_branch_becomes_comparisons() {
        type Ask = fn(f32) -> bool;
        let asks: [(Mode, Ask); 7] = [
            (Mode::LessOrEqual, |x| x <= 2.0),
            (Mode::Less, |x| x < 2.0),
            (Mode::GreaterOrEqual, |x| x >= 2.0),
            (Mode::Greater, |x| x > 2.0),
            (Mode::Equal, |x| x == 2.0),
            (Mode::NotEqual, |x| x != 2.0),
            (Mode::Member, |x| [2.0, 5.0, -1.0].contains(&x)),
        ];
        for (mode, holds) in asks {
            let values = if mode == Mode::Member { vec![2.0, 5.0, -1.0] } else { vec![2.0] };
            let split = Split { feature: 0, mode, values, yes: Next::Leaf(1), no: Next::Leaf(0) };
            let forest = Forest { roots: vec![Next::Branch(0)], branches: vec![split], leaves: vec![vec![0.0], vec![1.0]] };
            let tree = forest.grown().unwrap().remove(0);
            for x in [-2.0, -1.0, -0.5, 1.5, 2.0, 2.5, 5.0, 6.0] {
                assert_eq!(leaf(&tree, x) == 1.0, holds(x), "{mode:?} of {x}");
            }
        }
    }

    #[test]
    fn cycles_and_missing_nodes_are_errors() {
        let split = |yes| Split { feature: 0, mode: Mode::Less, values: vec![0.0], yes, no: Next::Leaf(0) };
        for next in [Next::Branch(0), Next::Branch(7), Next::Leaf(7)] {
            let forest = Forest { roots: vec![Next::Branch(0)], branches: vec![split(next)], leaves: vec![vec![0.0]] };
            assert!(forest.grown().is_err(), "{next:?}");
        }
    }
}
