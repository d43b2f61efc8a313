//! The memory limit of queries.

/// The share of the machine's memory that queries may use, in percent.
const SHARE: u64 = 70;
/// The assumed memory in bytes if the size is unknown.
const ASSUMED: u64 = 8 << 30;

/// The memory limit for all queries of a session, in bytes; `SET datafusion.runtime.memory_limit = '4G'` changes it.
pub(super) fn limit() -> usize {
    let total = [installed(), group("memory.max"), group("memory/memory.limit_in_bytes")];
    let total = total.into_iter().flatten().min().unwrap_or(ASSUMED);
    usize::try_from(total / 100 * SHARE).unwrap_or(usize::MAX)
}

/// The memory of the machine in bytes, from `/proc/meminfo`.
fn installed() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// The memory limit of the control group in bytes, from a file below `/sys/fs/cgroup`.
fn group(file: &str) -> Option<u64> {
    std::fs::read_to_string(format!("/sys/fs/cgroup/{file}")).ok()?.trim().parse().ok()
}
