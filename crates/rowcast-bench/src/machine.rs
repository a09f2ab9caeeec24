//! The machine, as far as it explains the figures. It has no name.

use crate::results::Machine;
use crate::stats::rounded;

/// What `/proc` says of this machine.
pub(crate) fn describe() -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    // A build's own suffix says nothing to others.
    let kernel = kernel.trim().split('-').next().unwrap_or_default();
    Machine {
        processor: processor(&read("/proc/cpuinfo")),
        cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        memory_gib: rounded(memory(&read("/proc/meminfo")) / 1024.0 / 1024.0, 0),
        kernel: format!("Linux {kernel}"),
    }
}

fn processor(cpuinfo: &str) -> String {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(':'));
    name.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |(_, n)| n.trim().to_owned(),
    )
}

fn memory(meminfo: &str) -> f64 {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kilobytes.unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_and_memory_are_read() {
        assert_eq!(
            processor("vendor_id\t: X\nmodel name\t: Some CPU\n"),
            "Some CPU"
        );
        assert_eq!(processor(""), std::env::consts::ARCH);
        assert!((memory("MemTotal:   2048 kB\nMemFree: 1 kB\n") - 2048.0).abs() < 1e-9);
    }
}
