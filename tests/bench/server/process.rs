//! What processes took: their time on the processors, and their memory.

use std::fs;
use std::time::Duration;

/// Linux tells all processes' times in hundredths of a second, whatever its own clock is.
const TICK: Duration = Duration::from_millis(10);

/// Processor time of a process, all its threads, those that ended too.
pub(crate) fn processor_time(pid: u32) -> Duration {
    let fields = fields(pid).unwrap();
    TICK * (fields[13] + fields[14])
}

/// The same of a process and its children, those that ended too, which is all processes of a database.
pub(crate) fn family_time(pid: u32) -> Duration {
    let parent = fields(pid).unwrap();
    let children: u32 = children(pid).filter_map(fields).map(|child| child[13] + child[14]).sum();
    TICK * (parent[13] + parent[14] + parent[15] + parent[16] + children)
}

/// What of the memory of a process and its children is in use, shared pages counted once: MiB.
pub(crate) fn family_memory(pid: u32) -> f64 {
    let part = |pid: u32| named(&format!("/proc/{pid}/smaps_rollup"), "Pss:");
    [pid].into_iter().chain(children(pid)).map(part).sum()
}

/// Resident memory: now, and the most since [`forget_the_most`]: MiB.
pub(crate) fn memory(pid: u32) -> (f64, f64) {
    let of = |name| named(&format!("/proc/{pid}/status"), name);
    (of("VmRSS:"), of("VmHWM:"))
}

/// From now on.
pub(crate) fn forget_the_most(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

fn named(file: &str, name: &str) -> f64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    value.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0
}

fn children(of: u32) -> impl Iterator<Item = u32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(move |pid| fields(*pid).is_some_and(|fields| fields[3] == of))
}

/// The fields of /proc/PID/stat, numbered from 0 in their order. A field that cannot be read is 0.
fn fields(pid: u32) -> Option<Vec<u32>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // A name may have blanks and brackets.
    let (_, rest) = text.rsplit_once(") ")?;
    let numbers = rest.split_whitespace().map(|field| field.parse().unwrap_or(0));
    Some([0, 0].into_iter().chain(numbers).collect())
}
