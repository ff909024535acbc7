//! Counts of n-grams.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Model, attr, int, ints, outputs, string};
use zktorch_float::Tensor;
use zktorch_onnx::proto::{AttributeProto, AttributeType, ElementType};

/// Single tokens 2, 3, 5, 4 and the pairs 5 6, 7 8, 6 7, of which `lengths` count.
fn vectorizer(dims: &[&str], mode: &str, lengths: (i64, i64), skips: i64, weights: &[f32]) -> Model {
    let mut attributes = vec![
        int("min_gram_length", lengths.0),
        int("max_gram_length", lengths.1),
        int("max_skip_count", skips),
        string("mode", mode),
        ints("ngram_counts", &[0, 4]),
        ints("ngram_indexes", &[0, 1, 2, 3, 4, 5, 6]),
        ints("pool_int64s", &[2, 3, 5, 4, 5, 6, 7, 8, 6, 7]),
    ];
    if !weights.is_empty() {
        let weights = weights.to_vec();
        attributes.push(AttributeProto { floats: weights, r#type: Some(AttributeType::Floats as i32), ..attr("weights") });
    }
    Model::new(9).input_of("x", ElementType::Int64, dims).node("TfIdfVectorizer", "x", "y", attributes).output("y")
}

fn rows() -> Tensor {
    Tensor::i64(vec![2, 6], vec![1, 1, 3, 3, 3, 7, 8, 6, 7, 5, 6, 8]).unwrap()
}

#[test]
fn pairs_and_tokens_are_counted_with_and_without_gaps() {
    let counts = |lengths, skips| outputs(&vectorizer(&["2", "6"], "TF", lengths, skips, &[]).import(), &[rows()]).swap_remove(0);
    assert_eq!(counts((2, 2), 0), [0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 1., 0., 1.]);
    assert_eq!(counts((2, 2), 5), [0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 1., 1., 1.]);
    assert_eq!(counts((1, 2), 5), [0., 3., 0., 0., 0., 0., 0., 0., 0., 1., 0., 1., 1., 1.]);
    let row = Tensor::i64(vec![12], rows().as_i64().unwrap().to_vec()).unwrap();
    let graph = vectorizer(&["12"], "TF", (2, 2), 5, &[]).import();
    assert_eq!(outputs(&graph, &[row]), [[0., 0., 0., 0., 1., 3., 1.]]);
}

#[test]
fn weights_multiply_counts_or_occurrences() {
    let weights = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
    let counts = |mode, weights: &[f32]| outputs(&vectorizer(&["2", "6"], mode, (1, 2), 5, weights).import(), &[rows()]).swap_remove(0);
    assert_eq!(counts("TFIDF", &weights)[..2], [0., 6.]);
    assert_eq!(counts("IDF", &weights)[..2], [0., 2.]);
    assert_eq!(counts("IDF", &[])[..2], [0., 1.]);
    assert_eq!(counts("TF", &weights)[..2], [0., 3.]);
}

#[test]
fn pools_that_do_not_fit_are_errors() {
    for (name, values) in [("ngram_counts", vec![0, 3]), ("ngram_indexes", vec![0, 1]), ("ngram_indexes", vec![0, 1, 2, 3, 4, 5, -6])] {
        let mut model = vectorizer(&["2", "6"], "TF", (1, 2), 0, &[]);
        let attributes = &mut model.graph.node[0].attribute;
        attributes.retain(|a| a.name.as_deref() != Some(name));
        attributes.push(ints(name, &values));
        assert!(model.try_import().unwrap_err().to_string().contains(name), "{name}");
    }
}
