//! Attention whose scores and probabilities go through graphs of the model.

use super::{Importer, Scope};
use crate::ImportError;
use crate::attributes::{Attributes, node_error};
use crate::proto::NodeProto;
use zktorch_float::{BinaryFn, Op, Tensor, ValueId};

impl Importer {
    /// `FlexAttention`: products, `score_mod`, softmax, `prob_mod`, values.
    pub(super) fn flex_attention(
        &mut self,
        node: &NodeProto,
        inputs: &[Option<ValueId>],
        scope: &Scope<'_>,
    ) -> Result<Vec<ValueId>, ImportError> {
        let [Some(q), Some(k), Some(v)] = inputs else { return Err(node_error(node, "three operands are needed")) };
        let (q, mut k, mut v) = (*q, *k, *v);
        let (&[batch, heads, _, size], &[_, shared, _, _]) = (self.builder.shape(q), self.builder.shape(k)) else {
            return Err(node_error(node, "operands should have four axes"));
        };
        if shared != heads {
            if shared == 0 || !heads.is_multiple_of(shared) {
                return Err(node_error(node, format!("{heads} query heads share {shared}")));
            }
            for id in [&mut k, &mut v] {
                let &[_, _, length, width] = self.builder.shape(*id) else {
                    return Err(node_error(node, "operands should have four axes"));
                };
                let column = self.one(node, Op::Reshape { shape: vec![batch, shared, 1, length, width] }, &[*id])?;
                let wide = self.one(node, Op::Expand { shape: vec![batch, shared, heads / shared, length, width] }, &[column])?;
                *id = self.one(node, Op::Reshape { shape: vec![batch, heads, length, width] }, &[wide])?;
            }
        }
        let attrs = Attributes(node);
        let scale = attrs.float("scale").filter(|&s| s != 0.0).unwrap_or_else(|| 1.0 / (size as f32).sqrt());
        let scale = self.builder.constant(format!("{}:scale", super::node_name(node)), Tensor::scalar(scale), false);
        let turned = self.one(node, Op::Transpose { perm: vec![0, 1, 3, 2] }, &[k])?;
        let scores = self.one(node, Op::MatMul, &[q, turned])?;
        let scores = self.one(node, Op::Binary(BinaryFn::Mul), &[scores, scale])?;
        let scores = self.modified(node, "score_mod", scores, scope)?;
        let weights = self.one(node, Op::Softmax { axis: 3 }, &[scores])?;
        let weights = self.modified(node, "prob_mod", weights, scope)?;
        Ok(vec![self.one(node, Op::MatMul, &[weights, v])?])
    }

    /// What a graph of one operand and one result of the same shape makes of `x`.
    fn modified(&mut self, node: &NodeProto, attribute: &str, x: ValueId, scope: &Scope<'_>) -> Result<ValueId, ImportError> {
        let Some(graph) = Attributes(node).graph(attribute) else { return Ok(x) };
        let results = self.body(node, graph, &[x], scope)?;
        match results[..] {
            [y] if self.builder.shape(y) == self.builder.shape(x) => Ok(y),
            _ => Err(node_error(node, format!("{attribute} should have one result of the shape of its operand"))),
        }
    }
}
