//! How much memory queries may take.

/// What queries may take of the machine's memory, in hundredths.
const SHARE: u64 = 70;
/// What is assumed where the machine does not tell, in bytes.
const ASSUMED: u64 = 8 << 30;

/// The memory that queries may take together, in bytes; `SET datafusion.runtime.memory_limit = '4G'` changes it.
pub fn limit() -> usize {
    let total = [installed(), group("memory.max"), group("memory/memory.limit_in_bytes")];
    let total = total.into_iter().flatten().min().unwrap_or(ASSUMED);
    usize::try_from(total / 100 * SHARE).unwrap_or(usize::MAX)
}

/// The memory of the machine, as Linux tells it.
fn installed() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// The limit of the control group that a container has.
fn group(file: &str) -> Option<u64> {
    std::fs::read_to_string(format!("/sys/fs/cgroup/{file}")).ok()?.trim().parse().ok()
}
