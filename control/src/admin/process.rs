//! What the kernel says of this process, under the names that every program monitored by Prometheus uses (`process_*`).
//!
//! proc(5): `/proc/self/stat`, `/proc/self/fd`. Both are made from memory as they are read: no device is waited for.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Resource, getrlimit};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};
use serde_json::{Value, json};

/// What it uses now; null where /proc is not mounted or says something else.
pub fn shown() -> Value {
    let Some(stat) = std::fs::read_to_string("/proc/self/stat").ok().and_then(|text| Stat::parse(&text))
    else {
        return Value::Null;
    };
    let unit = |name| sysconf(name).ok().flatten().and_then(|value| u64::try_from(value).ok());
    let ticks = unit(SysconfVar::CLK_TCK).unwrap_or(100);
    let seconds = |value: u64| value as f64 / ticks as f64;
    json!({
        "cpu_seconds": seconds(stat.cpu_ticks),
        "start_time_seconds": start_time(seconds(stat.start_ticks)),
        "virtual_memory_bytes": stat.virtual_bytes,
        "resident_memory_bytes": stat.resident_pages * unit(SysconfVar::PAGE_SIZE).unwrap_or(4096),
        "threads": stat.threads,
        // One less: the folder itself is open.
        "open_fds": std::fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count().saturating_sub(1)),
        "max_fds": getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
    })
}

/// Seconds since 1970, of a process that was started this long after the machine. Worked out once: it shall not move when
/// somebody sets the clock.
fn start_time(since_boot: f64) -> Option<f64> {
    static START: OnceLock<Option<f64>> = OnceLock::new();
    *START.get_or_init(|| {
        let up = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        Some(now.as_secs_f64() - (up.as_secs_f64() - since_boot))
    })
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Stat> {
        // The second field, the name, may hold blanks and brackets; what follows the last bracket begins with the third.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Stat {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_moves_no_field() {
        let text = "1 (a) b) S 0 1 1 0 -1 4194560 9 8 7 6 120 30 5 4 20 0 11 0 777 4096000 250 18446744073709551615 1\n";
        let stat = Stat {
            cpu_ticks: 150,
            threads: 11,
            start_ticks: 777,
            virtual_bytes: 4_096_000,
            resident_pages: 250,
        };
        assert_eq!(Stat::parse(text), Some(stat));
        assert_eq!(Stat::parse("1 (a) S 0"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn this_process_was_started_before_now_and_has_files_open() {
        let shown = shown();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let start = shown["start_time_seconds"].as_f64().unwrap();
        assert!(start <= now + 1.0 && start > now - 86_400.0, "{shown}");
        let before = shown["open_fds"].as_u64().unwrap();
        let _file = std::fs::File::open("/proc/self/stat").unwrap();
        assert!(before >= 3 && shown["max_fds"].as_u64().unwrap() >= before, "{shown}");
        assert!(shown["resident_memory_bytes"].as_u64() > Some(0), "{shown}");
    }
}
