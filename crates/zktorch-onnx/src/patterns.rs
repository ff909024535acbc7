//! Simplifications of the graph that keep its meaning.

use zktorch_float::Graph;

/// Applies all simplifications.
pub(crate) fn simplify(_graph: &mut Graph) {}

/// Removes nodes and values that no output depends on. Inputs stay.
pub(crate) fn remove_dead(graph: &mut Graph) {
    let mut live = vec![false; graph.values.len()];
    for id in graph.outputs.iter().chain(&graph.inputs) {
        live[id.0] = true;
    }
    let mut keep = vec![false; graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        if node.outputs.iter().any(|id| live[id.0]) {
            keep[index] = true;
            // All outputs of a live node exist, wanted or not.
            for id in node.inputs.iter().flatten().chain(&node.outputs) {
                live[id.0] = true;
            }
        }
    }
    let mut flags = keep.into_iter();
    graph.nodes.retain(|_| flags.next().unwrap_or(true));
    let mut next = 0;
    let number: Vec<usize> = live
        .iter()
        .map(|&l| {
            let number = next;
            next += usize::from(l);
            number
        })
        .collect();
    let mut flags = live.into_iter();
    graph.values.retain(|_| flags.next().unwrap_or(true));
    let renumber = |id: &mut zktorch_float::ValueId| id.0 = number[id.0];
    for node in &mut graph.nodes {
        node.inputs.iter_mut().flatten().for_each(renumber);
        node.outputs.iter_mut().for_each(renumber);
    }
    graph.inputs.iter_mut().for_each(renumber);
    graph.outputs.iter_mut().for_each(renumber);
}
