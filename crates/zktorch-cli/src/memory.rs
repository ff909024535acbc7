//! Memory of this process.

/// Largest resident size so far, in bytes; nothing where the system does not say (it does on Linux).
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn linux_says_how_much() {
        assert!(super::peak_rss_bytes().is_some_and(|n| n > 100_000));
    }
}
