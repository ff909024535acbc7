//! What this process has used, as Linux tells it; nothing elsewhere.

/// Largest resident size so far (or since [`reset_peak`]), in bytes.
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Memory that programs can still get, where the system tells (Linux).
pub fn available_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Lets [`peak_rss_bytes`] begin anew at the present size, if the system allows it.
pub fn reset_peak() {
    // What fails leaves a peak that is larger than that of the phase alone; the total is right either way.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Processor time of all threads that are alive, in seconds.
pub fn cpu_seconds() -> Option<f64> {
    let mut nanoseconds = 0u64;
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        nanoseconds += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(nanoseconds as f64 * 1e-9)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn linux_says_how_much() {
        assert!(peak_rss_bytes().is_some_and(|n| n > 100_000));
        assert!(cpu_seconds().is_none_or(|s| s > 0.0));
    }

    #[test]
    fn a_peak_is_forgotten() {
        let large = vec![1u8; 64 << 20];
        let with = peak_rss_bytes().expect("linux");
        assert!(large.iter().all(|x| *x == 1));
        drop(large);
        reset_peak();
        assert!(peak_rss_bytes().expect("linux") <= with);
    }
}
