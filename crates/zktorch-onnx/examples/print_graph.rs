//! Prints the imported graph of a model, one node per line. Usage: `print_graph MODEL [DIM=N…]`.

#![allow(clippy::print_stdout)]

use std::error::Error;
use zktorch_float::{Graph, Tensor, ValueId};
use zktorch_onnx::{ImportOptions, import};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: print_graph MODEL [DIM=N...]")?;
    let mut options = ImportOptions::default();
    for arg in args {
        let (name, size) = arg.split_once('=').ok_or("expected DIM=N")?;
        options.dims.insert(name.to_owned(), size.parse()?);
    }
    let graph = import(path, &options)?;
    for id in &graph.inputs {
        println!("input {}", show(&graph, *id));
    }
    for node in &graph.nodes {
        let operands: Vec<String> = node.inputs.iter().map(|i| i.map_or("-".to_owned(), |id| show(&graph, id))).collect();
        let results: Vec<String> = node.outputs.iter().map(|id| show(&graph, *id)).collect();
        println!("{} = {:?} ({})", results.join(", "), node.op, operands.join(", "));
    }
    for id in &graph.outputs {
        println!("output {}", show(&graph, *id));
    }
    Ok(())
}

fn show(graph: &Graph, id: ValueId) -> String {
    let value = graph.value(id);
    let kind = match (&value.constant, value.from_weights) {
        (None, _) => "",
        (Some(_), true) => " weight",
        (Some(_), false) => " const",
    };
    let content = value.constant.as_deref().map_or(String::new(), preview);
    format!("%{} '{}' {}{:?}{kind}{content}", id.0, value.name, value.dtype, value.shape)
}

/// The elements of a small tensor.
fn preview(tensor: &Tensor) -> String {
    if tensor.len() > 4 { String::new() } else { format!(" {:?}", tensor.to_f32_vec()) }
}
