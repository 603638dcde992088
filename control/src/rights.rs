//! The capabilities a run needs, asked for at once instead of failing at the first refusal (capabilities(7)).

use crate::error::Error;

/// Bit numbers of include/uapi/linux/capability.h, with what each is for.
const NEEDED: [(u32, &str); 3] = [
    (12, "CAP_NET_ADMIN (addresses, neighbours, attaching XDP)"),
    (13, "CAP_NET_RAW (AF_XDP sockets)"),
    (39, "CAP_BPF (loading the XDP program)"),
];

/// Checks that this process has them.
///
/// # Errors
/// Names those that are missing.
pub fn require() -> Result<(), Error> {
    match missing_here() {
        names if names.is_empty() => Ok(()),
        names => Err(Error::Rights(names.join(", "))),
    }
}

/// Those that this process has not, with what each is for.
pub fn missing_here() -> Vec<&'static str> {
    missing(&status())
}

/// Whether this process has a capability, by its bit number.
pub fn has(capability: u32) -> bool {
    effective(&status()) >> capability & 1 == 1
}

fn status() -> String {
    std::fs::read_to_string("/proc/self/status").unwrap_or_default()
}

/// Their names, as capabilities(7) has them.
pub fn needed() -> impl Iterator<Item = &'static str> {
    NEEDED.iter().map(|(_, name)| name.split_once(' ').map_or(*name, |(name, _)| name))
}

fn missing(status: &str) -> Vec<&'static str> {
    let effective = effective(status);
    NEEDED.iter().filter(|(bit, _)| effective >> bit & 1 == 0).map(|(_, name)| *name).collect()
}

fn effective(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_user_lacks_all_and_root_none() {
        assert_eq!(missing("Name:\tx\nCapEff:\t0000000000000000\n").len(), 3);
        assert_eq!(missing("CapEff:\t000001ffffffffff\n"), [""; 0]);
        assert_eq!(missing("CapEff:\t0000000000001000\n").len(), 2);
    }
}
