//! Convolutional networks, with batch normalisation folded into kernels and biases as exporters do.

use crate::bench::onnx::{Attr, Elem, Writer};

/// One convolution with bias; 'same' padding for odd kernels.
struct Conv<'a> {
    name: &'a str,
    from: usize,
    to: usize,
    kernel: usize,
    stride: i64,
    groups: usize,
    /// Standard deviation of the results in units of that of the arguments, if these are rectified.
    gain: f32,
}

impl Conv<'_> {
    fn write(&self, w: &mut Writer, x: &str) -> String {
        let &Conv { name, from, to, kernel, stride, groups, gain } = self;
        let fan_in = (from / groups * kernel * kernel) as f32;
        let weight = w.weight(&format!("{name}.weight"), &[to, from / groups, kernel, kernel], 0.0, gain * (2.0 / fan_in).sqrt());
        let bias = w.weight(&format!("{name}.bias"), &[to], 0.0, 0.1);
        let attributes = [
            ("kernel_shape", Attr::Ints(&[kernel as i64; 2])),
            ("strides", Attr::Ints(&[stride; 2])),
            ("pads", Attr::Ints(&[(kernel / 2) as i64; 4])),
            ("group", Attr::Int(groups as i64)),
        ];
        w.node("Conv", &[x, &weight, &bias], &attributes)
    }
}

fn max_pool(w: &mut Writer, x: &str, kernel: i64, pad: i64) -> String {
    w.node(
        "MaxPool",
        &[x],
        &[("kernel_shape", Attr::Ints(&[kernel; 2])), ("strides", Attr::Ints(&[2; 2])), ("pads", Attr::Ints(&[pad; 4]))],
    )
}

fn linear(w: &mut Writer, x: &str, name: &str, rows: usize, columns: usize) -> String {
    let weight = w.weight(&format!("{name}.weight"), &[rows, columns], 0.0, (2.0 / columns as f32).sqrt());
    let bias = w.weight(&format!("{name}.bias"), &[rows], 0.0, 0.1);
    w.node("Gemm", &[x, &weight, &bias], &[("transB", Attr::Int(1))])
}

/// The mean over the image, then the classes.
fn classes(w: &mut Writer, x: &str, channels: usize) -> String {
    let x = w.node("GlobalAveragePool", &[x], &[]);
    let x = w.node("Flatten", &[&x], &[("axis", Attr::Int(1))]);
    linear(w, &x, "classifier", 1000, channels)
}

/// VGG-16 for 32x32 images and 10 classes: 15.2 million parameters.
pub fn vgg16() -> Vec<u8> {
    let mut w = Writer::new("vgg16", 19);
    let mut x = w.input("pixels", Elem::F32, &[1, 3, 32, 32]);
    let mut from = 3;
    for (stage, (channels, layers)) in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)].into_iter().enumerate() {
        for layer in 0..layers {
            let name = format!("conv{stage}.{layer}");
            x = Conv { name: &name, from, to: channels, kernel: 3, stride: 1, groups: 1, gain: 1.0 }.write(&mut w, &x);
            x = w.node("Relu", &[&x], &[]);
            from = channels;
        }
        x = max_pool(&mut w, &x, 2, 0);
    }
    x = w.node("Flatten", &[&x], &[("axis", Attr::Int(1))]);
    for i in 0..2 {
        x = linear(&mut w, &x, &format!("dense{i}"), 512, 512);
        x = w.node("Relu", &[&x], &[]);
    }
    let logits = linear(&mut w, &x, "classifier", 10, 512);
    w.output(&logits, &[1, 10]);
    w.finish()
}

/// ResNet-50 (strides in the 3x3 convolutions) on 224x224 images: 25.5 million parameters.
pub fn resnet50() -> Vec<u8> {
    let mut w = Writer::new("resnet50", 23);
    let pixels = w.input("pixels", Elem::F32, &[1, 3, 224, 224]);
    let x = Conv { name: "stem", from: 3, to: 64, kernel: 7, stride: 2, groups: 1, gain: 1.0 }.write(&mut w, &pixels);
    let x = w.node("Relu", &[&x], &[]);
    let mut x = max_pool(&mut w, &x, 3, 1);
    let mut from = 64;
    for (stage, (width, blocks)) in [(64, 3), (128, 4), (256, 6), (512, 3)].into_iter().enumerate() {
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let name = |part: &str| format!("stage{stage}.{block}.{part}");
            let conv = |w: &mut Writer, x: &str, part: &str, (from, to), kernel, stride, gain| {
                Conv { name: &name(part), from, to, kernel, stride, groups: 1, gain }.write(w, x)
            };
            let shortcut = if block == 0 { conv(&mut w, &x, "shortcut", (from, 4 * width), 1, stride, 0.7) } else { x.clone() };
            let y = conv(&mut w, &x, "a", (from, width), 1, 1, 1.0);
            let y = w.node("Relu", &[&y], &[]);
            let y = conv(&mut w, &y, "b", (width, width), 3, stride, 1.0);
            let y = w.node("Relu", &[&y], &[]);
            let y = conv(&mut w, &y, "c", (width, 4 * width), 1, 1, 0.4);
            let y = w.node("Add", &[&y, &shortcut], &[]);
            x = w.node("Relu", &[&y], &[]);
            from = 4 * width;
        }
    }
    let logits = classes(&mut w, &x, from);
    w.output(&logits, &[1, 1000]);
    w.finish()
}

/// MobileNetV2 on 224x224 images: 3.5 million parameters.
pub fn mobilenet_v2() -> Vec<u8> {
    let mut w = Writer::new("mobilenetv2", 29);
    let mut x = w.input("pixels", Elem::F32, &[1, 3, 224, 224]);
    let (zero, six) = (w.floats("zero", &[], &[0.0]), w.floats("six", &[], &[6.0]));
    let relu6 = |w: &mut Writer, x: &str| w.node("Clip", &[x, &zero, &six], &[]);
    x = Conv { name: "stem", from: 3, to: 32, kernel: 3, stride: 2, groups: 1, gain: 1.0 }.write(&mut w, &x);
    x = relu6(&mut w, &x);
    let mut from = 32;
    // (expansion, channels, repetitions, stride)
    let stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];
    for (stage, (expansion, to, count, first)) in stages.into_iter().enumerate() {
        for block in 0..count {
            let name = |part: &str| format!("stage{stage}.{block}.{part}");
            let (stride, width) = (if block == 0 { first } else { 1 }, expansion * from);
            let mut y = x.clone();
            if expansion > 1 {
                y = Conv { name: &name("expand"), from, to: width, kernel: 1, stride: 1, groups: 1, gain: 1.0 }.write(&mut w, &y);
                y = relu6(&mut w, &y);
            }
            y = Conv { name: &name("depthwise"), from: width, to: width, kernel: 3, stride, groups: width, gain: 1.0 }.write(&mut w, &y);
            y = relu6(&mut w, &y);
            y = Conv { name: &name("project"), from: width, to, kernel: 1, stride: 1, groups: 1, gain: 0.7 }.write(&mut w, &y);
            x = if stride == 1 && from == to { w.node("Add", &[&x, &y], &[]) } else { y };
            from = to;
        }
    }
    x = Conv { name: "last", from, to: 1280, kernel: 1, stride: 1, groups: 1, gain: 1.0 }.write(&mut w, &x);
    x = relu6(&mut w, &x);
    let logits = classes(&mut w, &x, 1280);
    w.output(&logits, &[1, 1000]);
    w.finish()
}
