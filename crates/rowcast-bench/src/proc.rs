//! What Linux says about processes: CPU time and memory, read from `/proc`.
//!
//! CPU counts a process with the children it has waited for, so a dead backend is still found in
//! its postmaster's account.

use std::fs;

/// Clock ticks in a second, as `/proc` counts them: fixed at 100 for user space on Linux.
const TICKS: f64 = 100.0;

/// The account of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) parent: u32,
    /// User and system time of its own, in ticks.
    pub(crate) own: u64,
    /// The same of children that ended and were waited for.
    pub(crate) waited: u64,
}

impl Stat {
    pub(crate) fn seconds(self) -> f64 {
        (self.own + self.waited) as f64 / TICKS
    }
}

/// Reads the text of `/proc/<pid>/stat`. The program's name may hold anything, so the fields are
/// counted from its closing parenthesis.
pub(crate) fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        own: number(11)? + number(12)?,
        waited: number(13)? + number(14)?,
    })
}

/// The account of a process that lives or has not been waited for yet.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// CPU seconds of a process and all its descendants, the dead ones included where they were waited
/// for.
pub(crate) fn cpu_with_children(pid: u32) -> f64 {
    let own = stat(pid).map_or(0.0, Stat::seconds);
    own + children(pid)
        .into_iter()
        .map(cpu_with_children)
        .sum::<f64>()
}

/// The children that live now.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let read = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    read.unwrap_or_default()
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// A process with its living descendants.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    for child in children(pid) {
        family.extend(self::family(child));
    }
    family
}

/// The line `VmHWM` of `/proc/<pid>/status`: the most memory a process has had, in bytes.
pub(crate) fn parse_peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// Most memory that a living process has had, in bytes.
pub(crate) fn peak(pid: u32) -> Option<u64> {
    parse_peak(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_read_past_any_program_name() {
        let text = "42 (a) b (c)) S 7 1 1 0 -1 4194560 9 9 0 0 120 30 4 6 20 0 1 0 8 9 9";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.parent, stat.own, stat.waited), (7, 150, 10));
        assert!((stat.seconds() - 1.6).abs() < 1e-9);
        assert_eq!(parse_stat("42 (x) S 7"), None);
    }

    #[test]
    fn the_peak_is_in_bytes() {
        let status = "Name:\tx\nVmPeak:\t 9 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(parse_peak(status), Some(2_097_152));
        assert_eq!(parse_peak("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_has_an_account() {
        let pid = std::process::id();
        assert!(stat(pid).is_some() && peak(pid).unwrap() > 0);
        assert_eq!(family(pid)[0], pid);
    }
}
