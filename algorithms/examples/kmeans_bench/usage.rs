//! What the process has used, from `/proc`: zeros where that is not there.

use std::fs;

/// CPU ticks per second in `/proc`: 100 on every Linux that has not been built otherwise.
const TICKS: f64 = 100.0;

/// CPU seconds of this process so far.
pub(crate) fn own_cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name before the last parenthesis may hold spaces. Then: state, and user and system time as 12th and 13th.
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// CPU seconds of everything on the machine so far, with those that its host gave to others.
pub(crate) fn machine_cpu() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .lines()
        .next()
        .into_iter()
        .flat_map(str::split_whitespace)
        .skip(1)
        .take(8)
        .filter_map(|field| field.parse().ok())
        .collect();
    // All but idle and waiting for disks.
    fields.iter().enumerate().filter(|&(i, _)| i != 3 && i != 4).map(|(_, ticks)| ticks).sum::<f64>() / TICKS
}

/// A field of `/proc/self/status` in bytes: `VmRSS` is the resident memory now, `VmHWM` the most there ever was.
pub(crate) fn memory(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':')?.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kibibytes| kibibytes << 10)
}
