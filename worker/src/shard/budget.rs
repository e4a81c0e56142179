//! How much memory a worker may use, and how much of it rows may take.

use std::path::{Path, PathBuf};

/// Memory of the process itself: code, messages, buffers.
const OVERHEAD: u64 = 32 << 20;
/// Least memory for rows.
const LEAST: u64 = 16 << 20;

/// Bytes of rows to keep in memory under a limit on the whole process: half of it less the process's own needs. The other
/// half is for decoders at work, for partial sums of each thread, for what is sampled in a step (16 MiB, all threads together), and
/// for what the allocator keeps back.
#[must_use]
pub fn for_rows(limit: u64) -> u64 {
    (limit / 2).saturating_sub(OVERHEAD).max(LEAST)
}

/// The memory limit of this process: the tightest of its cgroup's and those above it (version 2 or 1), or else the machine's
/// memory.
#[must_use]
pub fn process_limit() -> u64 {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let cgroups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    // Without a limit cgroup v1 gives a number near 2^63, v2 the word "max".
    let limits = limit_files(&cgroups).into_iter().filter_map(|file| read(&file)?.trim().parse().ok());
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| machine_memory(&text)).unwrap_or(u64::MAX);
    limits.fold(machine, u64::min)
}

/// Files that may hold a limit, as /proc/self/cgroup tells. In a container that sees only its own cgroup the path there is
/// `/`, or one of the host's that does not exist here; the root then has the container's limit.
fn limit_files(cgroups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in cgroups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|name| name == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        let own = Path::new(root).join(path.trim_start_matches('/'));
        let above = own.ancestors().take_while(|directory| directory.starts_with(root));
        files.extend(above.map(|directory| directory.join(file)));
    }
    files
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

    #[test]
    fn limits_are_looked_for_from_the_own_cgroup_upwards() {
        let files = |text: &str| -> Vec<String> {
            limit_files(text).into_iter().map(|file| file.display().to_string()).collect()
        };
        // A container with a view of its own, version 2.
        assert_eq!(files("0::/\n"), ["/sys/fs/cgroup/memory.max"]);
        // A process of the host.
        assert_eq!(
            files("0::/kubepods/pod1\n"),
            [
                "/sys/fs/cgroup/kubepods/pod1/memory.max",
                "/sys/fs/cgroup/kubepods/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        // Version 1: a line per controller.
        assert_eq!(
            files("5:cpu,cpuacct:/a\n4:memory:/a\n0::/a\n")[..2],
            ["/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        );
    }
}
