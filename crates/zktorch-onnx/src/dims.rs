//! Sizes of the inputs: from the file, or from the options for those that the file leaves open.

use crate::proto::ValueInfoProto;
use crate::{ImportError, OpenDim};
use std::collections::{BTreeMap, BTreeSet};

/// Shapes of all inputs. Every given size must belong to a dimension and agree with what the file says.
pub(crate) fn shapes(inputs: &[&ValueInfoProto], given: &BTreeMap<String, usize>) -> Result<Vec<Vec<usize>>, ImportError> {
    let mut shapes = Vec::with_capacity(inputs.len());
    let mut missing = Vec::new();
    let mut known = BTreeSet::new();
    let mut used = BTreeSet::new();
    for input in inputs {
        let name = input.name.as_deref().unwrap_or("");
        let fail = |reason: &str| ImportError::Input { input: name.to_owned(), reason: reason.to_owned() };
        let info = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        let info = info.ok_or_else(|| fail("only dense tensors are supported"))?;
        let dims = info.shape.as_ref().ok_or_else(|| fail("the number of axes is unknown"))?;
        let mut shape = Vec::with_capacity(dims.dim.len());
        for (axis, dim) in dims.dim.iter().enumerate() {
            let place = format!("{name}.{axis}");
            let symbol = dim.dim_param.clone().filter(|s| !s.is_empty());
            let mut size = dim.dim_value.and_then(|v| usize::try_from(v).ok()).filter(|&v| v > 0);
            let open = size.is_none();
            for key in symbol.iter().filter(|_| open).chain([&place]) {
                let Some(&value) = given.get(key) else { continue };
                used.insert(key.clone());
                match size {
                    Some(size) if size != value => return Err(ImportError::DimConflict { name: key.clone(), size, given: value }),
                    _ => size = Some(value),
                }
            }
            let dim = symbol.unwrap_or(place);
            if open {
                known.insert(dim.clone());
            }
            match size {
                Some(size) => shape.push(size),
                None => missing.push(OpenDim { input: name.to_owned(), axis, dim }),
            }
        }
        shapes.push(shape);
    }
    if let Some(name) = given.keys().find(|k| !used.contains(*k)) {
        return Err(ImportError::UnknownDim { name: name.clone(), known: known.into_iter().collect() });
    }
    if missing.is_empty() { Ok(shapes) } else { Err(ImportError::MissingDims(missing)) }
}
