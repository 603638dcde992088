//! Which cores an interface's interrupts come to, against the cores that workers keep busy.
//!
//! `Documentation/core-api/irq/irq-affinity.rst`; /proc/interrupts and `msi_irqs` of sysfs-bus-pci.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::report::Finding;

/// An interrupt of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Irq {
    pub(super) number: u32,
    /// As /proc/interrupts has it: `virtio0-input.0`.
    pub(super) name: String,
    /// Cores that it may come to.
    pub(super) cores: BTreeSet<usize>,
}

/// The interrupts of an interface; none for one of software.
pub(super) fn gather(interface: &str) -> Vec<Irq> {
    let names = names(&fs::read_to_string("/proc/interrupts").unwrap_or_default());
    let device = format!("/sys/class/net/{interface}/device");
    // A device of virtio sits on one of PCI, which has the interrupts.
    let folders = [format!("{device}/msi_irqs"), format!("{device}/../msi_irqs")];
    let listed = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    let mut numbers: BTreeSet<u32> =
        listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // Without MSI: the driver names them after the interface.
    let prefix = format!("{interface}-");
    let own = names.iter().filter(|(_, name)| *name == interface || name.starts_with(&prefix));
    numbers.extend(own.map(|(number, _)| *number));
    let irq = |number: u32| {
        let list = fs::read_to_string(format!("/proc/irq/{number}/smp_affinity_list")).ok()?;
        Some(Irq { number, name: names.get(&number)?.clone(), cores: cores(&list)? })
    };
    numbers.into_iter().filter_map(irq).filter(|irq| !irq.name.ends_with("config")).collect()
}

/// What is to be said of the interrupts of `interface`, if it has any. `workers`: their cores; `all`: the machine's.
pub(super) fn finding(interface: &str, irqs: &[Irq], workers: &[usize], all: &[usize]) -> Option<Finding> {
    let check = format!("{interface} interrupts");
    if irqs.is_empty() {
        return None;
    }
    let busy: BTreeSet<usize> = workers.iter().copied().collect();
    let free: Vec<String> = all.iter().filter(|core| !busy.contains(core)).map(usize::to_string).collect();
    let on_workers: Vec<&Irq> = irqs.iter().filter(|irq| !irq.cores.is_disjoint(&busy)).collect();
    if on_workers.is_empty() {
        return Some(Finding::ok(check, "none comes to a core of a worker"));
    }
    if free.is_empty() {
        return Some(Finding::ok(check, "every core has a worker: there is no better place for them"));
    }
    let names: Vec<&str> = on_workers.iter().map(|irq| irq.name.as_str()).collect();
    let what = format!(
        "{} may come to a core of a worker ({workers:?}), which then waits for the kernel",
        names.join(", ")
    );
    let numbers: Vec<String> = on_workers.iter().map(|irq| irq.number.to_string()).collect();
    let command = format!(
        "for irq in {}; do echo {} > /proc/irq/$irq/smp_affinity_list; done",
        numbers.join(" "),
        free.join(",")
    );
    Some(Finding::warn(check, what).run(command))
}

/// The last column of /proc/interrupts, by the first.
fn names(text: &str) -> BTreeMap<u32, String> {
    let line = |line: &str| {
        let (number, rest) = line.split_once(':')?;
        Some((number.trim().parse().ok()?, rest.split_whitespace().last()?.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// `0-3,8`.
fn cores(list: &str) -> Option<BTreeSet<usize>> {
    let mut cores = BTreeSet::new();
    for part in list.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        cores.extend(first..=last);
    }
    Some(cores)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::{Fix, Level};

    fn irq(number: u32, list: &str) -> Irq {
        Irq { number, name: format!("virtio0-input.{number}"), cores: cores(list).unwrap() }
    }

    #[test]
    fn an_interrupt_on_a_core_of_a_worker_is_moved_to_the_others() {
        let irqs = [irq(25, "0-3"), irq(26, "1"), irq(27, "3")];
        let finding = finding("eth0", &irqs, &[3, 2], &[0, 1, 2, 3]).unwrap();
        assert_eq!(finding.level, Level::Warn);
        let command = "for irq in 25 27; do echo 0,1 > /proc/irq/$irq/smp_affinity_list; done";
        assert_eq!(finding.fix, Some(Fix::Run(command.into())));
        assert!(finding.what.contains("virtio0-input.25, virtio0-input.27"), "{}", finding.what);
    }

    #[test]
    fn where_every_core_has_a_worker_there_is_nothing_to_do() {
        let busy = finding("eth0", &[irq(25, "0-1")], &[1, 0], &[0, 1]).unwrap();
        assert_eq!(busy.level, Level::Ok);
        assert_eq!(finding("eth0", &[irq(25, "0")], &[1], &[0, 1]).unwrap().level, Level::Ok);
        assert_eq!(finding("veth0", &[], &[1], &[0, 1]), None);
    }

    #[test]
    fn interrupts_are_read_as_the_kernel_writes_them() {
        let text = "           CPU0       CPU1       \n  1:          9          0   IO-APIC   1-edge      i8042\n \
                    25:       7000          0   PCI-MSIX-0000:00:03.0   1-edge      virtio0-input.0\nNMI:   0   0   Non-maskable interrupts\n";
        assert_eq!(names(text).get(&25).map(String::as_str), Some("virtio0-input.0"));
        assert_eq!(names(text).len(), 2);
        assert_eq!(cores("0-2,7\n").unwrap(), BTreeSet::from([0, 1, 2, 7]));
        assert_eq!(cores("x"), None);
    }
}
