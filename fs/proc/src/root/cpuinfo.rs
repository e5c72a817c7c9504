//! `/proc/cpuinfo`. Linux: arch/x86/kernel/cpu/proc.c.
//!
//! The features are the host's, since guest code runs on its processors; how many there are is the kernel's choice.

use crate::procfs::Shared;
use sentry_kernel::Kernel;
use sentry_uapi::Errno;

pub(super) fn show(kernel: &Kernel, shared: &Shared, out: &mut Vec<u8>) -> Result<(), Errno> {
    format_cpuinfo(&shared.params.cpuinfo, kernel.cpus, out);
    Ok(())
}

/// Repeats the host's first entry for each processor, its numbers changed.
fn format_cpuinfo(host: &[u8], cpus: usize, out: &mut Vec<u8>) {
    let host = String::from_utf8_lossy(host);
    let first: Vec<&str> = host.lines().take_while(|l| !l.is_empty()).collect();
    for cpu in 0..cpus {
        if first.is_empty() {
            out.extend_from_slice(format!("processor\t: {cpu}\n").as_bytes());
        }
        for line in &first {
            let label = line.split(':').next().unwrap_or_default();
            let own = match label.trim_end() {
                "processor" | "core id" | "apicid" | "initial apicid" => Some(cpu),
                "physical id" => Some(0),
                "siblings" | "cpu cores" => Some(cpus),
                _ => None,
            };
            match own {
                Some(value) => out.extend_from_slice(format!("{label}: {value}\n").as_bytes()),
                None => {
                    out.extend_from_slice(line.as_bytes());
                    out.push(b'\n');
                }
            }
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_entry_for_each_processor() {
        let native = std::fs::read("/proc/cpuinfo").unwrap_or_default();
        let mut out = Vec::new();
        format_cpuinfo(&native, 3, &mut out);
        let text = String::from_utf8_lossy(&out).into_owned();
        assert_eq!(text.matches("processor\t: ").count(), 3);
        assert!(text.contains("\nsiblings\t: 3\n"));
        let labels = |t: &str| -> Vec<String> {
            let entry = t.lines().take_while(|l| !l.is_empty());
            entry.map(|l| l.split(':').next().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(labels(&text), labels(&String::from_utf8_lossy(&native)));
        assert!(text.ends_with("\n\n"));
    }
}
