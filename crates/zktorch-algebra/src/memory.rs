//! What the allocator does with memory that is given back.

/// Makes glibc's allocator keep the memory that this process frees, for its next use (on other threads than the first, what was asked for in pieces of at most some ten megabytes); other allocators stay as they are.
///
/// A proof frees and asks for tables of many megabytes in turn. Given back to the system, their pages have to be cleared again, which takes up to a tenth of a large proof's
/// time. For programs that prove and end: a process that lives on keeps the size of its largest proof.
pub fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: sets two parameters of the allocator, under its lock. A value that it does not take, it refuses.
        #[expect(unsafe_code, reason = "a foreign function without preconditions")]
        unsafe {
            libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
            libc::mallopt(libc::M_MMAP_MAX, 0);
        }
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    /// Page faults of this thread so far.
    fn faults() -> u64 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("linux");
        // After the name, which may contain spaces: state, four numbers, flags, then faults.
        let (_, fields) = stat.rsplit_once(')').expect("the format of proc");
        fields.split_whitespace().nth(7).and_then(|n| n.parse().ok()).expect("the format of proc")
    }

    #[test]
    fn freed_memory_is_used_again() {
        super::keep_freed();
        let touch = || {
            let before = faults();
            let pages = vec![1u8; 16 << 20];
            assert!(pages.iter().all(|x| *x == 1));
            drop(pages);
            faults() - before
        };
        let first = touch();
        let second = touch();
        assert!(second < first / 4, "{first} and {second} faults");
    }
}
