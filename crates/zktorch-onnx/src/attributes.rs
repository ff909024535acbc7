//! Typed access to the attributes of a node.

use crate::ImportError;
use crate::proto::{AttributeProto, AttributeType, GraphProto, NodeProto, TensorProto};

/// Kinds of attribute values that known operators have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Float,
    String,
    Ints,
    Floats,
    Strings,
    Tensor,
    Graph,
}

/// The kind of an attribute's value. Old files leave the type out; the field that is present tells then.
pub(crate) fn kind_of(attribute: &AttributeProto) -> Option<Kind> {
    match attribute.r#type.and_then(|t| AttributeType::try_from(t).ok()) {
        Some(AttributeType::Float) => Some(Kind::Float),
        Some(AttributeType::Int) => Some(Kind::Int),
        Some(AttributeType::String) => Some(Kind::String),
        Some(AttributeType::Tensor) => Some(Kind::Tensor),
        Some(AttributeType::Graph) => Some(Kind::Graph),
        Some(AttributeType::Floats) => Some(Kind::Floats),
        Some(AttributeType::Ints) => Some(Kind::Ints),
        Some(AttributeType::Strings) => Some(Kind::Strings),
        Some(AttributeType::Undefined) | None => {
            let candidates = [
                (attribute.i.is_some(), Kind::Int),
                (attribute.f.is_some(), Kind::Float),
                (attribute.s.is_some(), Kind::String),
                (attribute.t.is_some(), Kind::Tensor),
                (attribute.g.is_some(), Kind::Graph),
                (!attribute.ints.is_empty(), Kind::Ints),
                (!attribute.floats.is_empty(), Kind::Floats),
                (!attribute.strings.is_empty(), Kind::Strings),
            ];
            candidates.into_iter().find(|(present, _)| *present).map(|(_, kind)| kind)
        }
        Some(_) => None,
    }
}

/// The attributes of a node, which have been checked against the tables.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a>(pub &'a NodeProto);

impl<'a> Attributes<'a> {
    fn find(&self, name: &str) -> Option<&'a AttributeProto> {
        self.0.attribute.iter().find(|a| a.name.as_deref() == Some(name))
    }

    pub(crate) fn int(&self, name: &str) -> Option<i64> {
        self.find(name).map(|a| a.i.unwrap_or(0))
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.int(name).unwrap_or(0) != 0
    }

    pub(crate) fn float(&self, name: &str) -> Option<f32> {
        self.find(name).map(|a| a.f.unwrap_or(0.0))
    }

    pub(crate) fn string(&self, name: &str) -> Option<&'a str> {
        self.find(name).map(|a| a.s.as_ref().and_then(|s| std::str::from_utf8(s).ok()).unwrap_or(""))
    }

    pub(crate) fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.find(name).map(|a| a.ints.as_slice())
    }

    pub(crate) fn floats(&self, name: &str) -> Option<&'a [f32]> {
        self.find(name).map(|a| a.floats.as_slice())
    }

    pub(crate) fn strings(&self, name: &str) -> Option<Vec<&'a str>> {
        self.find(name).map(|a| a.strings.iter().map(|s| std::str::from_utf8(s).unwrap_or("")).collect())
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&'a TensorProto> {
        self.find(name).and_then(|a| a.t.as_ref())
    }

    pub(crate) fn graph(&self, name: &str) -> Option<&'a GraphProto> {
        self.find(name).and_then(|a| a.g.as_ref())
    }

    /// An attribute that the operator cannot do without.
    pub(crate) fn required<T>(&self, value: Option<T>, name: &str) -> Result<T, ImportError> {
        value.ok_or_else(|| node_error(self.0, format!("attribute '{name}' is missing")))
    }
}

/// The name of a node, or of its first output if it has none.
pub(crate) fn node_name(node: &NodeProto) -> String {
    node.name.iter().chain(&node.output).find(|n| !n.is_empty()).cloned().unwrap_or_else(|| "(unnamed)".to_owned())
}

/// The operator of a node, with its domain where it is not `ai.onnx`.
pub(crate) fn op_name(node: &NodeProto) -> String {
    let op = node.op_type.as_deref().unwrap_or("");
    match domain(node) {
        "" => op.to_owned(),
        domain => format!("{domain}:{op}"),
    }
}

/// The domain of a node; empty is `ai.onnx`.
pub(crate) fn domain(node: &NodeProto) -> &str {
    normal_domain(node.domain.as_deref().unwrap_or(""))
}

/// The one spelling of a domain that the tables use.
pub(crate) fn normal_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

/// An error at a node.
pub(crate) fn node_error(node: &NodeProto, reason: impl Into<String>) -> ImportError {
    ImportError::Node { node: node_name(node), op: op_name(node), reason: reason.into() }
}
