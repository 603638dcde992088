//! Queues that no worker has. Workers are made at start, one for each queue that there is then, and nothing of rtnetlink tells
//! that an interface has got more (`ethtool -L`). What comes in there the XDP program drops; a veth does not even run it
//! (veth_set_channels in drivers/net/veth.c gives new queues no program), so that the kernel answers with RSTs.
//!
//! sysfs has a folder for each queue in use (net/core/net-sysfs.c), and looking there waits for no lock, as ethtool would. In a
//! container it may show another network namespace: then nothing is known, and nothing said.

use std::collections::BTreeMap;
use std::path::Path;

use super::Supervisor;

/// How many queues an interface had at the last look, by index.
pub(super) type Queues = BTreeMap<u32, usize>;

impl Supervisor {
    /// Says so if an interface receives on more queues than at the start, and if it does not any more.
    pub(super) fn observe_queues(&mut self) {
        for link in &self.survey.interfaces {
            let name = self.name_of(link.index);
            let Some(now) = count(&Path::new("/sys/class/net").join(name.as_str()), link.index) else {
                continue;
            };
            let begun = link.rx_queues as usize;
            match self.queues.insert(link.index, now).unwrap_or(begun) {
                before if before == now => {}
                _ if now > begun => tracing::error!(
                    "{name} has {now} queues now, and {begun} when shunt was started: frames on the others are lost, or answered \
                     by the kernel with a RST. Set them back with `ethtool -L {name}`, or start shunt anew"
                ),
                _ => tracing::info!("{name} has {now} queues now, all of them with a worker"),
            }
        }
    }
}

/// The queues that the interface with this folder receives on; none if it is another one than that with this index.
fn count(folder: &Path, index: u32) -> Option<usize> {
    let found: u32 = std::fs::read_to_string(folder.join("ifindex")).ok()?.trim().parse().ok()?;
    let queues = std::fs::read_dir(folder.join("queues")).ok().filter(|_| found == index)?;
    let is_of_receiver = |name: std::ffi::OsString| name.as_encoded_bytes().starts_with(b"rx-");
    let count =
        queues.filter(|queue| queue.as_ref().is_ok_and(|queue| is_of_receiver(queue.file_name()))).count();
    (count > 0).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_that_receive_are_counted_where_they_can_be_known() {
        let folder = tempfile::tempdir().unwrap();
        for queue in ["rx-0", "rx-1", "tx-0"] {
            std::fs::create_dir_all(folder.path().join("queues").join(queue)).unwrap();
        }
        std::fs::write(folder.path().join("ifindex"), "7\n").unwrap();
        assert_eq!(count(folder.path(), 7), Some(2));
        assert_eq!(count(folder.path(), 8), None, "an interface of another namespace");
    }
}
