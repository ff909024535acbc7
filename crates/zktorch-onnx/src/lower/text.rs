//! Counts of n-grams.

use super::{Ctx, Lowered};
use zktorch_float::{BinaryFn, DType, Data, Op, ReduceFn, Tensor, ValueId};

pub(super) fn lower(ctx: &mut Ctx<'_>) -> Option<Lowered> {
    (ctx.kind() == "TfIdfVectorizer").then(|| tf_idf(ctx))
}

/// Most comparisons of a token with an element of an n-gram.
const MOST_COMPARISONS: usize = 1 << 22;

/// The n-grams of one length: their elements, and where their counts go.
struct Grams {
    length: usize,
    elements: Vec<i64>,
    places: Vec<usize>,
}

/// The pool, cut into the lengths that count.
fn grams(ctx: &Ctx<'_>) -> Result<Vec<Grams>, crate::ImportError> {
    let required = |name: &str| ctx.attrs.required(ctx.attrs.ints(name), name);
    let pool = required("pool_int64s")?;
    let starts = ctx.sizes(required("ngram_counts")?, "ngram_counts")?;
    let places = ctx.sizes(required("ngram_indexes")?, "ngram_indexes")?;
    let bound = |name: &str| ctx.attrs.required(ctx.attrs.int(name), name).and_then(|v| ctx.sizes(&[v], name)).map(|v| v[0]);
    let (least, most) = (bound("min_gram_length")?, bound("max_gram_length")?);
    let ends = starts.iter().skip(1).copied().chain([pool.len()]);
    let (mut all, mut used) = (Vec::new(), 0);
    for (i, (&start, end)) in starts.iter().zip(ends).enumerate() {
        let length = i + 1;
        let elements = pool.get(start..end).filter(|e| e.len().is_multiple_of(length));
        let elements = elements.ok_or_else(|| ctx.error(format!("ngram_counts {starts:?} for a pool of {}", pool.len())))?;
        let count = elements.len() / length;
        let own = places.get(used..used + count).ok_or_else(|| ctx.error(format!("{} ngram_indexes are too few", places.len())))?;
        used += count;
        if count > 0 && (least..=most).contains(&length) {
            all.push(Grams { length, elements: elements.to_vec(), places: own.to_vec() });
        }
    }
    ctx.ensure(used == places.len(), || format!("{} ngram_indexes for {used} n-grams", places.len()))?;
    Ok(all)
}

/// How often each n-gram of the pool occurs in a row of tokens, with up to `max_skip_count` tokens left out between its elements (always
/// as many): `Σ_i Π_j [t_{i+j·s} = g_j]`. Then whether it does, times its weight (IDF), or the product with its weight (TFIDF).
fn tf_idf(ctx: &mut Ctx<'_>) -> Lowered {
    let x = ctx.input(0)?;
    ctx.ensure(ctx.dtype(x) == DType::I64, || "only integer tokens are supported".to_owned())?;
    let given = ctx.shape(x);
    let (rows, tokens) = match given[..] {
        [tokens] => (1, tokens),
        [rows, tokens] => (rows, tokens),
        _ => return Err(ctx.error(format!("tokens of shape {given:?}"))),
    };
    let skips = ctx.sizes(&[ctx.attrs.int("max_skip_count").unwrap_or(0)], "max_skip_count")?[0];
    let places = ctx.attrs.required(ctx.attrs.ints("ngram_indexes"), "ngram_indexes")?;
    let width = ctx.sizes(places, "ngram_indexes")?.into_iter().max().map_or(0, |p| p + 1);
    let mode = ctx.attrs.required(ctx.attrs.string("mode"), "mode")?;
    let weights = ctx.attrs.floats("weights").map(<[f32]>::to_vec);
    let all = grams(ctx)?;
    let work: usize = all.iter().map(|g| g.elements.len()).sum::<usize>().saturating_mul(rows * tokens);
    ctx.ensure(work <= MOST_COMPARISONS && width <= 1 << 20, || format!("{work} comparisons of tokens, {width} counts"))?;
    if let Some(w) = &weights {
        ctx.ensure(w.len() == places.len(), || format!("{} weights for {} n-grams", w.len(), places.len()))?;
    }
    let weight = |place: usize| {
        let position = places.iter().position(|&p| p == place as i64);
        weights.as_ref().zip(position).and_then(|(w, i)| w.get(i).copied()).filter(|_| mode != "TF").unwrap_or(1.0)
    };
    let row = ctx.reshape(x, vec![rows, 1, tokens])?;
    let mut sum: Option<ValueId> = None;
    for own in &all {
        let Some(counts) = occurrences(ctx, row, own, skips)? else { continue };
        let count = own.places.len();
        let counts = match mode {
            "IDF" => {
                let none = ctx.literal(Tensor::ints(vec![0]));
                ctx.binary(BinaryFn::Greater, counts, none)?
            }
            _ => counts,
        };
        let counts = ctx.emit(Op::Cast { to: DType::F32 }, &[counts])?;
        let mut matrix = vec![0f32; count * width];
        for (g, &place) in own.places.iter().enumerate() {
            matrix[g * width + place] = weight(place);
        }
        let matrix = ctx.tensor(vec![count, width], Data::F32(matrix.into()))?;
        let matrix = ctx.literal(matrix);
        ctx.builder.graph.values[matrix.0].from_weights = mode != "TF" && weights.is_some();
        let part = ctx.emit(Op::MatMul, &[counts, matrix])?;
        sum = Some(match sum {
            None => part,
            Some(before) => ctx.binary(BinaryFn::Add, before, part)?,
        });
    }
    let y = match sum {
        Some(y) => y,
        None => {
            let zeros = ctx.tensor(vec![rows, width], Data::F32(vec![0.0; rows * width].into()))?;
            ctx.literal(zeros)
        }
    };
    Ok(vec![if given.len() == 1 { ctx.reshape(y, vec![width])? } else { y }])
}

/// Counts `[rows, n-grams]` of n-grams of one length in tokens `[rows, 1, tokens]`; `None` if all rows are too short.
fn occurrences(ctx: &mut Ctx<'_>, row: ValueId, own: &Grams, skips: usize) -> Result<Option<ValueId>, crate::ImportError> {
    let shape = ctx.shape(row);
    let (rows, tokens, count) = (shape[0], shape[2], own.places.len());
    let mut equal = Vec::new();
    for j in 0..own.length {
        let column = own.elements.iter().skip(j).step_by(own.length).copied().collect();
        let column = ctx.tensor(vec![count, 1], Data::I64(column))?;
        let column = ctx.literal(column);
        equal.push(ctx.binary(BinaryFn::Equal, row, column)?);
    }
    let mut sum: Option<ValueId> = None;
    // A single token has nothing between its elements.
    for step in 1..=if own.length == 1 { 1 } else { skips + 1 } {
        let Some(starts) = tokens.checked_sub((own.length - 1) * step).filter(|&n| n > 0) else { break };
        let mut all: Option<ValueId> = None;
        for (j, &e) in equal.iter().enumerate() {
            let op = Op::Slice { starts: vec![0, 0, j * step], sizes: vec![rows, count, starts], steps: vec![1; 3] };
            let part = ctx.emit(op, &[e])?;
            all = Some(match all {
                None => part,
                Some(before) => ctx.binary(BinaryFn::And, before, part)?,
            });
        }
        let Some(found) = all else { break };
        let found = ctx.emit(Op::Cast { to: DType::I64 }, &[found])?;
        let found = ctx.emit(Op::Reduce { function: ReduceFn::Sum, axes: vec![2], keepdims: false }, &[found])?;
        sum = Some(match sum {
            None => found,
            Some(before) => ctx.binary(BinaryFn::Add, before, found)?,
        });
    }
    Ok(sum)
}
