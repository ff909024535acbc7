//! The check of a model against the tables of known operators, before any work.

use crate::attributes::{Kind, domain, kind_of, node_name, normal_domain, op_name};
use crate::proto::{GraphProto, ModelProto, NodeProto};
use crate::schema::{self, MAX_ML_OPSET, MAX_OPSET, MIN_OPSET, ML};
use crate::{ImportError, Unsupported};

/// Versions of the operator sets that the model imports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opsets {
    pub onnx: i64,
    pub ml: i64,
}

impl Opsets {
    fn of(self, domain: &str) -> i64 {
        if domain == ML { self.ml } else { self.onnx }
    }
}

/// Reads the operator set versions. Sets of other domains are only a problem if a node uses them.
pub(crate) fn opsets(model: &ModelProto) -> Result<Opsets, ImportError> {
    let version = |wanted: &str| {
        let of_domain = |o: &&crate::proto::OperatorSetIdProto| normal_domain(o.domain.as_deref().unwrap_or("")) == wanted;
        model.opset_import.iter().find(of_domain).map(|o| o.version.unwrap_or(0))
    };
    let onnx = version("");
    // A model that uses only another domain need not import ai.onnx.
    let onnx = match onnx {
        None if version(ML).is_some() => MAX_OPSET,
        other => other.unwrap_or(0),
    };
    if !(MIN_OPSET..=MAX_OPSET).contains(&onnx) {
        return Err(ImportError::Opset { domain: "ai.onnx".to_owned(), version: onnx, supported: "7 to 28" });
    }
    let ml = version(ML).unwrap_or(1);
    if !(1..=MAX_ML_OPSET).contains(&ml) {
        return Err(ImportError::Opset { domain: ML.to_owned(), version: ml, supported: "1 to 5" });
    }
    Ok(Opsets { onnx, ml })
}

/// Everything in `graph` and its subgraphs that the tables do not know.
pub(crate) fn unsupported(graph: &GraphProto, opsets: Opsets) -> Vec<Unsupported> {
    let mut found = Vec::new();
    collect(graph, opsets, 0, &mut found);
    found
}

/// Nesting of subgraphs that is followed.
pub(crate) const MAX_DEPTH: usize = 16;

fn collect(graph: &GraphProto, opsets: Opsets, depth: usize, found: &mut Vec<Unsupported>) {
    for node in &graph.node {
        check_node(node, opsets, found);
        for inner in node.attribute.iter().filter_map(|a| a.g.as_ref()) {
            if depth < MAX_DEPTH {
                collect(inner, opsets, depth + 1, found);
            } else {
                found.push(item(node, opsets, None, "subgraphs are nested too deeply"));
            }
        }
    }
}

fn item(node: &NodeProto, opsets: Opsets, attribute: Option<&str>, reason: impl Into<String>) -> Unsupported {
    Unsupported {
        node: node_name(node),
        op: op_name(node),
        attribute: attribute.map(str::to_owned),
        opset: opsets.of(domain(node)),
        reason: reason.into(),
    }
}

fn check_node(node: &NodeProto, opsets: Opsets, found: &mut Vec<Unsupported>) {
    let mut complain = |attribute: Option<&str>, reason: String| found.push(item(node, opsets, attribute, reason));
    let (domain, name) = (domain(node), node.op_type.as_deref().unwrap_or(""));
    let Some(operator) = schema::find(domain, name) else {
        let reason = if domain.is_empty() || domain == ML { "unknown operator" } else { "unknown operator domain" };
        return complain(None, reason.to_owned());
    };
    // Exporters write operators of later sets into models of earlier ones. Such a node can only mean the operator's first version.
    let version = opsets.of(domain).max(operator.since);
    let inputs = node.input.len();
    if inputs < operator.min_inputs || inputs > operator.max_inputs {
        complain(None, format!("{inputs} operands, expected {} to {}", operator.min_inputs, operator.max_inputs));
    }
    if let Some(missing) = node.input.iter().take(operator.min_inputs).position(String::is_empty) {
        complain(None, format!("operand {missing} is missing"));
    }
    let wanted = node.output.iter().rposition(|o| !o.is_empty()).map_or(0, |last| last + 1);
    if wanted > operator.max_outputs {
        complain(None, format!("{wanted} results wanted, at most {} are supported", operator.max_outputs));
    }
    for (i, attribute) in node.attribute.iter().enumerate() {
        let name = attribute.name.as_deref().unwrap_or("");
        if node.attribute[..i].iter().any(|a| a.name.as_deref() == Some(name)) {
            complain(Some(name), "given twice".to_owned());
            continue;
        }
        if attribute.ref_attr_name.as_deref().is_some_and(|r| !r.is_empty()) {
            complain(Some(name), "refers to an attribute of a function".to_owned());
            continue;
        }
        let Some(known) = operator.attributes.iter().find(|a| a.name == name) else {
            complain(Some(name), "unknown attribute".to_owned());
            continue;
        };
        if version < known.since || version > known.until {
            complain(Some(name), "this opset does not have the attribute".to_owned());
            continue;
        }
        let kind = kind_of(attribute);
        // An empty list has no field that would tell its kind.
        let empty_list =
            kind.is_none() && attribute.r#type.unwrap_or(0) == 0 && matches!(known.kind, Kind::Ints | Kind::Floats | Kind::Strings);
        if kind != Some(known.kind) && !empty_list {
            complain(Some(name), format!("should be of kind {:?}", known.kind));
            continue;
        }
        if !known.ints.is_empty() && !known.ints.contains(&attribute.i.unwrap_or(0)) {
            complain(Some(name), format!("value {} is not supported", attribute.i.unwrap_or(0)));
        }
        if !known.strings.is_empty() {
            for text in attribute.s.iter().chain(&attribute.strings) {
                let text = String::from_utf8_lossy(text);
                if !known.strings.contains(&text.as_ref()) {
                    complain(Some(name), format!("value '{text}' is not supported"));
                }
            }
        }
    }
}
