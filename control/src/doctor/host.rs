//! What of this machine as a whole decides whether shunt runs here, and how well.
//!
//! capabilities(7), sched(7), getrlimit(2); `Documentation/admin-guide/mm/transhuge.rst`, `Documentation/networking/`
//! `ip-sysctl.rst` and `af_xdp.rst`.

use std::fs;
use std::io;

use caps::Capability;
use nix::sys::resource::{Resource, getrlimit};
use socket2::{Domain, Socket, Type};

use super::report::Finding;
use crate::vrrp::real_time;
use crate::{config, rights};

/// The XDP program has the kernel read what is not at a constant offset of a frame since this version (`bpf_xdp_load_bytes`).
const OLDEST_KERNEL: (u32, u32) = (5, 18);

/// What was asked of the machine.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// As `uname -r` says it.
    pub(super) kernel: String,
    /// Whether an AF_XDP socket could be made.
    pub(super) xdp_socket: Result<(), i32>,
    /// What `shunt run` needs and this process has not.
    pub(super) missing_rights: Vec<&'static str>,
    /// Memory that may be locked, bytes; none: no limit.
    pub(super) memlock: Option<u64>,
    /// Whether a thread could be made real-time.
    pub(super) real_time: Result<(), i32>,
    /// `/sys/kernel/mm/transparent_hugepage/enabled`: `always [madvise] never`.
    pub(super) huge_pages: Option<String>,
    /// `net.ipv4.ip_forward`, and that of IPv6.
    pub(super) forwarding: [Option<i64>; 2],
    /// Entries in the machine's table of IPv4 neighbours, and how many it takes (`gc_thresh3`).
    pub(super) neighbors: Option<(u64, u64)>,
}

/// What the configuration, or the interfaces, need of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Needs {
    /// Bytes of frames of all queues.
    pub(super) umem: u64,
    /// Real servers.
    pub(super) neighbors: u64,
}

impl Facts {
    pub(super) fn gather() -> Facts {
        let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        Facts {
            kernel: read("/proc/sys/kernel/osrelease").unwrap_or_default(),
            // Bound to nothing, it disturbs nobody.
            xdp_socket: Socket::new(Domain::from(libc::AF_XDP), Type::RAW, None).map(drop).map_err(errno),
            missing_rights: rights::missing_here(),
            memlock: memlock(),
            // In a thread of its own, which ends with it.
            real_time: std::thread::spawn(|| real_time().map_err(errno)).join().unwrap_or(Err(libc::EAGAIN)),
            huge_pages: read("/sys/kernel/mm/transparent_hugepage/enabled"),
            forwarding: [sysctl("net.ipv4.ip_forward"), sysctl("net.ipv6.conf.all.forwarding")],
            neighbors: neighbors(),
        }
    }

    pub(super) fn findings(&self, needs: Needs) -> Vec<Finding> {
        let mut findings = vec![self.kernel(), self.rights(), self.memlock(needs), self.real_time()];
        findings.extend(self.huge_pages());
        findings.extend(self.forwarding());
        findings.extend(self.neighbors(needs));
        findings
    }

    fn kernel(&self) -> Finding {
        let kernel = &self.kernel;
        let mut numbers = kernel.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if version < OLDEST_KERNEL {
            let (major, minor) = OLDEST_KERNEL;
            return Finding::fail("kernel", format!("Linux {kernel} is older than {major}.{minor}"))
                .advise("boot a newer kernel");
        }
        match self.xdp_socket {
            Ok(()) => Finding::ok("kernel", format!("Linux {kernel}, AF_XDP sockets can be made")),
            Err(libc::EPERM | libc::EACCES) => {
                Finding::unseen("kernel", &format!("whether Linux {kernel} has AF_XDP needs CAP_NET_RAW"))
            }
            Err(libc::EAFNOSUPPORT) => {
                Finding::fail("kernel", format!("Linux {kernel} is built without AF_XDP"))
                    .advise("boot a kernel with CONFIG_XDP_SOCKETS=y")
            }
            Err(number) => Finding::fail(
                "kernel",
                format!("an AF_XDP socket cannot be made: {}", io::Error::from_raw_os_error(number)),
            ),
        }
    }

    fn rights(&self) -> Finding {
        if self.missing_rights.is_empty() {
            return Finding::ok("rights", "all that shunt run needs");
        }
        let missing = self.missing_rights.join(", ");
        Finding::warn("rights", format!("this process lacks {missing}; what needs them was not looked at"))
            .run("sudo shunt doctor")
    }

    fn memlock(&self, needs: Needs) -> Finding {
        const MIB: u64 = 1 << 20;
        let need = needs.umem.div_ceil(MIB);
        match self.memlock {
            None => Finding::ok("memlock", format!("no limit; frames take {need} MiB")),
            Some(limit) if limit >= needs.umem => {
                Finding::ok("memlock", format!("{} MiB, and frames take {need} MiB", limit / MIB))
            }
            Some(limit) => {
                let what = format!("{} MiB may be locked, and frames take {need} MiB", limit / MIB);
                Finding::fail("memlock", what).run("ulimit -l unlimited")
            }
        }
    }

    fn real_time(&self) -> Finding {
        match self.real_time {
            Ok(()) => Finding::ok("real-time", "the VRRP thread gets a real-time priority"),
            Err(_) => Finding::warn(
                "real-time",
                "a thread gets no real-time priority here: adverts of virtual routers may be late under load",
            )
            .run("sysctl -w kernel.sched_rt_runtime_us=950000; ulimit -r 1"),
        }
    }

    fn huge_pages(&self) -> Option<Finding> {
        Some(match self.huge_pages.as_deref()? {
            text if text.contains("[never]") => Finding::warn(
                "huge pages",
                "switched off: each look into a large flow table misses the translation cache",
            )
            .run("echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"),
            _ => Finding::ok("huge pages", "flow tables get them"),
        })
    }

    fn forwarding(&self) -> Option<Finding> {
        let on: Vec<&str> = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"]
            .into_iter()
            .zip(self.forwarding)
            .filter_map(|(name, value)| (value? != 0).then_some(name))
            .collect();
        if on.is_empty() {
            return Some(Finding::ok("forwarding", "this host is no router"));
        }
        let what = format!(
            "this host is a router ({}): what comes for a VIP that it does not hold is sent on, or back with a redirect",
            on.join(", ")
        );
        let off: Vec<String> = on.iter().map(|name| format!("{name}=0")).collect();
        Some(Finding::warn("forwarding", what).run(format!("sysctl -w {}", off.join(" "))))
    }

    fn neighbors(&self, needs: Needs) -> Option<Finding> {
        let (entries, most) = self.neighbors?;
        let expected = entries + needs.neighbors;
        if expected < most {
            let what = format!("{entries} entries of {most} (gc_thresh3)");
            return Some(Finding::ok("neighbour table", what));
        }
        let servers = config::counted(needs.neighbors as usize, "real server");
        let what = format!(
            "{entries} entries and {servers} are too many for {most} (gc_thresh3): packets, adverts too, are lost \
             when it is full"
        );
        let enough = (expected * 2).next_power_of_two();
        Some(
            Finding::fail("neighbour table", what)
                .run(format!("sysctl -w net.ipv4.neigh.default.gc_thresh3={enough}")),
        )
    }
}

/// A kernel parameter that is a number; none: there is none of the name here.
pub(super) fn sysctl(name: &str) -> Option<i64> {
    let text = fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()?;
    text.trim().parse().ok()
}

fn errno(error: io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

fn memlock() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    (soft != libc::RLIM_INFINITY && !rights::has(Capability::CAP_IPC_LOCK)).then_some(soft)
}

/// The limits are the machine's, and shown in its first network namespace only.
fn neighbors() -> Option<(u64, u64)> {
    let most = sysctl("net.ipv4.neigh.default.gc_thresh3")?;
    let text = fs::read_to_string("/proc/net/stat/arp_cache").ok()?;
    let entries = text.lines().nth(1)?.split_whitespace().next()?;
    Some((u64::from_str_radix(entries, 16).ok()?, most.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::{Fix, Level};

    fn healthy() -> Facts {
        Facts {
            kernel: "6.18.44-generic".into(),
            xdp_socket: Ok(()),
            missing_rights: vec![],
            memlock: None,
            real_time: Ok(()),
            huge_pages: Some("always [madvise] never".into()),
            forwarding: [Some(0), None],
            neighbors: Some((10, 1024)),
        }
    }

    /// The one finding that is not ok, and its command.
    fn complaint(facts: &Facts, needs: Needs) -> (Level, String, String) {
        let mut bad = facts.findings(needs).into_iter().filter(|finding| finding.level != Level::Ok);
        let finding = bad.next().expect("a complaint");
        assert_eq!(bad.next(), None);
        let fix = match finding.fix {
            Some(Fix::Run(command)) => command,
            other => format!("{other:?}"),
        };
        (finding.level, finding.check, fix)
    }

    #[test]
    fn a_machine_as_it_should_be_is_nothing_to_complain_of() {
        let findings = healthy().findings(Needs { umem: 1 << 30, neighbors: 100 });
        assert!(findings.iter().all(|finding| finding.level == Level::Ok), "{findings:#?}");
    }

    #[test]
    fn an_old_kernel_and_one_without_af_xdp_fail() {
        let old = Facts { kernel: "4.19.0-27-amd64".into(), ..healthy() };
        assert_eq!(complaint(&old, Needs::default()).0, Level::Fail);
        let without = Facts { xdp_socket: Err(libc::EAFNOSUPPORT), ..healthy() };
        let (level, check, fix) = complaint(&without, Needs::default());
        assert_eq!((level, check.as_str()), (Level::Fail, "kernel"));
        assert!(fix.contains("CONFIG_XDP_SOCKETS"));
    }

    #[test]
    fn what_an_ordinary_user_cannot_see_is_said_and_is_no_failure() {
        let facts = Facts { xdp_socket: Err(libc::EPERM), missing_rights: vec!["CAP_NET_RAW"], ..healthy() };
        let unseen: Vec<Finding> =
            facts.findings(Needs::default()).into_iter().filter(|f| f.level != Level::Ok).collect();
        assert_eq!(unseen.len(), 2);
        assert!(unseen.iter().all(|f| f.fix == Some(Fix::Run("sudo shunt doctor".into()))), "{unseen:#?}");
        assert!(unseen[0].what.starts_with("not looked at: "));
    }

    #[test]
    fn too_little_memory_to_lock_fails_with_what_is_needed() {
        let facts = Facts { memlock: Some(8 << 20), ..healthy() };
        let (level, _, fix) = complaint(&facts, Needs { umem: 64 << 20, neighbors: 0 });
        assert_eq!((level, fix.as_str()), (Level::Fail, "ulimit -l unlimited"));
        assert!(facts.memlock(Needs { umem: 8 << 20, neighbors: 0 }).level == Level::Ok);
    }

    #[test]
    fn a_neighbour_table_that_the_real_servers_fill_fails() {
        let (level, _, fix) = complaint(&healthy(), Needs { umem: 0, neighbors: 1014 });
        assert_eq!((level, fix.as_str()), (Level::Fail, "sysctl -w net.ipv4.neigh.default.gc_thresh3=2048"));
        healthy().neighbors(Needs { umem: 0, neighbors: 1013 }).unwrap();
    }

    #[test]
    fn each_setting_that_costs_speed_or_surprises_is_a_warning_with_its_command() {
        let never = Facts { huge_pages: Some("always madvise [never]".into()), ..healthy() };
        let router = Facts { forwarding: [Some(0), Some(1)], ..healthy() };
        let late = Facts { real_time: Err(libc::EPERM), ..healthy() };
        for (facts, command) in [
            (never, "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"),
            (router, "sysctl -w net.ipv6.conf.all.forwarding=0"),
            (late, "sysctl -w kernel.sched_rt_runtime_us=950000; ulimit -r 1"),
        ] {
            let (level, _, fix) = complaint(&facts, Needs::default());
            assert_eq!((level, fix.as_str()), (Level::Warn, command));
        }
    }
}
