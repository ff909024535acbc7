//! From a file to a graph.

use crate::attributes::{Attributes, node_error, node_name};
use crate::builder::Builder;
use crate::check::{self, MAX_DEPTH, Opsets};
use crate::files::{self, Files};
use crate::proto::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use crate::{ImportError, dims, lower, patterns, tensor};
use bytes::Bytes;
use prost::Message;
use sequence::SEQUENCES;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use zktorch_float::{DType, Data, Graph, Op, Tensor, UnaryFn, ValueId};

mod control;
mod flex;
mod sequence;

/// What the file does not say.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Sizes for symbolic dimensions of the inputs, by symbol. A dimension without a symbol goes by `INPUT.AXIS`; so may any other.
    /// A name that the model does not have is an error.
    pub dims: BTreeMap<String, usize>,
}

/// Reads a model file. Tensors outside of the file are looked for in its folder. The files are mapped into memory: they must not
/// be truncated meanwhile.
pub fn import(path: impl AsRef<Path>, options: &ImportOptions) -> Result<Graph, ImportError> {
    let path = path.as_ref();
    let bytes = files::map(path).map_err(|source| ImportError::Io { path: path.to_owned(), source })?;
    from_bytes(bytes, options, Files::new(Some(path.parent().unwrap_or(Path::new(".")))))
}

/// Reads a model from memory. All tensors must be inside.
pub fn import_bytes(bytes: impl Into<Bytes>, options: &ImportOptions) -> Result<Graph, ImportError> {
    from_bytes(bytes.into(), options, Files::new(None))
}

/// Reads a serialised `TensorProto`, as in the test data of the ONNX project: its name, its element type in the file and its elements.
///
/// # Errors
/// Bytes that are no such message, an element type that is not supported, or elements that do not fit the shape.
pub fn read_tensor(bytes: impl Into<Bytes>) -> Result<(String, i32, Tensor), ImportError> {
    let proto = TensorProto::decode(bytes.into()).map_err(|e| ImportError::NotOnnx(e.to_string()))?;
    let tensor = tensor::read(&proto, &Files::new(None))?;
    Ok((proto.name.unwrap_or_default(), proto.data_type.unwrap_or(0), tensor))
}

fn from_bytes(bytes: Bytes, options: &ImportOptions, files: Files) -> Result<Graph, ImportError> {
    let model = ModelProto::decode(bytes).map_err(|e| ImportError::NotOnnx(e.to_string()))?;
    let proto = model.graph.as_ref().ok_or_else(|| ImportError::NotOnnx("there is no graph".to_owned()))?;
    let opsets = check::opsets(&model)?;
    if proto.node.is_empty() {
        return Err(ImportError::EmptyGraph("nodes"));
    }
    if proto.output.is_empty() {
        return Err(ImportError::EmptyGraph("outputs"));
    }
    let unsupported = check::unsupported(proto, opsets);
    if !unsupported.is_empty() {
        return Err(ImportError::Unsupported(unsupported));
    }
    let mut importer = Importer { builder: Builder::new(), opsets, files, sequences: HashMap::new() };
    let mut scope = Scope { names: HashMap::new(), parent: None, depth: 0 };
    importer.inputs(proto, options, &mut scope)?;
    importer.nodes(proto, &mut scope)?;
    importer.outputs(proto, &scope)?;
    let mut graph = importer.builder.graph;
    patterns::simplify(&mut graph);
    patterns::remove_dead(&mut graph);
    graph.validate()?;
    Ok(graph)
}

/// Names visible in a graph: its own and those of the graphs around it.
struct Scope<'p> {
    names: HashMap<String, ValueId>,
    parent: Option<&'p Scope<'p>>,
    depth: usize,
}

impl Scope<'_> {
    fn find(&self, name: &str) -> Option<ValueId> {
        self.names.get(name).copied().or_else(|| self.parent?.find(name))
    }

    fn define(&mut self, name: &str, id: ValueId) -> Result<(), ImportError> {
        match self.names.insert(name.to_owned(), id) {
            None => Ok(()),
            Some(_) => Err(ImportError::Duplicate(name.to_owned())),
        }
    }
}

struct Importer {
    builder: Builder,
    opsets: Opsets,
    files: Files,
    /// Lists of values, by the value that stands for each.
    sequences: HashMap<ValueId, Vec<ValueId>>,
}

impl Importer {
    /// Initializers and inputs. An input with an initializer of the same name is a constant (old files list all weights so).
    fn inputs(&mut self, proto: &GraphProto, options: &ImportOptions, scope: &mut Scope<'_>) -> Result<(), ImportError> {
        self.initializers(proto, scope)?;
        let inputs: Vec<&ValueInfoProto> =
            proto.input.iter().filter(|i| !scope.names.contains_key(i.name.as_deref().unwrap_or(""))).collect();
        let shapes = dims::shapes(&inputs, &options.dims)?;
        for (index, (input, shape)) in inputs.into_iter().zip(shapes).enumerate() {
            let name = input.name.as_deref().unwrap_or("");
            let sample = sample(input, shape, index as u64)?;
            // An input without elements says nothing, such as the cache of a decoder before its first token.
            let id = if sample.is_empty() { self.builder.constant(name, sample, false) } else { self.builder.input(name, sample) };
            let element = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()).and_then(|t| t.elem_type);
            self.builder.elements.insert(id, element.unwrap_or(0));
            scope.define(name, id)?;
        }
        Ok(())
    }

    fn initializers(&mut self, proto: &GraphProto, scope: &mut Scope<'_>) -> Result<(), ImportError> {
        if let Some(sparse) = proto.sparse_initializer.first() {
            let name = sparse.values.as_ref().and_then(|v| v.name.clone()).unwrap_or_default();
            return Err(ImportError::Tensor { tensor: name, reason: "sparse tensors are not supported".to_owned() });
        }
        for initializer in &proto.initializer {
            let name = initializer.name.as_deref().unwrap_or("");
            if scope.names.contains_key(name) {
                return Err(ImportError::Duplicate(name.to_owned()));
            }
            let tensor = tensor::read(initializer, &self.files)?;
            let id = self.builder.constant(name, tensor, true);
            self.builder.elements.insert(id, initializer.data_type.unwrap_or(0));
            scope.define(name, id)?;
        }
        Ok(())
    }

    /// Adds all nodes of a graph in an order in which operands come first.
    fn nodes(&mut self, proto: &GraphProto, scope: &mut Scope<'_>) -> Result<(), ImportError> {
        for index in order(proto, scope)? {
            let node = &proto.node[index];
            let before = self.builder.graph.values.len();
            let results = self.node(node, scope)?;
            for (i, name) in node.output.iter().enumerate().filter(|(_, n)| !n.is_empty()) {
                let id = *results.get(i).ok_or_else(|| node_error(node, format!("result {i} ('{name}') is not supported")))?;
                // A fresh value takes the name that the model gives it; an alias keeps its first name.
                if id.0 >= before && !scope.names.values().any(|&other| other == id) {
                    self.builder.graph.values[id.0].name.clone_from(name);
                }
                scope.define(name, id)?;
            }
        }
        Ok(())
    }

    fn node(&mut self, node: &NodeProto, scope: &Scope<'_>) -> Result<Vec<ValueId>, ImportError> {
        let mut inputs = Vec::with_capacity(node.input.len());
        for name in &node.input {
            inputs.push(match name.as_str() {
                "" => None,
                name => Some(
                    scope
                        .find(name)
                        .ok_or_else(|| ImportError::Undefined { reader: format!("node '{}'", node_name(node)), value: name.to_owned() })?,
                ),
            });
        }
        self.refuse_sequences(node, if node.op_type.as_deref().is_some_and(|o| SEQUENCES.contains(&o)) { &[] } else { &inputs })?;
        match node.op_type.as_deref() {
            Some(name) if SEQUENCES.contains(&name) => return self.sequence(node, &inputs),
            Some("FlexAttention") => return self.flex_attention(node, &inputs, scope),
            Some("If") => return self.branch(node, &inputs, scope),
            Some("Loop") => return self.rounds(node, &inputs, scope),
            Some("Scan") => return self.scan(node, &inputs, scope),
            _ => {}
        }
        lower::lower(&mut self.builder, node, inputs, self.opsets, &self.files)
    }

    /// Inlines the branch that a constant condition takes. Otherwise both branches are computed and the condition picks from
    /// their results, which must then have the same shapes.
    fn branch(&mut self, node: &NodeProto, inputs: &[Option<ValueId>], scope: &Scope<'_>) -> Result<Vec<ValueId>, ImportError> {
        let condition = inputs.first().copied().flatten();
        let condition = condition.ok_or_else(|| node_error(node, "the condition is missing"))?;
        let info = self.builder.graph.value(condition);
        if info.dtype != DType::Bool || info.shape.iter().product::<usize>() != 1 {
            return Err(node_error(node, "the condition should be one truth value"));
        }
        if let Some(constant) = &info.constant {
            let taken = constant.as_bool()?.first() == Some(&true);
            return self.inline(node, if taken { "then_branch" } else { "else_branch" }, scope);
        }
        let then = self.inline(node, "then_branch", scope)?;
        let other = self.inline(node, "else_branch", scope)?;
        if then.iter().chain(&other).any(|id| self.sequences.contains_key(id)) {
            return Err(node_error(node, "a sequence that depends on the condition"));
        }
        let name = node_name(node);
        let mut emit = |op, inputs: &[ValueId]| -> Result<ValueId, ImportError> {
            let inputs: Vec<Option<ValueId>> = inputs.iter().copied().map(Some).collect();
            let outputs = self.builder.emit(&name, "If", op, &inputs)?;
            outputs.first().copied().ok_or_else(|| node_error(node, "no result"))
        };
        let condition = emit(Op::Reshape { shape: Vec::new() }, &[condition])?;
        let picked = then.iter().zip(&other).map(|(&a, &b)| emit(Op::Where, &[condition, a, b]));
        let picked = picked.collect::<Result<Vec<_>, _>>()?;
        for ((&a, &b), id) in then.iter().zip(&other).zip(&picked) {
            let shapes = [a, b, *id].map(|id| self.builder.shape(id));
            if shapes[0] != shapes[1] || shapes[0] != shapes[2] {
                let reason = format!("the branches have shapes {:?} and {:?}", shapes[0], shapes[1]);
                return Err(node_error(node, reason));
            }
        }
        Ok(picked)
    }

    /// Adds the nodes of a branch and returns its results.
    fn inline(&mut self, node: &NodeProto, attribute: &str, scope: &Scope<'_>) -> Result<Vec<ValueId>, ImportError> {
        let attrs = Attributes(node);
        let graph = attrs.required(attrs.graph(attribute), attribute)?;
        if scope.depth >= MAX_DEPTH {
            return Err(node_error(node, "subgraphs are nested too deeply"));
        }
        let mut inner = Scope { names: HashMap::new(), parent: Some(scope), depth: scope.depth + 1 };
        self.initializers(graph, &mut inner)?;
        self.nodes(graph, &mut inner)?;
        graph
            .output
            .iter()
            .map(|output| {
                let name = output.name.as_deref().unwrap_or("");
                inner.find(name).ok_or_else(|| ImportError::Undefined {
                    reader: format!("a branch of node '{}'", node_name(node)),
                    value: name.to_owned(),
                })
            })
            .collect()
    }

    fn outputs(&mut self, proto: &GraphProto, scope: &Scope<'_>) -> Result<(), ImportError> {
        for output in &proto.output {
            let name = output.name.as_deref().unwrap_or("");
            let mut id =
                scope.find(name).ok_or_else(|| ImportError::Undefined { reader: "the output list".to_owned(), value: name.to_owned() })?;
            if self.sequences.contains_key(&id) {
                return Err(ImportError::Input { input: name.to_owned(), reason: "a sequence cannot be a result of the model".to_owned() });
            }
            // An output that shares its value with an input, a weight or another output gets a value of its own name.
            let graph = &self.builder.graph;
            let shared = graph.inputs.contains(&id) || graph.outputs.contains(&id);
            if shared || graph.constant(id).is_some() {
                let op = Op::Unary(UnaryFn::Identity);
                id = self.builder.emit(name, "Identity", op, &[Some(id)])?.first().copied().unwrap_or(id);
            }
            self.builder.graph.values[id.0].name = name.to_owned();
            self.builder.graph.outputs.push(id);
        }
        Ok(())
    }
}

/// An order of the nodes in which every value comes before its readers: the order of the file wherever possible.
fn order(proto: &GraphProto, scope: &Scope<'_>) -> Result<Vec<usize>, ImportError> {
    let mut producer: HashMap<&str, usize> = HashMap::new();
    for (index, node) in proto.node.iter().enumerate() {
        for name in node.output.iter().filter(|n| !n.is_empty()) {
            if producer.insert(name, index).is_some() || scope.names.contains_key(name) {
                return Err(ImportError::Duplicate(name.clone()));
            }
        }
    }
    let mut waiting: Vec<usize> = vec![0; proto.node.len()];
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); proto.node.len()];
    for (index, node) in proto.node.iter().enumerate() {
        let mut names = Vec::new();
        read_names(node, &mut names, 0);
        let mut from: Vec<usize> = names.iter().filter_map(|n| producer.get(n).copied()).collect();
        from.sort_unstable();
        from.dedup();
        waiting[index] = from.len();
        from.into_iter().for_each(|p| readers[p].push(index));
    }
    let mut ready: std::collections::BTreeSet<usize> = (0..proto.node.len()).filter(|&i| waiting[i] == 0).collect();
    let mut sorted = Vec::with_capacity(proto.node.len());
    while let Some(index) = ready.pop_first() {
        sorted.push(index);
        for &reader in &readers[index] {
            waiting[reader] -= 1;
            if waiting[reader] == 0 {
                ready.insert(reader);
            }
        }
    }
    if sorted.len() < proto.node.len() {
        let stuck = (0..proto.node.len()).filter(|&i| waiting[i] > 0).take(5);
        let names: Vec<String> = stuck.map(|i| format!("'{}'", node_name(&proto.node[i]))).collect();
        return Err(ImportError::Cycle(names.join(", ")));
    }
    Ok(sorted)
}

/// Names that a node reads, itself or in its subgraphs.
fn read_names<'a>(node: &'a NodeProto, names: &mut Vec<&'a str>, depth: usize) {
    names.extend(node.input.iter().map(String::as_str));
    if depth >= MAX_DEPTH {
        return;
    }
    for graph in node.attribute.iter().filter_map(|a| a.g.as_ref()) {
        let before = names.len();
        graph.node.iter().for_each(|inner| read_names(inner, names, depth + 1));
        names.extend(graph.output.iter().filter_map(|o| o.name.as_deref()));
        // What the subgraph defines itself comes from nowhere else.
        let own: HashSet<&str> = graph
            .node
            .iter()
            .flat_map(|n| &n.output)
            .map(String::as_str)
            .chain(graph.input.iter().filter_map(|i| i.name.as_deref()))
            .chain(graph.initializer.iter().filter_map(|i| i.name.as_deref()))
            .collect();
        let inner = names.split_off(before);
        names.extend(inner.into_iter().filter(|n| !own.contains(n)));
    }
}

/// Most elements of a model input.
const MAX_INPUT: usize = 1 << 28;

/// A value for an input: normal floats, and zeros for integers so that they are valid indices. Only its shape and type matter.
fn sample(input: &ValueInfoProto, shape: Vec<usize>, seed: u64) -> Result<Tensor, ImportError> {
    let name = input.name.as_deref().unwrap_or("");
    let fail = |reason: &str| ImportError::Input { input: name.to_owned(), reason: reason.to_owned() };
    let element = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()).and_then(|t| t.elem_type);
    let dtype = tensor::dtype(element.unwrap_or(0)).map_err(|e| fail(&e))?;
    let count = shape.iter().try_fold(1usize, |n, &s| n.checked_mul(s).filter(|&n| n <= MAX_INPUT));
    let count = count.ok_or_else(|| fail(&format!("shape {shape:?} is too large")))?;
    let data = match dtype {
        DType::F32 => Data::F32(normal(count, seed).into()),
        DType::I64 => Data::I64(vec![0; count]),
        DType::Bool => Data::Bool(vec![true; count]),
    };
    Ok(Tensor::new(shape, data)?)
}

/// Pseudo-random numbers, roughly standard normal (sums of twelve uniform ones).
fn normal(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..count).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect()
}
