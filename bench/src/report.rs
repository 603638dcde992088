//! Results as CSV: `group,row,parameter,value,unit`, with what they are of at the top: machine, kernel, versions, day. A figure
//! without these is worth nothing, so no program here writes its own.
//!
//! *Invariant*: what is written names neither a host nor a path of this machine.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::wire::statistics::Spread;

/// The columns.
const HEADER: &str = "group,row,parameter,value,unit";

/// Rows in the making.
#[derive(Debug, Clone, Default)]
pub struct Report(String);

impl Report {
    /// A report that begins with what is known of this machine.
    pub fn of_this_machine() -> Report {
        let mut report = Report(format!("{HEADER}\n"));
        for (row, value) in machine() {
            report.word("machine", row, "", &value);
        }
        report
    }

    /// A figure.
    pub fn figure(&mut self, group: &str, row: &str, parameter: &str, value: f64, unit: &str) {
        let value = if value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.4}") };
        self.line([group, row, parameter, &value, unit]);
    }

    /// A figure with its spread: three rows.
    pub fn spread(&mut self, group: &str, row: &str, parameter: &str, spread: Spread, unit: &str) {
        for (name, value) in [("median", spread.median), ("low", spread.low), ("high", spread.high)] {
            self.figure(group, row, &format!("{parameter} {name}"), value, unit);
        }
    }

    /// Something that is no figure.
    pub fn word(&mut self, group: &str, row: &str, parameter: &str, value: &str) {
        self.line([group, row, parameter, value, ""]);
    }

    fn line(&mut self, columns: [&str; 5]) {
        // What has a comma would need quotes: it gets a semicolon.
        let columns = columns.map(|column| column.replace(',', ";").replace('\n', " "));
        writeln!(self.0, "{}", columns.join(",")).expect("writing to a string");
    }

    /// What it says, to be read by [`parse`].
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Writes it as `name` into the folder of results; returns where.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn write(&self, name: &str) -> io::Result<PathBuf> {
        let path = results().join(name);
        std::fs::create_dir_all(results())?;
        std::fs::write(&path, &self.0)?;
        Ok(path)
    }
}

/// A row of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What was measured.
    pub group: String,
    /// Of whom.
    pub row: String,
    /// Under which circumstances.
    pub parameter: String,
    /// The figure, or a word.
    pub value: String,
    /// What it counts.
    pub unit: String,
}

/// Reads a report.
///
/// # Errors
/// The file cannot be read, or a line has not five columns.
pub fn read(path: &Path) -> io::Result<Vec<Row>> {
    parse(&std::fs::read_to_string(path)?)
        .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}

/// The rows of a report's text.
///
/// # Errors
/// A line has not five columns.
pub fn parse(text: &str) -> io::Result<Vec<Row>> {
    let rows = text.lines().filter(|line| !line.is_empty() && *line != HEADER).map(|line| {
        let columns: Vec<String> = line.split(',').map(str::to_owned).collect();
        let [group, row, parameter, value, unit] = <[String; 5]>::try_from(columns)
            .map_err(|_| io::Error::other(format!("not five columns: {line}")))?;
        Ok(Row { group, row, parameter, value, unit })
    });
    rows.collect()
}

/// The folder of results.
pub fn results() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results")
}

/// What a figure cannot be read without.
fn machine() -> Vec<(&'static str, String)> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let of_cpu = |key: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let virtual_machine =
        cpuinfo.lines().any(|line| line.starts_with("flags") && line.contains(" hypervisor"));
    vec![
        ("processor", of_cpu("model name")),
        ("cores", std::thread::available_parallelism().map_or(0, usize::from).to_string()),
        ("last cache", last_cache()),
        ("virtual", if virtual_machine { "yes" } else { "no" }.to_owned()),
        (
            "kernel",
            std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        ),
        ("rustc", first_line("rustc", &["--version"])),
        ("profile", profile()),
        ("dpdk", first_line("dpkg-query", &["-W", "-f", "${Version}", "dpdk"])),
        ("nftables", first_line("nft", &["--version"])),
        ("valgrind", first_line("valgrind", &["--version"])),
        ("date", first_line("date", &["-u", "+%Y-%m-%d"])),
        ("commit", first_line("git", &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"])),
    ]
}

/// What the build was told beside Cargo.toml: a build without LTO has over twice the instructions a frame.
fn profile() -> String {
    let [lto, units] =
        [option_env!("CARGO_PROFILE_RELEASE_LTO"), option_env!("CARGO_PROFILE_RELEASE_CODEGEN_UNITS")];
    match (cfg!(debug_assertions), lto, units) {
        (true, ..) => "with debug assertions: no figure of it counts".to_owned(),
        (false, None, None) => "release".to_owned(),
        (false, lto, units) => {
            let told = |word: Option<&str>| word.unwrap_or("as usual").to_owned();
            format!("release; but LTO {} and codegen units {}", told(lto), told(units))
        }
    }
}

/// The size of the last cache, as the kernel writes it: a table that fits into it is another table than one that does not.
pub fn last_cache() -> String {
    let of =
        |n: usize| std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{n}/size")).ok();
    (0..8).rev().find_map(of).map_or("unknown".to_owned(), |size| size.trim().to_owned())
}

/// The first line of what a program says of itself; none if it is not there.
fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.ok().filter(|output| output.status.success());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("none").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut report = Report(format!("{HEADER}\n"));
        report.figure("g", "r", "p", 1234.5, "frames/s");
        report.word("g", "a, b", "", "x");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &report.0).unwrap();
        let rows = read(file.path()).unwrap();
        assert_eq!((rows[0].value.as_str(), rows[0].unit.as_str()), ("1234", "frames/s"));
        assert_eq!(rows[1].row, "a; b");
        std::fs::write(file.path(), "g,r,p\n").unwrap();
        assert!(read(file.path()).unwrap_err().to_string().contains("not five columns"));
    }
}
