//! What this process has used so far, as the kernel tells.

/// CPU time and memory of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time in milliseconds.
    pub cpu_millis: u64,
    /// Greatest resident set in bytes.
    pub peak_rss_bytes: u64,
}

/// Usage as of now; zeros where /proc does not exist.
#[must_use]
pub fn now() -> Usage {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    Usage { cpu_millis: cpu_millis(&read("/proc/self/stat")), peak_rss_bytes: peak_rss(&read("/proc/self/status")) }
}

/// Fields 14 and 15 of proc_pid_stat(5), in clock ticks of 10 ms (USER_HZ is 100 on every Linux ABI Rust supports).
fn cpu_millis(stat: &str) -> u64 {
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks =
        |at: usize| after_name.split_whitespace().nth(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    (ticks(11) + ticks(12)) * 10
}

fn peak_rss(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_formats() {
        let stat = "7 (a (odd) name) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 5 1000 10";
        assert_eq!(cpu_millis(stat), 3_000);
        assert_eq!(peak_rss("Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n"), 2 << 20);
        assert!(now().peak_rss_bytes > 1 << 20);
    }
}
