//! Runs a program's steps on integer inputs: the model's exact integer semantics, and the prover's witness.

mod columns;
mod count;
mod digits;
mod einsum;
mod level;
mod madd;
mod matmul;
mod memory;
mod nest;
mod product;
mod steps;
#[cfg(test)]
mod tests;
mod weights;

use crate::builder::Built;
use crate::program::{Parameters, Program};
use crate::step::Step;
use crate::validate::{Malformed, TermFlaw, ViewFlaw};
use crate::witness::Witness;

/// Why a program cannot be run on some inputs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecuteError {
    /// The program is not well formed.
    #[error("the program is malformed: {0}")]
    Program(#[from] Malformed),
    /// A step is not well formed.
    #[error("step {step} (node {node}) is malformed: {reason}")]
    Step {
        /// Position of the step.
        step: usize,
        /// Name of the node, empty where the step has none.
        node: String,
        /// Why.
        reason: StepFlaw,
    },
    /// The parameters have other sizes than the program says.
    #[error("{name} has {got} values instead of {expected}")]
    ParameterCount {
        /// Name of the matrix, or of the parameter heap.
        name: String,
        /// Number of values that the program asks for.
        expected: usize,
        /// Number of values given.
        got: usize,
    },
    /// A parameter is outside its declared bounds.
    #[error("value {value} at {index} of parameter {name} is out of range {lo}..={hi}")]
    ParameterRange {
        /// Name of the parameter.
        name: String,
        /// Position in the parameter, row-major.
        index: usize,
        /// The value.
        value: i64,
        /// Smallest admitted value.
        lo: i64,
        /// Largest admitted value.
        hi: i64,
    },
    /// An input is missing.
    #[error("there is no input {input} ({name}); {got} inputs were given")]
    MissingInput {
        /// Index of the input.
        input: usize,
        /// Name of the input.
        name: String,
        /// Number of inputs given.
        got: usize,
    },
    /// An input has a wrong number of values.
    #[error("input {name} needs {expected} values, got {got}")]
    InputLength {
        /// Name of the input.
        name: String,
        /// Number of values that the model asks for.
        expected: usize,
        /// Number of values given.
        got: usize,
    },
    /// A value is outside its range.
    #[error("value {value}{what} at {index:?} is out of range {lo}..={hi} in node {node}")]
    OutOfRange {
        /// Name of the node, input or lookup.
        node: String,
        /// The value.
        value: i128,
        /// Where.
        index: Vec<usize>,
        /// Smallest admitted value.
        lo: i128,
        /// Largest admitted value.
        hi: i128,
        /// Which of the node's values it is, empty if it has one.
        what: String,
    },
    /// A value is no sum of digits: something remains after the last digit.
    #[error("{rest} remains of the value at {index:?} after its last digit in node {node}")]
    Remainder {
        /// Name of the node.
        node: String,
        /// Where.
        index: Vec<usize>,
        /// What remains.
        rest: i128,
    },
    /// A sum might exceed 126 bits.
    #[error("sums of node {node} may exceed 2^126")]
    Overflow {
        /// Name of the node.
        node: String,
    },
    /// A looked-up tuple is not the row of the table that its argument names.
    #[error("the cells at {index:?} of lookup {node} are not row {row} of the table")]
    NotInTable {
        /// Name of the lookup.
        node: String,
        /// Which site.
        index: Vec<usize>,
        /// The row that the argument names.
        row: usize,
    },
    /// No step writes some value of a public tensor.
    #[error("no step computes the value at {index:?} of public tensor {name}")]
    IncompletePublic {
        /// Name of the tensor.
        name: String,
        /// First missing position.
        index: Vec<usize>,
    },
}

/// What is wrong with a step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepFlaw {
    /// A view is malformed.
    #[error("{0}")]
    View(#[from] ViewFlaw),
    /// A term is malformed.
    #[error("{0}")]
    Term(#[from] TermFlaw),
    /// A step writes to something that is neither a region nor a public tensor.
    #[error("only regions and public tensors can be written")]
    ReadOnly,
    /// A view has another shape than the step asks for.
    #[error("a view has shape {got:?} instead of {expected:?}")]
    Shape {
        /// Shape that the step asks for.
        expected: Vec<usize>,
        /// Shape of the view.
        got: Vec<usize>,
    },
    /// The step's table does not exist or is of another kind.
    #[error("the table does not exist, is of the wrong kind or has another number of columns")]
    Table,
    /// A weight is 0 or `i128::MIN`.
    #[error("digit weights must not be 0")]
    Weight,
    /// A shift is larger than 60.
    #[error("the shift {0} is larger than 60")]
    Shift(u32),
}

/// The index of element `at` of a row-major tensor.
fn index_of(at: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    let mut rest = at;
    for (i, &size) in index.iter_mut().zip(shape).rev() {
        *i = rest % size;
        rest /= size;
    }
    index
}

/// Runs the model on integer inputs (row-major, in the order of the model's inputs).
///
/// # Errors
/// Names the node, the index, the value and the admitted range if a value does not fit its cells.
pub fn execute(built: &Built, inputs: &[Vec<i64>]) -> Result<Witness, ExecuteError> {
    execute_steps(&built.program, &built.parameters, &built.steps, inputs)
}

/// Like [`execute`], with the parts of a [`Built`] apart.
pub fn execute_steps(program: &Program, parameters: &Parameters, steps: &[Step], inputs: &[Vec<i64>]) -> Result<Witness, ExecuteError> {
    program.validate()?;
    check_parameters(program, parameters)?;
    for (step, s) in steps.iter().enumerate() {
        steps::validate(program, s).map_err(|reason| ExecuteError::Step { step, node: s.node().to_string(), reason })?;
    }
    let mut memory = memory::Memory::new(program, parameters);
    for step in steps {
        steps::run(&mut memory, step, inputs)?;
    }
    if let Some((p, cell)) = memory.unwritten() {
        let public = &program.publics[p];
        return Err(ExecuteError::IncompletePublic { name: public.name.clone(), index: index_of(cell, &public.shape) });
    }
    count::fill_multiplicities(&mut memory)?;
    Ok(Witness { heap: memory.heap, publics: memory.publics })
}

/// Counts the multiplicities of a witness anew; the program is well formed, the vectors have the program's lengths.
pub(crate) fn recount(program: &Program, parameters: &Parameters, witness: Witness) -> Result<Witness, ExecuteError> {
    check_parameters(program, parameters)?;
    let mut memory = memory::Memory::of(program, parameters, witness);
    count::fill_multiplicities(&mut memory)?;
    Ok(Witness { heap: memory.heap, publics: memory.publics })
}

/// Checks numbers and declared bounds of parameters of a valid program.
fn check_parameters(program: &Program, parameters: &Parameters) -> Result<(), ExecuteError> {
    let count = |name: &str, expected: usize, got: usize| match expected == got {
        true => Ok(()),
        false => Err(ExecuteError::ParameterCount { name: name.to_string(), expected, got }),
    };
    count("the parameter heap", program.params_len, parameters.heap.len())?;
    let range = |name: &str, index: usize, value: i64, lo: i64, hi: i64| {
        Err(ExecuteError::ParameterRange { name: name.to_string(), index, value, lo, hi })
    };
    for b in &program.params {
        let cells = &parameters.heap[b.offset..b.offset + b.len];
        if let Some(i) = cells.iter().position(|v| !(b.lo..=b.hi).contains(v)) {
            return range(&b.name, i, cells[i], b.lo, b.hi);
        }
    }
    count("the list of matrices", program.matrices.len(), parameters.matrices.len())?;
    for (m, cells) in program.matrices.iter().zip(&parameters.matrices) {
        count(&m.name, m.shape.iter().product(), cells.len())?;
        let cells = cells.view();
        if let Some(i) = cells.first_outside(m.lo, m.hi) {
            return range(&m.name, i, cells.get(i), m.lo, m.hi);
        }
    }
    Ok(())
}
