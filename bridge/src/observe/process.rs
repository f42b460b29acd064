//! What the kernel says of this process; `None` where it says nothing.

use std::time::Duration;

/// Memory in use.
pub fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Time on the processor, all threads.
pub fn cpu_time() -> Option<Duration> {
    // Ticks per second have been 100 on every Linux for two decades.
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program stands in parentheses and may hold anything.
    let fields = stat.rsplit_once(')')?.1;
    let mut times = fields.split_whitespace().skip(11);
    let (user, system) = (times.next()?.parse::<u32>().ok()?, times.next()?.parse::<u32>().ok()?);
    Some(TICK * (user + system))
}
