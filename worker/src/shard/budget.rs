//! How much memory a worker may use, and how much of it rows may take.

use std::path::Path;

/// Memory of the process itself: code, messages, buffers.
const OVERHEAD: u64 = 32 << 20;
/// Least memory for rows.
const LEAST: u64 = 16 << 20;

/// Bytes of rows to keep in memory under a limit on the whole process: half of it less the process's own needs. The other
/// half is for decoders at work, for partial sums of each thread, and for what the allocator keeps back.
#[must_use]
pub fn for_rows(limit: u64) -> u64 {
    (limit / 2).saturating_sub(OVERHEAD).max(LEAST)
}

/// The memory limit of this process: its cgroup's (version 2 or 1), or else the machine's memory.
#[must_use]
pub fn process_limit() -> u64 {
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).ok();
    let cgroup = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .into_iter()
        .filter_map(read)
        .find_map(|text| text.trim().parse::<u64>().ok());
    let machine = read("/proc/meminfo").and_then(|text| machine_memory(&text)).unwrap_or(u64::MAX);
    // Without a limit cgroup v1 gives a number near 2^63, v2 the word "max".
    cgroup.unwrap_or(u64::MAX).min(machine)
}

fn machine_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_get_what_the_process_does_not_need() {
        assert_eq!(for_rows(300 << 20), 118 << 20);
        assert_eq!(for_rows(10 << 20), LEAST);
        assert_eq!(machine_memory("MemTotal:       16 kB\n"), Some(16 << 10));
        assert!(process_limit() > 1 << 20);
    }
}
