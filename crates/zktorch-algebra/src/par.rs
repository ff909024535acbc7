//! The few shapes of parallel loop that the kernels use, with a sequential twin when `parallel` is off.

/// Below this many field operations a loop stays on the calling thread.
pub(crate) const THRESHOLD: usize = 1 << 12;

/// Number of worker threads available to the kernels.
#[cfg(feature = "parallel")]
pub(crate) fn threads() -> usize {
    rayon::current_num_threads()
}

/// Number of worker threads available to the kernels.
#[cfg(not(feature = "parallel"))]
pub(crate) fn threads() -> usize {
    1
}

/// `[f(0), …, f(n-1)]`, computed in parallel.
pub(crate) fn map<R: Send>(n: usize, f: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
    #[cfg(feature = "parallel")]
    if n > 1 && threads() > 1 {
        use rayon::prelude::*;
        return (0..n).into_par_iter().map(f).collect();
    }
    (0..n).map(f).collect()
}

/// Calls `f(offset, chunk)` for consecutive chunks of at most `chunk` elements that cover `data`.
pub(crate) fn chunks_mut<T: Send>(data: &mut [T], chunk: usize, f: impl Fn(usize, &mut [T]) + Sync + Send) {
    let chunk = chunk.max(1);
    #[cfg(feature = "parallel")]
    if data.len() > chunk && threads() > 1 {
        use rayon::prelude::*;
        data.par_chunks_mut(chunk).enumerate().for_each(|(i, c)| f(i * chunk, c));
        return;
    }
    for (i, c) in data.chunks_mut(chunk).enumerate() {
        f(i * chunk, c);
    }
}

/// Calls `f(a_chunk, b_chunk)` for aligned chunks of two slices of equal length.
pub(crate) fn chunks_mut_pair<T: Send, U: Send>(a: &mut [T], b: &mut [U], chunk: usize, f: impl Fn(&mut [T], &mut [U]) + Sync + Send) {
    debug_assert_eq!(a.len(), b.len());
    let chunk = chunk.max(1);
    #[cfg(feature = "parallel")]
    if a.len() > chunk && threads() > 1 {
        use rayon::prelude::*;
        a.par_chunks_mut(chunk).zip(b.par_chunks_mut(chunk)).for_each(|(x, y)| f(x, y));
        return;
    }
    for (x, y) in a.chunks_mut(chunk).zip(b.chunks_mut(chunk)) {
        f(x, y);
    }
}

/// Calls `f` once per item, with a scratch value that `init` makes once per worker.
pub(crate) fn consume<T: Send, S>(items: Vec<T>, init: impl Fn() -> S + Sync + Send, f: impl Fn(&mut S, T) + Sync + Send) {
    #[cfg(feature = "parallel")]
    if items.len() > 1 && threads() > 1 {
        use rayon::prelude::*;
        items.into_par_iter().for_each_init(init, f);
        return;
    }
    let mut scratch = init();
    for item in items {
        f(&mut scratch, item);
    }
}
