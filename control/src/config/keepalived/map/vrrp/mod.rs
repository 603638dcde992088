//! VRRP: this version runs none of it, and says so once for each instance. What is typed is checked all the same, so that a
//! file that passes here is a file that means something.

mod address;
mod instance;
mod number;
mod track;

use super::super::report::Report;
use super::section::Section;
pub(super) use instance::Instance;

/// The instances of the file, in its order.
pub(super) fn read(
    report: &mut Report,
    root: &Section<'_>,
    default_interface: Option<&str>,
) -> Vec<Instance> {
    for line in &root.lines {
        number::check(report, line);
    }
    for line in root.all("static_ipaddress") {
        for statement in line.entries() {
            address::read(report, statement, line.path());
        }
    }
    let version = number::version(report, root);
    let instances: Vec<Instance> = root
        .all("vrrp_instance")
        .map(|line| instance::read(report, line, version, default_interface))
        .collect();
    instance::are_apart(report, &instances);
    track::check(report, root);
    instances
}
