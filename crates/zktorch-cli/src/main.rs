//! The `zktorch` command.
fn main() {}
