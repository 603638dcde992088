//! The package and its unit under a real systemd: installed, started, reloaded, crashed, hung, upgraded, removed.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use shunt_tests::machine::Machine;
use shunt_tests::{director, privilege, wait};

const UNIT: &str = "shunt.service";
const SOON: Duration = Duration::from_secs(30);
const WEB: &str = "[director]
interfaces = [\"eth0\"]
[[service]]
vip = \"192.0.2.10\"
port = 80
protocol = \"tcp\"
[[service.real]]
address = \"192.0.2.21\"
";

/// A package of the binary under test, in the machine's /tmp.
fn package(machine: &Machine, folder: &Path) {
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/debian/build.sh");
    let mut command = Command::new("sh");
    // A package of this binary, which is larger than what is shipped, is made to be installed once.
    command.env("DPKG_DEB_COMPRESSOR_TYPE", "gzip").env("DPKG_DEB_COMPRESSOR_LEVEL", "1");
    let output = command.arg(build).arg(director::binary()).arg(folder).output().expect("sh starts");
    let name = String::from_utf8(output.stdout).expect("a path");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::copy(name.trim(), machine.path("tmp/shunt.deb")).expect("there is room");
}

/// Waits until the unit runs as another process than `before`. Returns that.
#[track_caller]
fn started_anew(machine: &Machine, before: &str) -> String {
    wait::until(SOON, "another process that is ready", || {
        let pid = machine.property(UNIT, "MainPID");
        let active = machine.property(UNIT, "ActiveState") == "active";
        (active && pid != before && pid != "0").then_some(pid)
    })
}

#[test]
fn systemd_starts_reloads_restarts_upgrades_and_removes_it() {
    privilege::require_root();
    let folder = tempfile::tempdir().expect("a folder");
    let (root, built) = (folder.path().join("machine"), folder.path().join("built"));
    std::fs::create_dir(&root).expect("it is empty");
    let machine = Machine::start(&root);
    machine.run(
        "ip link add eth0 type veth peer name far && ip link set far up && ip link set eth0 up && \
         ip address add 192.0.2.2/24 dev eth0",
    );
    package(&machine, &built);

    machine.run("dpkg -i /tmp/shunt.deb");
    assert_eq!(machine.property(UNIT, "ActiveState"), "inactive", "nobody has said what to forward");
    assert_eq!(machine.property(UNIT, "UnitFileState"), "enabled");

    let config = machine.path("etc/shunt/shunt.toml");
    std::fs::write(&config, WEB).expect("there is a folder");
    machine.run("systemctl start shunt");
    let first = machine.property(UNIT, "MainPID");
    assert_eq!(machine.property(UNIT, "StatusText"), "1 service, 0 of 1 real server up");
    let shown = machine.run("shunt show services");
    assert!(shown.contains(" 80 "), "{shown}");
    assert!(machine.run("ip address show dev eth0").contains("192.0.2.10/32"));

    std::fs::write(&config, WEB.replace("port = 80", "port = 81")).expect("it is there");
    machine.run("systemctl reload shunt");
    assert!(machine.run("shunt show services").contains(" 81 "));
    std::fs::write(&config, WEB.replace("port = 80", "port = 0")).expect("it is there");
    assert!(!machine.output("systemctl reload shunt").status.success(), "the file is bad");
    assert!(machine.run("shunt show services").contains(" 81 "));
    std::fs::write(&config, WEB).expect("it is there");
    machine.run("systemctl reload shunt");
    assert_eq!(machine.property(UNIT, "MainPID"), first, "it was never another process");

    // Crashed; then hung, with a watchdog that is less patient than the unit's.
    machine.run(&format!("kill -KILL {first}"));
    let second = started_anew(&machine, &first);
    std::fs::create_dir_all(machine.path("run/systemd/system/shunt.service.d")).expect("/run has room");
    std::fs::write(
        machine.path("run/systemd/system/shunt.service.d/patience.conf"),
        "[Service]\nWatchdogSec=2\n",
    )
    .expect("/run has room");
    machine.run("systemctl daemon-reload && systemctl restart shunt");
    let third = started_anew(&machine, &second);
    machine.run(&format!("kill -STOP {third}"));
    let fourth = started_anew(&machine, &third);
    assert!(machine.run("journalctl -u shunt --no-pager").contains("Watchdog timeout"));

    machine.run("dpkg -i /tmp/shunt.deb");
    started_anew(&machine, &fourth);
    machine.run("dpkg --remove shunt");
    assert_eq!(machine.property(UNIT, "ActiveState"), "inactive");
    assert!(!machine.run("ip address show dev eth0").contains("192.0.2.10"));
    assert!(!machine.run("ip -details link show dev eth0").contains("prog/xdp"));
    assert!(config.exists(), "what the operator wrote stays until the purge");
    machine.run("dpkg --purge shunt");
    let left = machine.run("find /etc /usr/lib/systemd /lib/systemd /var/lib/systemd /run/shunt -name '*shunt*' 2>/dev/null || true");
    assert_eq!(left, "");
}
