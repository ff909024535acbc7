//! Builds small models in memory.

#![allow(dead_code, clippy::unwrap_used)]

use prost::Message;
use zktorch_float::{Graph, Tensor, run};
use zktorch_onnx::proto::{
    AttributeProto, AttributeType, DimensionProto, ElementType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use zktorch_onnx::{ImportError, ImportOptions, import_bytes};

/// A model under construction.
pub struct Model {
    pub graph: GraphProto,
    pub opset: i64,
}

pub fn float_tensor(name: &str, dims: &[i64], data: &[f32]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: dims.to_vec(),
        data_type: Some(ElementType::Float as i32),
        raw_data: Some(data.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>().into()),
        ..TensorProto::default()
    }
}

pub fn int_tensor(name: &str, dims: &[i64], data: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: dims.to_vec(),
        data_type: Some(ElementType::Int64 as i32),
        int64_data: data.to_vec(),
        ..TensorProto::default()
    }
}

pub fn bool_tensor(name: &str, dims: &[i64], data: &[bool]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: dims.to_vec(),
        data_type: Some(ElementType::Bool as i32),
        int32_data: data.iter().map(|&b| i32::from(b)).collect(),
        ..TensorProto::default()
    }
}

pub fn info(name: &str, element: ElementType, dims: &[&str]) -> ValueInfoProto {
    let dim = |d: &&str| match d.parse::<i64>() {
        Ok(v) => DimensionProto { dim_value: Some(v), dim_param: None },
        Err(_) => DimensionProto { dim_value: None, dim_param: Some((*d).to_owned()) },
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor_type = TensorTypeProto { elem_type: Some(element as i32), shape: Some(shape) };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}

pub fn attr(name: &str) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), ..AttributeProto::default() }
}

pub fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { i: Some(i), r#type: Some(AttributeType::Int as i32), ..attr(name) }
}

pub fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { f: Some(f), r#type: Some(AttributeType::Float as i32), ..attr(name) }
}

pub fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { ints: ints.to_vec(), r#type: Some(AttributeType::Ints as i32), ..attr(name) }
}

pub fn string(name: &str, s: &str) -> AttributeProto {
    AttributeProto { s: Some(s.as_bytes().to_vec().into()), r#type: Some(AttributeType::String as i32), ..attr(name) }
}

impl Model {
    pub fn new(opset: i64) -> Self {
        Self { graph: GraphProto { name: Some("g".to_owned()), ..GraphProto::default() }, opset }
    }

    pub fn input(mut self, name: &str, dims: &[&str]) -> Self {
        self.graph.input.push(info(name, ElementType::Float, dims));
        self
    }

    pub fn input_of(mut self, name: &str, element: ElementType, dims: &[&str]) -> Self {
        self.graph.input.push(info(name, element, dims));
        self
    }

    pub fn weight(mut self, tensor: TensorProto) -> Self {
        self.graph.initializer.push(tensor);
        self
    }

    pub fn scalar(self, name: &str, value: f32) -> Self {
        self.weight(float_tensor(name, &[], &[value]))
    }

    /// Adds a node; operands and results are blank-separated, `-` is one left out.
    pub fn node(mut self, op: &str, inputs: &str, outputs: &str, attribute: Vec<AttributeProto>) -> Self {
        let names = |s: &str| s.split_whitespace().map(|n| if n == "-" { "" } else { n }.to_owned()).collect();
        self.graph.node.push(NodeProto {
            input: names(inputs),
            output: names(outputs),
            op_type: Some(op.to_owned()),
            name: Some(format!("n{}", self.graph.node.len())),
            attribute,
            ..NodeProto::default()
        });
        self
    }

    pub fn output(mut self, name: &str) -> Self {
        self.graph.output.push(ValueInfoProto { name: Some(name.to_owned()), r#type: None });
        self
    }

    pub fn encode(&self) -> Vec<u8> {
        let opset = OperatorSetIdProto { domain: None, version: Some(self.opset) };
        let ml = OperatorSetIdProto { domain: Some("ai.onnx.ml".to_owned()), version: Some(3) };
        ModelProto { ir_version: Some(8), graph: Some(self.graph.clone()), opset_import: vec![opset, ml], ..ModelProto::default() }
            .encode_to_vec()
    }

    pub fn try_import(&self) -> Result<Graph, ImportError> {
        import_bytes(self.encode(), &ImportOptions::default())
    }

    pub fn import(&self) -> Graph {
        self.try_import().unwrap()
    }
}

/// Numbers in about [-2, 2].
pub fn numbers(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| ((i * 7919 + 13) % 1009) as f32 / 252.0 - 2.0).collect()
}

pub fn tensor(shape: &[usize]) -> Tensor {
    Tensor::f32(shape.to_vec(), numbers(shape.iter().product())).unwrap()
}

pub fn outputs(graph: &Graph, inputs: &[Tensor]) -> Vec<Vec<f32>> {
    run(graph, inputs, |_, _| {}).unwrap().iter().map(|t| t.to_f32_vec()).collect()
}

pub fn close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (x, y) in a.iter().zip(b) {
        assert!((x - y).abs() <= 1e-4 * (1.0 + y.abs()), "{x} instead of {y}");
    }
}
