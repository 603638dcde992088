//! What the documents show is done: their sessions are had again, their configurations are read, their commands exist.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use shunt_tests::address::VIP;
use shunt_tests::markdown::{self, Block, agree, all, steps};
use shunt_tests::{Director, Lab, VipHolding, WebServer, director};

/// Two real servers, as the documents have them.
const WEB: &str = "
[[service]]
vip = \"192.0.2.10\"
port = 80
protocol = \"tcp\"
scheduler = \"rr\"
[[service.real]]
address = \"192.0.2.21\"
[[service.real]]
address = \"192.0.2.22\"
";
const OTHER: &str = "[[service.real]]\naddress = \"192.0.2.22\"\n";
/// A configuration that has none of what a document shows a part of.
const BARE: &str = "[director]\ninterfaces = [\"eth0\"]\n";
/// Documents whose session begins on a director that has nothing to do.
const FROM_NOTHING: [&str; 1] = ["configs/IPVSADM.md"];

fn of_kind(kind: &str) -> Vec<Block> {
    all().into_iter().filter(|block| block.kind == kind).collect()
}

/// A folder in which this shunt has all of its names.
fn names(lab: &Lab) -> PathBuf {
    let folder = lab.file("names");
    std::fs::create_dir(&folder).expect("the lab has a folder");
    for name in ["shunt", "ipvsadm", "ipvsadm-save", "ipvsadm-restore"] {
        symlink(director::binary(), folder.join(name)).expect("the folder is empty");
    }
    folder
}

fn printed(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}

#[test]
fn what_a_document_shows_is_of_a_kind_that_is_tried() {
    let mut wrong = Vec::new();
    for Block { file, line, kind, text } in all() {
        let is_session = text.lines().any(|line| line.starts_with("$ ") || line.starts_with("# shunt"));
        match kind.as_str() {
            "console" | "toml" | "json" | "sh" => {}
            // `tests/tests/protocol.rs` has all of these.
            "exchange" if file == "configs/PROTOCOL.md" => {}
            "rust,no_run" => {}
            // Of programs that are not shunt's.
            "ini" => {}
            "" | "text" if !is_session => {}
            _ => wrong.push(format!("{file}:{line}: a block of the kind {kind:?} is not tried")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn configurations_of_the_documents_are_valid() {
    let folder = tempfile::tempdir().expect("a folder for files");
    let mut wrong = Vec::new();
    for Block { file, line, text, .. } in of_kind("toml") {
        for text in alternatives(&text) {
            let path = folder.path().join("shunt.toml");
            std::fs::write(&path, whole(&text)).expect("it has room");
            let output =
                Command::new(director::binary()).arg("check").arg(&path).output().expect("it starts");
            if !output.status.success() {
                wrong.push(format!("{file}:{line}:\n{}", printed(&output)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A document shows several ways to write one key, each on a line: as many configurations of one service.
fn alternatives(text: &str) -> Vec<String> {
    let key = |line: &str| line.split_once(" = ").map(|(key, _)| key.to_owned());
    let lines: Vec<&str> = text.lines().collect();
    match lines.split_first() {
        Some((first, rest)) if !rest.is_empty() && rest.iter().all(|line| key(line) == key(first)) => lines
            .iter()
            .map(|line| WEB.replacen("[[service.real]]", &format!("{line}\n[[service.real]]"), 1))
            .collect(),
        _ => vec![text.to_owned()],
    }
}

/// What a document shows a part of, as a whole.
fn whole(text: &str) -> String {
    match text.find("[director]\n") {
        None => format!("{BARE}{text}"),
        Some(_) if text.contains("interfaces = ") => text.to_owned(),
        Some(_) => text.replacen("[director]\n", BARE, 1),
    }
}

#[test]
fn json_of_the_documents_is_json() {
    for Block { file, line, text, .. } in of_kind("json") {
        for value in serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>() {
            value.unwrap_or_else(|fault| panic!("{file}:{line}: {fault}"));
        }
    }
}

#[test]
fn sessions_of_the_documents_are_had_again() {
    let sessions = of_kind("console");
    assert!(!sessions.is_empty());
    let mut files: Vec<&str> = sessions.iter().map(|block| block.file.as_str()).collect();
    files.dedup();
    let wrong: Vec<String> = files
        .into_iter()
        .flat_map(|file| had_again(sessions.iter().filter(|block| block.file == file), file))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Has the sessions of one document again, one after the other, on one director. Returns what was otherwise.
fn had_again<'b>(sessions: impl Iterator<Item = &'b Block>, file: &str) -> Vec<String> {
    let lab = Lab::builder().build();
    let _servers = WebServer::on_all(&lab);
    let config = if FROM_NOTHING.contains(&file) { BARE.to_owned() } else { format!("{BARE}{WEB}") };
    let director = Director::start(&lab, 0, &config);
    // What `shunt doctor` finds fault with.
    director.host().sysctl(&[("ipv4.conf.eth0.rp_filter", "1")]);
    let careless = [
        ("ipv4.conf.all.arp_ignore", "0"),
        ("ipv4.conf.lo.arp_ignore", "0"),
        ("ipv4.conf.eth0.arp_ignore", "0"),
    ];
    lab.real_server(0).sysctl(&careless);
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", names(&lab).display());
    let mut wrong = Vec::new();
    for Block { line, text, .. } in sessions {
        for step in steps(text) {
            let mut command = director.host().command_with_sysfs("sh");
            command.args(["-c", &format!("exec 2>&1; {}", step.command)]).current_dir(markdown::top());
            command.env("PATH", &path).env("SHUNT_SOCKET", director.socket()).stdin(Stdio::null());
            let output = command.output().expect("a shell starts");
            let said = printed(&output);
            if !agree(&step.printed, &said.lines().collect::<Vec<_>>()) {
                wrong.push(format!("{file}:{line}: {}\n{said}", step.command));
            }
        }
    }
    wrong
}

#[test]
fn commands_for_a_real_server_make_it_take_what_is_for_the_vip() {
    let sh = of_kind("sh");
    let block = sh.iter().find(|block| block.text.contains("arp_ignore")).expect("in the README");
    let lab = Lab::builder().vip_holding(VipHolding::NotAtAll).build();
    let host = lab.real_server(0);
    host.run("sh", &["-ec", &block.text]);
    assert!(host.run("ip", &["address", "show", "dev", "lo"]).contains("192.0.2.10/32"));
    let _server = WebServer::on_all(&lab);
    let _director = Director::start(&lab, 0, &format!("{BARE}{}", WEB.replace(OTHER, "")));
    let name = lab.real_server(0).role();
    assert_eq!(lab.client(0).get(VIP).server.as_deref(), Some(name));
}
