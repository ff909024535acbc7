//! Choices of the person who compiles a model.

use serde::{Deserialize, Serialize};

/// Who learns a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Visibility {
    /// Part of the statement.
    #[default]
    Public,
    /// Hidden.
    Private,
    /// Hidden, with a published hiding commitment that links proofs about the same data.
    Committed,
}

/// Options of [`crate::compile`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompileOptions {
    /// Visibility of each graph input; missing ones are public.
    pub inputs: Vec<Visibility>,
    /// Visibility of each graph output; missing ones are public.
    pub outputs: Vec<Visibility>,
    /// Signed width of weights, 4 to 16.
    pub weight_bits: u32,
    /// Signed width of activations, 8 to 16.
    pub activation_bits: u32,
    /// Spare a small model tables that would cost more than the model itself. Ranges are then checked in narrower limbs, and functions that
    /// need no table get none; neither changes a result, except that rectified values keep the scale of their argument. Activations become
    /// narrower too, as long as every calibration output keeps the cosine `adapt_cosine` with the float output and the same decision.
    pub adapt: bool,
    /// Least cosine that [`CompileOptions::adapt`] accepts, in millionths.
    pub adapt_cosine: u32,
    /// Spare bits above the largest calibrated magnitude, 0 to 4.
    pub headroom_bits: u32,
    /// Largest scale of an activation: `real = integer · 2^-scale`.
    pub max_scale: i32,
    /// log2 of the row length of commitments; chosen from the size if absent.
    pub row_bits: Option<u32>,
    /// Seed of the random calibration inputs that replace missing ones.
    pub seed: u64,
    /// Name of the model, stored with the result.
    pub source: String,
}

impl Default for CompileOptions {
    fn default() -> Self {
        CompileOptions {
            inputs: Vec::new(),
            outputs: Vec::new(),
            weight_bits: 16,
            activation_bits: 16,
            adapt: true,
            adapt_cosine: 999_990,
            headroom_bits: 1,
            max_scale: 14,
            row_bits: None,
            seed: 0,
            source: String::new(),
        }
    }
}

impl CompileOptions {
    /// Visibility of input `i`.
    pub fn input(&self, i: usize) -> Visibility {
        self.inputs.get(i).copied().unwrap_or_default()
    }

    /// Visibility of output `i`.
    pub fn output(&self, i: usize) -> Visibility {
        self.outputs.get(i).copied().unwrap_or_default()
    }

    pub(crate) fn check(&self, inputs: usize, outputs: usize) -> Result<(), crate::CompileError> {
        let within = |option, value: i64, lo: i64, hi: i64| {
            if (lo..=hi).contains(&value) {
                Ok(())
            } else {
                Err(crate::CompileError::Option { option, expected: format!("{lo} to {hi}"), got: value.to_string() })
            }
        };
        within("inputs", self.inputs.len() as i64, 0, inputs as i64)?;
        within("outputs", self.outputs.len() as i64, 0, outputs as i64)?;
        within("weight_bits", self.weight_bits.into(), 4, 16)?;
        within("activation_bits", self.activation_bits.into(), 8, 16)?;
        within("headroom_bits", self.headroom_bits.into(), 0, 4)?;
        within("max_scale", self.max_scale.into(), 0, 24)?;
        Ok(())
    }
}
