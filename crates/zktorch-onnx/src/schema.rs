//! The operators that the importer knows: since which operator set, how many operands and results, and which attributes with
//! which values. Anything outside of these tables is refused before any work starts, because an attribute that is ignored
//! would silently change what is computed.

use crate::attributes::Kind;

/// Oldest supported version of the `ai.onnx` operator set.
pub(crate) const MIN_OPSET: i64 = 7;
/// Newest supported version of the `ai.onnx` operator set.
pub(crate) const MAX_OPSET: i64 = 28;
/// Newest supported version of the `ai.onnx.ml` operator set.
pub(crate) const MAX_ML_OPSET: i64 = 5;
/// Domain of the classical machine learning operators.
pub(crate) const ML: &str = "ai.onnx.ml";

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
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, since: 0, until: i64::MAX, strings: &[], ints: &[] }
    }

    const fn since(mut self, version: i64) -> Self {
        self.since = version;
        self
    }

    const fn until(mut self, version: i64) -> Self {
        self.until = version;
        self
    }

    const fn one_of(mut self, strings: &'static [&'static str]) -> Self {
        self.strings = strings;
        self
    }

    const fn only(mut self, ints: &'static [i64]) -> Self {
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

const MANY: usize = usize::MAX;

const fn op(name: &'static str, since: i64, inputs: (usize, usize), outputs: usize, attributes: &'static [Attribute]) -> Operator {
    Operator { domain: "", name, since, min_inputs: inputs.0, max_inputs: inputs.1, max_outputs: outputs, attributes }
}

const fn ml(name: &'static str, inputs: usize, outputs: usize, attributes: &'static [Attribute]) -> Operator {
    let mut operator = op(name, 1, (inputs, inputs), outputs, attributes);
    operator.domain = ML;
    operator
}

const fn int(name: &'static str) -> Attribute {
    Attribute::new(name, Kind::Int)
}

const fn float(name: &'static str) -> Attribute {
    Attribute::new(name, Kind::Float)
}

const fn string(name: &'static str) -> Attribute {
    Attribute::new(name, Kind::String)
}

const fn ints(name: &'static str) -> Attribute {
    Attribute::new(name, Kind::Ints)
}

const fn floats(name: &'static str) -> Attribute {
    Attribute::new(name, Kind::Floats)
}

const fn strings(name: &'static str) -> Attribute {
    Attribute::new(name, Kind::Strings)
}

const AXIS: Attribute = int("axis");
const EPSILON: Attribute = float("epsilon");
const ALPHA: Attribute = float("alpha");
const BETA: Attribute = float("beta");
const AUTO_PAD: Attribute = string("auto_pad").one_of(&["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]);
const KERNEL: Attribute = ints("kernel_shape");
const STRIDES: Attribute = ints("strides");
const DILATIONS: Attribute = ints("dilations");
const PADS: Attribute = ints("pads");
const GROUP: Attribute = int("group");
const KERNEL_TYPE: Attribute = string("kernel_type").one_of(&["LINEAR", "POLY", "RBF", "SIGMOID"]);
const KEEPDIMS: Attribute = int("keepdims").only(&[0, 1]);
const DTYPE: Attribute = int("dtype");
const SCATTER: Attribute = string("reduction").since(16).one_of(&["none", "add", "mul", "max", "min"]);
const REDUCTION: Attribute = string("reduction").one_of(&["none", "sum", "mean"]);
const ALIGN: Attribute = int("align_corners").only(&[0, 1]);
const BODY: Attribute = Attribute::new("body", Kind::Graph);
const WINDOW: [Attribute; 2] = [int("output_datatype"), int("periodic").only(&[0, 1])];
const RNN_ACTIVATIONS: [Attribute; 7] = [
    floats("activation_alpha"),
    floats("activation_beta"),
    strings("activations").one_of(&["Sigmoid", "Tanh", "Relu"]),
    float("clip"),
    string("direction").one_of(&["forward", "reverse", "bidirectional"]),
    int("hidden_size"),
    int("layout").since(14).only(&[0, 1]),
];

const fn unary(name: &'static str, since: i64) -> Operator {
    op(name, since, (1, 1), 1, &[])
}

const fn binary(name: &'static str, since: i64) -> Operator {
    op(name, since, (2, 2), 1, &[])
}

/// A reduction whose axes became an operand in version 18.
const fn reduction(name: &'static str) -> Operator {
    const OLD: [Attribute; 3] = [ints("axes").until(17), KEEPDIMS, int("noop_with_empty_axes").since(18).only(&[0, 1])];
    op(name, 1, (1, 2), 1, &OLD)
}

const fn arg(name: &'static str) -> Operator {
    const ATTRIBUTES: [Attribute; 3] = [AXIS, KEEPDIMS, int("select_last_index").since(12).only(&[0, 1])];
    op(name, 1, (1, 1), 1, &ATTRIBUTES)
}

/// Every operator that the importer knows.
pub fn supported_operators() -> &'static [Operator] {
    OPERATORS
}

/// Finds an operator.
pub(crate) fn find(domain: &str, name: &str) -> Option<&'static Operator> {
    OPERATORS.iter().find(|o| o.domain == domain && o.name == name)
}

const OPERATORS: &[Operator] = &[
    unary("Abs", 1),
    unary("Acos", 7),
    unary("Acosh", 9),
    binary("Add", 7),
    op("AffineGrid", 20, (2, 2), 1, &[ALIGN]),
    binary("And", 7),
    arg("ArgMax"),
    arg("ArgMin"),
    unary("Asin", 7),
    unary("Asinh", 9),
    unary("Atan", 7),
    unary("Atanh", 9),
    op(
        "Attention",
        23,
        (3, 7),
        4,
        &[
            int("is_causal").only(&[0, 1]),
            int("kv_num_heads"),
            int("left_window_size").since(25),
            int("q_num_heads"),
            int("qk_matmul_output_mode").only(&[0, 1, 2, 3]),
            int("right_window_size").since(25),
            float("scale"),
            float("softcap"),
            int("softmax_precision"),
        ],
    ),
    op(
        "AveragePool",
        1,
        (1, 1),
        1,
        &[
            AUTO_PAD,
            KERNEL,
            STRIDES,
            PADS,
            int("ceil_mode").since(10).only(&[0, 1]),
            int("count_include_pad").only(&[0, 1]),
            DILATIONS.since(19),
        ],
    ),
    op(
        "BatchNormalization",
        7,
        (5, 5),
        1,
        &[EPSILON, float("momentum"), int("spatial").until(8).only(&[1]), int("training_mode").since(14).only(&[0])],
    ),
    op("BitShift", 11, (2, 2), 1, &[string("direction").one_of(&["LEFT", "RIGHT"])]),
    binary("BitwiseAnd", 18),
    unary("BitwiseNot", 18),
    binary("BitwiseOr", 18),
    binary("BitwiseXor", 18),
    op("BlackmanWindow", 17, (1, 1), 1, &WINDOW),
    op("Cast", 6, (1, 1), 1, &[int("to"), int("saturate").since(19), string("round_mode").since(24)]),
    op("CastLike", 15, (2, 2), 1, &[int("saturate").since(19), string("round_mode").since(24)]),
    unary("Ceil", 1),
    op("Celu", 12, (1, 1), 1, &[ALPHA]),
    op("CenterCropPad", 18, (2, 2), 1, &[ints("axes")]),
    op("Clip", 1, (1, 3), 1, &[float("min").until(10), float("max").until(10)]),
    op("Col2Im", 18, (3, 3), 1, &[DILATIONS, PADS, STRIDES]),
    op("Concat", 4, (1, MANY), 1, &[AXIS]),
    op(
        "Constant",
        1,
        (0, 0),
        1,
        &[
            Attribute::new("value", Kind::Tensor),
            float("value_float").since(12),
            floats("value_floats").since(12),
            int("value_int").since(12),
            ints("value_ints").since(12),
        ],
    ),
    op("ConstantOfShape", 9, (1, 1), 1, &[Attribute::new("value", Kind::Tensor)]),
    op("Conv", 1, (2, 3), 1, &[AUTO_PAD, DILATIONS, GROUP, KERNEL, PADS, STRIDES]),
    op("ConvInteger", 10, (2, 4), 1, &[AUTO_PAD, DILATIONS, GROUP, KERNEL, PADS, STRIDES]),
    op("ConvTranspose", 1, (2, 3), 1, &[AUTO_PAD, DILATIONS, GROUP, KERNEL, PADS, STRIDES, ints("output_padding"), ints("output_shape")]),
    unary("Cos", 7),
    unary("Cosh", 9),
    op("CumProd", 26, (2, 2), 1, &[int("exclusive").only(&[0, 1]), int("reverse").only(&[0, 1])]),
    op("CumSum", 11, (2, 2), 1, &[int("exclusive").only(&[0, 1]), int("reverse").only(&[0, 1])]),
    op("DFT", 17, (1, 3), 1, &[AXIS.until(19), int("inverse").only(&[0, 1]), int("onesided").only(&[0, 1])]),
    op("DepthToSpace", 1, (1, 1), 1, &[int("blocksize"), string("mode").since(11).one_of(&["DCR", "CRD"])]),
    op("DequantizeLinear", 10, (2, 3), 1, &[AXIS.since(13), int("block_size").since(21), int("output_dtype").since(23).only(&[0, 1])]),
    unary("Det", 11),
    binary("Div", 7),
    op("Dropout", 1, (1, 3), 2, &[float("ratio").until(11), int("seed").since(12)]),
    op("DynamicQuantizeLinear", 11, (1, 1), 3, &[]),
    op("Einsum", 12, (1, MANY), 1, &[string("equation")]),
    op("Elu", 6, (1, 1), 1, &[ALPHA]),
    binary("Equal", 7),
    unary("Erf", 9),
    unary("Exp", 1),
    binary("Expand", 8),
    op("EyeLike", 9, (1, 1), 1, &[DTYPE, int("k")]),
    op("Flatten", 1, (1, 1), 1, &[AXIS]),
    unary("Floor", 1),
    op("GRU", 7, (3, 6), 2, &with_rnn(int("linear_before_reset").only(&[0, 1]))),
    op("Gather", 1, (2, 2), 1, &[AXIS]),
    op("GatherElements", 11, (2, 2), 1, &[AXIS]),
    op("GatherND", 11, (2, 2), 1, &[int("batch_dims").since(12)]),
    op("Gelu", 20, (1, 1), 1, &[string("approximate").one_of(&["none", "tanh"])]),
    op("Gemm", 7, (2, 3), 1, &[ALPHA, BETA, int("transA").only(&[0, 1]), int("transB").only(&[0, 1])]),
    unary("GlobalAveragePool", 1),
    op("GlobalLpPool", 2, (1, 1), 1, &[int("p").only(&[1, 2])]),
    unary("GlobalMaxPool", 1),
    binary("Greater", 7),
    binary("GreaterOrEqual", 12),
    op(
        "GridSample",
        16,
        (2, 2),
        1,
        &[
            ALIGN,
            string("mode").one_of(&["bilinear", "linear", "nearest", "bicubic", "cubic"]),
            string("padding_mode").one_of(&["zeros", "border", "reflection"]),
        ],
    ),
    op("GroupNormalization", 18, (3, 3), 1, &[EPSILON, int("num_groups"), int("stash_type").since(21)]),
    op("HammingWindow", 17, (1, 1), 1, &WINDOW),
    op("HannWindow", 17, (1, 1), 1, &WINDOW),
    op("HardSigmoid", 1, (1, 1), 1, &[ALPHA, BETA]),
    unary("HardSwish", 14),
    op("Hardmax", 1, (1, 1), 1, &[AXIS]),
    unary("Identity", 1),
    op("If", 1, (1, 1), MANY, &[Attribute::new("then_branch", Kind::Graph), Attribute::new("else_branch", Kind::Graph)]),
    op("InstanceNormalization", 6, (3, 3), 1, &[EPSILON]),
    op("IsInf", 10, (1, 1), 1, &[int("detect_negative").only(&[0, 1]), int("detect_positive").only(&[0, 1])]),
    unary("IsNaN", 9),
    op("LRN", 1, (1, 1), 1, &[ALPHA, BETA, float("bias"), int("size")]),
    op("LSTM", 7, (3, 8), 3, &with_rnn(int("input_forget").only(&[0, 1]))),
    op("LayerNormalization", 17, (2, 3), 3, &[AXIS, EPSILON, int("stash_type")]),
    op("LeakyRelu", 6, (1, 1), 1, &[ALPHA]),
    binary("Less", 7),
    binary("LessOrEqual", 12),
    unary("Log", 1),
    op("LogSoftmax", 1, (1, 1), 1, &[AXIS]),
    op("Loop", 11, (0, MANY), MANY, &[BODY]),
    op("LpNormalization", 1, (1, 1), 1, &[AXIS, int("p").only(&[1, 2])]),
    op("LpPool", 2, (1, 1), 1, &[AUTO_PAD, KERNEL, STRIDES, PADS, int("p"), int("ceil_mode").since(18).only(&[0, 1]), DILATIONS.since(18)]),
    binary("MatMul", 1),
    op("MatMulInteger", 10, (2, 4), 1, &[]),
    op("Max", 6, (1, MANY), 1, &[]),
    op(
        "MaxPool",
        1,
        (1, 1),
        1,
        &[
            AUTO_PAD,
            KERNEL,
            STRIDES,
            PADS,
            int("ceil_mode").since(10).only(&[0, 1]),
            DILATIONS.since(10),
            int("storage_order").since(8).only(&[0]),
        ],
    ),
    op("Mean", 6, (1, MANY), 1, &[]),
    op("MeanVarianceNormalization", 9, (1, 1), 1, &[ints("axes")]),
    op("Min", 6, (1, MANY), 1, &[]),
    unary("Mish", 18),
    op("Mod", 10, (2, 2), 1, &[int("fmod").only(&[0, 1])]),
    binary("Mul", 7),
    unary("Neg", 1),
    op("NegativeLogLikelihoodLoss", 12, (2, 3), 1, &[int("ignore_index"), REDUCTION]),
    unary("NonZero", 9),
    unary("Not", 1),
    op("OneHot", 9, (3, 3), 1, &[AXIS]),
    binary("Or", 7),
    binary("PRelu", 7),
    op("Pad", 2, (1, 4), 1, &[string("mode").one_of(&["constant", "reflect", "edge", "wrap"]), PADS.until(10), float("value").until(10)]),
    binary("Pow", 7),
    op("QLinearConv", 10, (8, 9), 1, &[AUTO_PAD, DILATIONS, GROUP, KERNEL, PADS, STRIDES]),
    op("QLinearMatMul", 10, (8, 8), 1, &[]),
    op(
        "QuantizeLinear",
        10,
        (2, 3),
        1,
        &[
            AXIS.since(13),
            int("saturate").since(19),
            int("block_size").since(21),
            int("output_dtype").since(21),
            int("precision").since(23).only(&[0, 1]),
        ],
    ),
    op("RMSNormalization", 23, (2, 2), 1, &[AXIS, EPSILON, int("stash_type")]),
    op("RNN", 7, (3, 6), 2, &RNN_ACTIVATIONS),
    op("Range", 11, (3, 3), 1, &[int("stash_type").since(27)]),
    unary("Reciprocal", 1),
    reduction("ReduceL1"),
    reduction("ReduceL2"),
    reduction("ReduceLogSum"),
    reduction("ReduceLogSumExp"),
    reduction("ReduceMax"),
    reduction("ReduceMean"),
    reduction("ReduceMin"),
    reduction("ReduceProd"),
    // The sum took its axes as an operand five versions before the other reductions.
    op("ReduceSum", 1, (1, 2), 1, &[ints("axes").until(12), KEEPDIMS, int("noop_with_empty_axes").since(13).only(&[0, 1])]),
    reduction("ReduceSumSquare"),
    unary("Relu", 1),
    op("Reshape", 5, (2, 2), 1, &[int("allowzero").since(14).only(&[0, 1])]),
    op(
        "Resize",
        10,
        (1, 4),
        1,
        &[
            int("antialias").since(18).only(&[0, 1]),
            ints("axes").since(18),
            string("coordinate_transformation_mode").since(11).one_of(&[
                "half_pixel",
                "half_pixel_symmetric",
                "pytorch_half_pixel",
                "align_corners",
                "asymmetric",
                "tf_crop_and_resize",
            ]),
            float("cubic_coeff_a").since(11),
            int("exclude_outside").since(11).only(&[0, 1]),
            float("extrapolation_value").since(11),
            string("keep_aspect_ratio_policy").since(18).one_of(&["stretch", "not_larger", "not_smaller"]),
            string("mode").one_of(&["nearest", "linear", "cubic"]),
            string("nearest_mode").since(11).one_of(&["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]),
        ],
    ),
    op("ReverseSequence", 10, (2, 2), 1, &[int("batch_axis"), int("time_axis")]),
    op("RotaryEmbedding", 23, (3, 4), 1, &[int("interleaved").only(&[0, 1]), int("num_heads"), int("rotary_embedding_dim")]),
    unary("Round", 11),
    op(
        "Scan",
        9,
        (1, MANY),
        MANY,
        &[
            BODY,
            int("num_scan_inputs"),
            ints("scan_input_axes"),
            ints("scan_input_directions"),
            ints("scan_output_axes"),
            ints("scan_output_directions"),
        ],
    ),
    op("Scatter", 9, (3, 3), 1, &[AXIS]),
    op("ScatterElements", 11, (3, 3), 1, &[AXIS, SCATTER]),
    op("ScatterND", 11, (3, 3), 1, &[SCATTER]),
    op("Selu", 6, (1, 1), 1, &[ALPHA, float("gamma")]),
    op("Shape", 1, (1, 1), 1, &[int("start").since(15), int("end").since(15)]),
    op("Shrink", 9, (1, 1), 1, &[float("bias"), float("lambd")]),
    unary("Sigmoid", 1),
    unary("Sign", 9),
    unary("Sin", 7),
    unary("Sinh", 9),
    unary("Size", 1),
    op("Slice", 1, (1, 5), 1, &[ints("axes").until(9), ints("starts").until(9), ints("ends").until(9)]),
    op("Softmax", 1, (1, 1), 1, &[AXIS]),
    op("SoftmaxCrossEntropyLoss", 12, (2, 3), 2, &[int("ignore_index"), REDUCTION]),
    unary("Softplus", 1),
    unary("Softsign", 1),
    op("SpaceToDepth", 1, (1, 1), 1, &[int("blocksize"), string("mode").since(28).one_of(&["DCR", "CRD"])]),
    op("Split", 2, (1, 2), MANY, &[AXIS, ints("split").until(12), int("num_outputs").since(18)]),
    unary("Sqrt", 1),
    op("Squeeze", 1, (1, 2), 1, &[ints("axes").until(12)]),
    binary("Sub", 7),
    op("Sum", 6, (1, MANY), 1, &[]),
    op("SwiGLU", 28, (2, 2), 1, &[ALPHA]),
    op("Swish", 24, (1, 1), 1, &[ALPHA]),
    unary("Tan", 7),
    unary("Tanh", 1),
    op("TensorScatter", 24, (2, 3), 1, &[AXIS, string("mode").one_of(&["linear", "circular"])]),
    op("ThresholdedRelu", 1, (1, 1), 1, &[ALPHA]),
    binary("Tile", 6),
    op("TopK", 1, (1, 2), 2, &[AXIS, int("k").until(9), int("largest").since(11).only(&[0, 1]), int("sorted").since(11).only(&[0, 1])]),
    op("Transpose", 1, (1, 1), 1, &[ints("perm")]),
    op("Trilu", 14, (1, 2), 1, &[int("upper").only(&[0, 1])]),
    op("Unsqueeze", 1, (1, 2), 1, &[ints("axes").until(12)]),
    op("Upsample", 7, (1, 2), 1, &[string("mode").one_of(&["nearest", "linear"]), floats("scales").until(8)]),
    op("Where", 9, (3, 3), 1, &[]),
    binary("Xor", 7),
    ml("ArrayFeatureExtractor", 2, 1, &[]),
    ml("Binarizer", 1, 1, &[float("threshold")]),
    ml(
        "LabelEncoder",
        1,
        1,
        &[float("default_float"), int("default_int64"), ints("keys_int64s"), ints("values_int64s"), floats("values_floats")],
    ),
    ml(
        "LinearClassifier",
        1,
        2,
        &[
            ints("classlabels_ints"),
            floats("coefficients"),
            floats("intercepts"),
            int("multi_class"),
            string("post_transform").one_of(&["NONE", "SOFTMAX", "LOGISTIC"]),
        ],
    ),
    ml(
        "LinearRegressor",
        1,
        1,
        &[floats("coefficients"), floats("intercepts"), string("post_transform").one_of(&["NONE"]), int("targets")],
    ),
    ml("Normalizer", 1, 1, &[string("norm").one_of(&["MAX", "L1", "L2"])]),
    ml("OneHotEncoder", 1, 1, &[ints("cats_int64s"), int("zeros").only(&[1])]),
    ml(
        "SVMClassifier",
        1,
        2,
        &[
            ints("classlabels_ints"),
            floats("coefficients"),
            floats("kernel_params"),
            KERNEL_TYPE,
            string("post_transform").one_of(&["NONE"]),
            floats("rho"),
            floats("support_vectors"),
            ints("vectors_per_class"),
        ],
    ),
    ml(
        "SVMRegressor",
        1,
        1,
        &[
            floats("coefficients"),
            floats("kernel_params"),
            KERNEL_TYPE,
            int("n_supports"),
            int("one_class").only(&[0]),
            string("post_transform").one_of(&["NONE"]),
            floats("rho"),
            floats("support_vectors"),
        ],
    ),
    ml("Scaler", 1, 1, &[floats("offset"), floats("scale")]),
    ml(
        "TreeEnsemble",
        1,
        1,
        &[
            int("aggregate_function").only(&[1]),
            ints("leaf_targetids"),
            Attribute::new("leaf_weights", Kind::Tensor),
            int("n_targets"),
            ints("nodes_falseleafs"),
            ints("nodes_falsenodeids"),
            ints("nodes_featureids"),
            ints("nodes_missing_value_tracks_true"),
            Attribute::new("nodes_modes", Kind::Tensor),
            Attribute::new("nodes_splits", Kind::Tensor),
            ints("nodes_trueleafs"),
            ints("nodes_truenodeids"),
            int("post_transform").only(&[0]),
            ints("tree_roots"),
        ],
    ),
    ml(
        "TreeEnsembleClassifier",
        1,
        2,
        &tree([
            floats("base_values"),
            ints("class_ids"),
            ints("class_nodeids"),
            ints("class_treeids"),
            floats("class_weights"),
            ints("classlabels_int64s"),
            string("post_transform").one_of(&["NONE", "SOFTMAX", "LOGISTIC"]),
        ]),
    ),
    ml(
        "TreeEnsembleRegressor",
        1,
        1,
        &tree([
            floats("base_values"),
            ints("target_ids"),
            ints("target_nodeids"),
            ints("target_treeids"),
            floats("target_weights"),
            int("n_targets"),
            string("post_transform").one_of(&["NONE"]),
        ]),
    ),
    Operator { domain: MICROSOFT, ..op("QGemm", 1, (6, 9), 1, &[ALPHA, int("transA").only(&[0, 1]), int("transB").only(&[0, 1])]) },
];

const fn with_rnn(extra: Attribute) -> [Attribute; 8] {
    let [a, b, c, d, e, f, g] = RNN_ACTIVATIONS;
    [a, b, c, d, e, f, g, extra]
}

/// Attributes of the nodes of a tree ensemble and those that say what its leaves mean. Features are finite, so that it does not matter
/// where missing ones go.
const fn tree(rest: [Attribute; 7]) -> [Attribute; 17] {
    let [a, b, c, d, e, f, g] = rest;
    [
        string("aggregate_function").one_of(&["SUM"]),
        ints("nodes_falsenodeids"),
        ints("nodes_featureids"),
        floats("nodes_hitrates"),
        ints("nodes_missing_value_tracks_true"),
        strings("nodes_modes").one_of(&["BRANCH_LEQ", "BRANCH_LT", "LEAF"]),
        ints("nodes_nodeids"),
        ints("nodes_treeids"),
        ints("nodes_truenodeids"),
        floats("nodes_values"),
        a,
        b,
        c,
        d,
        e,
        f,
        g,
    ]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_sorted_and_unique() {
        for pair in OPERATORS.windows(2) {
            assert!((pair[0].domain, pair[0].name) < (pair[1].domain, pair[1].name), "{}", pair[1].name);
        }
        assert!(find("", "Conv").is_some() && find(ML, "Conv").is_none());
    }
}
