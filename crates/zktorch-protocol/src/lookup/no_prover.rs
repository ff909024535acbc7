//! Stand-ins for the prover's state in a build that only verifies: types without values.

use super::Statement;
use super::leaves::Opening;
use crate::Witness;
use crate::sumcheck::RoundProver;
use std::convert::Infallible;
use std::marker::PhantomData;
use zktorch_algebra::Fr;

/// The prover's view of all lookups.
pub(super) struct LookupProver<'a> {
    never: Infallible,
    lifetime: PhantomData<&'a ()>,
}

/// The prover's fraction tree.
pub(super) struct Tree<'a> {
    never: Infallible,
    lifetime: PhantomData<&'a ()>,
}

/// The prover's state in a layer's sumcheck.
pub(super) struct LayerSumcheck(Infallible);

impl<'a> LookupProver<'a> {
    pub fn new(_: Statement<'a>, _: Witness<'a>) -> Option<Self> {
        None
    }
    pub fn tree(&self) -> Tree<'_> {
        match self.never {}
    }
    pub fn open(&self, _: &Opening) -> Fr {
        match self.never {}
    }
}

impl Tree<'_> {
    pub fn take_layer(&mut self, _: usize) -> (Vec<Fr>, Vec<Fr>) {
        match self.never {}
    }
    pub fn layer_sumcheck(&mut self, _: usize, _: &[Fr], _: Fr) -> LayerSumcheck {
        match self.never {}
    }
}

impl LayerSumcheck {
    pub fn tail(self, _: usize) -> Vec<Fr> {
        match self.0 {}
    }
}

impl RoundProver for LayerSumcheck {
    fn round(&mut self, _: Fr) -> Vec<Fr> {
        match self.0 {}
    }
    fn joint(&mut self, _: usize) -> Vec<Fr> {
        match self.0 {}
    }
    fn bind(&mut self, _: Fr) {
        match self.0 {}
    }
}
