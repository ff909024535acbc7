//! The operators that the importer knows: since which operator set, how many operands and results, and which attributes with
//! which values. Anything outside of these tables is refused before any work starts, because an attribute that is ignored
//! would silently change what is computed.

use crate::attributes::Kind;

mod ml;
mod onnx;

/// Oldest supported version of the `ai.onnx` operator set.
pub(crate) const MIN_OPSET: i64 = 7;
/// Newest supported version of the `ai.onnx` operator set.
pub(crate) const MAX_OPSET: i64 = 28;
/// Newest supported version of the `ai.onnx.ml` operator set.
pub(crate) const MAX_ML_OPSET: i64 = 5;
/// Domain of the classical machine learning operators.
pub(crate) const ML: &str = "ai.onnx.ml";

/// Domain of operators that the ONNX project tries out.
pub(crate) const PREVIEW: &str = "ai.onnx.preview";
/// Domain of ONNX Runtime's own operators.
pub(crate) const MICROSOFT: &str = "com.microsoft";

/// An attribute of an operator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attribute {
    pub name: &'static str,
    pub kind: Kind,
    /// First and last operator set that has it.
    pub since: i64,
    pub until: i64,
    /// The supported strings; empty is any.
    pub strings: &'static [&'static str],
    /// The supported integers; empty is any.
    pub ints: &'static [i64],
}

impl Attribute {
    pub(crate) const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, since: 0, until: i64::MAX, strings: &[], ints: &[] }
    }

    pub(crate) const fn since(mut self, version: i64) -> Self {
        self.since = version;
        self
    }

    pub(crate) const fn until(mut self, version: i64) -> Self {
        self.until = version;
        self
    }

    pub(crate) const fn one_of(mut self, strings: &'static [&'static str]) -> Self {
        self.strings = strings;
        self
    }

    pub(crate) const fn only(mut self, ints: &'static [i64]) -> Self {
        self.ints = ints;
        self
    }
}

/// An operator that the importer knows.
#[derive(Debug, Clone, Copy)]
pub struct Operator {
    /// Domain; empty is `ai.onnx`.
    pub domain: &'static str,
    /// Name.
    pub name: &'static str,
    /// First version of the operator set that has it, as far as the importer cares (1 for the old ones).
    pub since: i64,
    /// Fewest operands.
    pub min_inputs: usize,
    /// Most operands.
    pub max_inputs: usize,
    /// Most results.
    pub max_outputs: usize,
    pub(crate) attributes: &'static [Attribute],
}

impl Operator {
    /// The attributes that are known, each with the values that are supported if not all are.
    pub fn attributes(&self) -> Vec<String> {
        let text = |a: &Attribute| {
            let values: Vec<String> = a.strings.iter().map(|s| (*s).to_owned()).chain(a.ints.iter().map(i64::to_string)).collect();
            if values.is_empty() { a.name.to_owned() } else { format!("{} ({})", a.name, values.join(", ")) }
        };
        self.attributes.iter().map(text).collect()
    }
}

pub(crate) const MANY: usize = usize::MAX;

pub(crate) const fn op(
    name: &'static str,
    since: i64,
    inputs: (usize, usize),
    outputs: usize,
    attributes: &'static [Attribute],
) -> Operator {
    Operator { domain: "", name, since, min_inputs: inputs.0, max_inputs: inputs.1, max_outputs: outputs, attributes }
}

pub(crate) const fn int(name: &'static str) -> Attribute {
    Attribute::new(name, Kind::Int)
}

pub(crate) const fn float(name: &'static str) -> Attribute {
    Attribute::new(name, Kind::Float)
}

pub(crate) const fn string(name: &'static str) -> Attribute {
    Attribute::new(name, Kind::String)
}

pub(crate) const fn ints(name: &'static str) -> Attribute {
    Attribute::new(name, Kind::Ints)
}

pub(crate) const fn floats(name: &'static str) -> Attribute {
    Attribute::new(name, Kind::Floats)
}

pub(crate) const fn strings(name: &'static str) -> Attribute {
    Attribute::new(name, Kind::Strings)
}

/// Every operator that the importer knows, by domain and name.
pub fn supported_operators() -> impl Iterator<Item = &'static Operator> {
    onnx::OPERATORS.iter().chain(ml::OPERATORS).chain(OTHERS)
}

/// Finds an operator.
pub(crate) fn find(domain: &str, name: &str) -> Option<&'static Operator> {
    supported_operators().find(|o| o.domain == domain && o.name == name)
}

/// Operators of other domains.
const OTHERS: &[Operator] = &[
    Operator {
        domain: PREVIEW,
        ..op(
            "FlexAttention",
            1,
            (3, 3),
            1,
            &[Attribute::new("prob_mod", Kind::Graph), float("scale"), Attribute::new("score_mod", Kind::Graph), int("softmax_precision")],
        )
    },
    Operator {
        domain: MICROSOFT,
        ..op("QGemm", 1, (6, 9), 1, &[float("alpha"), int("transA").only(&[0, 1]), int("transB").only(&[0, 1])])
    },
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_sorted_and_unique() {
        let all: Vec<&Operator> = supported_operators().collect();
        for pair in all.windows(2) {
            assert!((pair[0].domain, pair[0].name) < (pair[1].domain, pair[1].name), "{}", pair[1].name);
        }
        assert!(find("", "Conv").is_some() && find(ML, "Conv").is_none());
    }
}
