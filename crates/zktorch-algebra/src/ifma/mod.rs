//! Eight field elements at a time, with the AVX-512 IFMA instructions, chosen at run time.
//!
//! | item | what it is |
//! | --- | --- |
//! | `Ifma` | proof that the processor has the instructions; where there is none, portable code runs |
//! | `U64x8` | one vector register; the only wrapper of intrinsics |
//! | `Packed` | eight residues of five 52-bit limbs: addition, subtraction, Montgomery product and square |
//!
//! # How to write a kernel
//!
//! A vector can be made only from an `Ifma`, so whoever holds one may use its methods: they are safe. They are also
//! `#[inline(always)]` without a target feature of their own, and are worth their name only when they end up inside a
//! function compiled for the instructions. So a kernel is an outer function
//!
//! ```text
//! #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
//! fn kernel(ifma: Ifma, …) { … }
//! ```
//!
//! that its caller reaches with `unsafe { kernel(ifma, …) }`, the token being the reason why this is sound. Helpers of such
//! a kernel are `#[inline(always)]` (closures and iterator chains may fail to be inlined; check with the benchmark).
//! A kernel asks for the token where it is entered, before it spreads over threads.

#![allow(dead_code, unused_imports, reason = "kernels take what they need of a complete set of operations")]

/// Defines functions that run in a copy compiled for the instructions; the token says that the processor has them.
#[cfg(target_arch = "x86_64")]
macro_rules! kernels {
    ($($(#[$doc:meta])* $vis:vis fn $name:ident($ifma:ident $(, $arg:ident: $type:ty)*) $(-> $result:ty)? $body:block)*) => {$(
        $(#[$doc])*
        $vis fn $name($ifma: crate::ifma::Ifma $(, $arg: $type)*) $(-> $result)? {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
            fn compiled($ifma: crate::ifma::Ifma $(, $arg: $type)*) $(-> $result)? $body
            // SAFETY: the token says that the processor has the instructions, which is all that the function asks for.
            #[allow(unsafe_code, reason = "a function compiled for a processor feature, behind its run-time check")]
            unsafe {
                compiled($ifma $(, $arg)*)
            }
        }
    )*};
}
#[cfg(target_arch = "x86_64")]
pub(crate) use kernels;

#[cfg(target_arch = "x86_64")]
mod packed;
#[cfg(target_arch = "x86_64")]
mod products;
#[cfg(target_arch = "x86_64")]
mod vector;

#[cfg(target_arch = "x86_64")]
pub(crate) use packed::{Element, Lazy, Packed, words};
#[cfg(target_arch = "x86_64")]
pub(crate) use products::{BLOCK, Products, settle, sum_of_lanes, unit};
#[cfg(target_arch = "x86_64")]
pub(crate) use vector::{U64x8, prefetch};

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

/// Proof that the processor has AVX-512 F, BW, DQ, VL, IFMA and VBMI2.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ifma(());

static FORBIDDEN: AtomicBool = AtomicBool::new(false);

thread_local! {
    static PORTABLE: Cell<bool> = const { Cell::new(false) };
}

impl Ifma {
    /// The token, if the processor has the instructions and [`portable`] does not forbid them. Costs a few nanoseconds.
    pub(crate) fn get() -> Option<Self> {
        (available() && !PORTABLE.get()).then_some(Self(()))
    }
}

/// Whether the processor has the instructions of the vector kernels, and they are not [forbidden](forbid).
pub fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    return !FORBIDDEN.load(Ordering::Relaxed)
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512ifma")
        && is_x86_feature_detected!("avx512vbmi2");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Makes this process use the portable kernels from now on, to time them as processors without the instructions would run them.
pub fn forbid() {
    FORBIDDEN.store(true, Ordering::Relaxed);
}

/// Runs `f` with the portable kernels, to test and to time them: kernels entered by this thread find no vector instructions.
pub fn portable<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            PORTABLE.set(self.0);
        }
    }
    let _restore = Restore(PORTABLE.replace(true));
    f()
}

/// Runs a pass with both kinds of instructions and returns the one result.
#[cfg(test)]
pub(crate) fn both<R: PartialEq + std::fmt::Debug>(pass: impl Fn() -> R) -> R {
    let result = pass();
    assert_eq!(portable(&pass), result);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instructions_can_be_forbidden_for_a_while() {
        assert_eq!(Ifma::get().is_some(), available());
        portable(|| {
            assert!(Ifma::get().is_none());
            portable(|| ());
            assert!(Ifma::get().is_none());
        });
        assert_eq!(Ifma::get().is_some(), available());
    }
}
