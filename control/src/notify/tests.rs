//! Real programs, real pipes and a real conversation with a mail server.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Instant;

use tempfile::TempDir;

use super::*;
use crate::model::{Command, Mail, MailServer, Notify, Pipe, Ports, Protocol, Scripts};

mod vrrp;

const ENOUGH: Duration = Duration::from_secs(20);

fn service(last: u8) -> ServiceKey {
    ServiceKey { vip: IpAddr::from([192, 0, 2, last]), protocol: Protocol::Tcp, ports: Ports::exact(80) }
}

fn real(last: u8, up: bool, hooks: &Hooks) -> News {
    News::Real {
        service: service(10),
        group: None,
        real: IpAddr::from([192, 0, 2, last]),
        port: 80,
        hooks: hooks.clone(),
        up,
        cause: Cause::Health("connection refused".to_owned()),
    }
}

fn quorum(vip: u8, group: Option<&str>, up: bool, hooks: &Hooks) -> News {
    News::Quorum {
        service: service(vip),
        group: group.map(str::to_owned),
        hooks: hooks.clone(),
        up,
        needed: 2,
        hysteresis: 1,
        weight: if up { 3 } else { 0 },
        cause: Cause::Health(String::new()),
    }
}

fn shell(body: &str) -> Command {
    Command { argv: ["/bin/sh", "-c", body].map(str::to_owned).to_vec(), user: None, timeout: None }
}

/// Programs that write a word each to a file.
fn hooks(up: &str, down: &str) -> Hooks {
    Hooks { up: Some(shell(up)), down: Some(shell(down)), mail: false }
}

fn mail_hooks() -> Hooks {
    Hooks { mail: true, ..Hooks::default() }
}

/// The configuration of a director without services.
fn model(notify: Notify) -> Model {
    let text = include_str!("../../../configs/minimal.toml");
    let mut model = crate::config::parse("minimal.toml", text).expect("a configuration").model;
    model.services.clear();
    model.scripts = Scripts::default();
    Model { notify, ..model }
}

fn start(notify: Notify) -> Notifier {
    Notifier::start(&model(notify))
}

fn pipe(path: &Path, reader: Option<&str>) -> Notify {
    let reader = reader.map(|body| Command {
        argv: ["/bin/sh", "-c", body, "reader"].map(str::to_owned).to_vec(),
        user: None,
        timeout: None,
    });
    Notify { pipes: vec![Pipe { path: path.to_owned(), reader }], ..Notify::default() }
}

fn mail_to(server: MailServer, port: u16) -> Notify {
    let mail = Mail {
        server,
        port,
        helo: Some("lb1.example.com".to_owned()),
        timeout: ENOUGH,
        from: Some("The director <lb1@example.com>".to_owned()),
        to: vec!["root".to_owned(), "ops@example.com".to_owned()],
        router_id: Some("LVS_1".to_owned()),
        no_faults: false,
    };
    Notify { mail: Some(mail), ..Notify::default() }
}

fn scratch() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("it");
    (directory, path)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

async fn eventually(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < ENOUGH, "it never came about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn lines_are_keepalived_s_to_the_letter() {
    let none = Hooks::default();
    assert_eq!(name::line(&real(21, false, &none)), "RS [192.0.2.21]:tcp:80 [192.0.2.10]:tcp:80 DOWN\n");
    assert_eq!(name::line(&quorum(10, None, true, &none)), "VS [192.0.2.10]:tcp:80 UP\n");
    assert_eq!(name::line(&quorum(10, Some("web"), false, &none)), "VS [web]:0 DOWN\n");
    let of_any = News::Real {
        service: ServiceKey {
            vip: "2001:db8::10".parse().expect("an address"),
            protocol: Protocol::Udp,
            ports: Ports::ANY,
        },
        group: None,
        real: "2001:db8::21".parse().expect("an address"),
        port: 0,
        hooks: none,
        up: true,
        cause: Cause::Removed,
    };
    assert_eq!(name::line(&of_any), "RS [2001:db8::21]:udp:0 [2001:db8::10]:udp:0 UP\n");
}

#[tokio::test]
async fn a_subject_is_told_in_order_and_another_does_not_wait() {
    let (_directory, path) = scratch();
    let gate = path.with_extension("gate");
    let say = |word: &str| format!("echo {word} >> {}", path.display());
    let slow = hooks(
        &format!("until test -e {}; do sleep 0.01; done; {}", gate.display(), say("up21")),
        &say("down21"),
    );
    let fast = hooks(&say("up22"), &say("down22"));
    let notifier = start(Notify::default());
    notifier.tell(real(21, true, &slow));
    notifier.tell(real(21, false, &slow));
    notifier.tell(real(22, true, &fast));
    eventually(|| text(&path) == "up22\n").await;
    fs::write(&gate, "").expect("it can be written");
    eventually(|| text(&path) == "up22\nup21\ndown21\n").await;
    eventually(|| notifier.scripts.subjects() == 0).await;
    notifier.tell(real(21, false, &slow));
    eventually(|| text(&path).ends_with("down21\ndown21\n")).await;
    notifier.finish(ENOUGH).await;
}

#[tokio::test]
async fn behind_a_slow_script_only_the_last_state_is_told() {
    for last in [true, false] {
        let (_directory, path) = scratch();
        let gate = path.with_extension("gate");
        let say = |word: &str| format!("echo {word} >> {}", path.display());
        let waits = format!("until test -e {}; do sleep 0.01; done; {}", gate.display(), say("up"));
        let hooks = hooks(&waits, &say("down"));
        let notifier = start(Notify::default());
        notifier.tell(real(21, true, &hooks));
        for _ in 0..1000 {
            notifier.tell(real(21, false, &hooks));
            notifier.tell(real(21, true, &hooks));
        }
        if !last {
            notifier.tell(real(21, false, &hooks));
        }
        assert_eq!(notifier.scripts.subjects(), 1);
        fs::write(&gate, "").expect("it can be written");
        notifier.finish(ENOUGH).await;
        assert_eq!(text(&path), if last { "up\n" } else { "up\ndown\n" });
    }
}

#[tokio::test]
async fn at_the_end_what_hangs_is_killed_and_what_ends_in_time_is_not() {
    let (_directory, path) = scratch();
    let pid = path.with_extension("pid");
    let notifier = start(Notify::default());
    let hangs = hooks(&format!("echo $$ > {0}.new; mv {0}.new {0}; sleep 64", pid.display()), "");
    notifier.tell(real(21, true, &hangs));
    notifier.tell(real(22, true, &hooks(&format!("sleep 0.2; echo done > {}", path.display()), "")));
    eventually(|| pid.exists()).await;
    let hanging = format!("/proc/{}", text(&pid).trim());
    assert!(Path::new(&hanging).exists());
    notifier.finish(Duration::from_secs(2)).await;
    assert_eq!(text(&path), "done\n");
    eventually(|| !Path::new(&hanging).exists()).await;
}

#[tokio::test]
async fn a_script_has_its_own_time_limit() {
    let (_directory, path) = scratch();
    let mut hooks = hooks("sleep 65", &format!("echo down > {}", path.display()));
    hooks.up.as_mut().expect("a script").timeout = Some(Duration::from_millis(100));
    let notifier = start(Notify::default());
    notifier.tell(real(21, true, &hooks));
    notifier.tell(real(21, false, &hooks));
    eventually(|| text(&path) == "down\n").await;
    notifier.finish(ENOUGH).await;
}

#[tokio::test]
async fn the_entries_of_a_group_are_told_of_once() {
    let (_directory, path) = scratch();
    let notifier = start(pipe(&path, None));
    let mut reader = reader_of(&path);
    let none = Hooks::default();
    for up in [false, true, false] {
        for entry in [10, 11, 12] {
            notifier.tell(quorum(entry, Some("web"), up, &none));
        }
    }
    // Another service is another matter, and so is an entry that says it again.
    notifier.tell(quorum(10, None, false, &none));
    notifier.tell(quorum(11, None, false, &none));
    notifier.tell(quorum(10, Some("web"), false, &none));
    let mut lines = [0; 4096];
    let length = reader.read(&mut lines).expect("lines");
    assert_eq!(
        String::from_utf8_lossy(&lines[..length]),
        "VS [web]:0 DOWN\nVS [web]:0 UP\nVS [web]:0 DOWN\nVS [192.0.2.10]:tcp:80 DOWN\n\
         VS [192.0.2.11]:tcp:80 DOWN\nVS [web]:0 DOWN\n"
    );
    notifier.finish(ENOUGH).await;
}

/// Opens a pipe as a program would that reads what there is.
fn reader_of(path: &Path) -> fs::File {
    fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).expect("a pipe")
}

#[tokio::test]
async fn a_pipe_nobody_reads_fills_up_and_lines_after_that_are_lost_whole() {
    let (_directory, path) = scratch();
    let notifier = start(pipe(&path, None));
    assert_eq!(fs::symlink_metadata(&path).expect("it was made").permissions().mode() & 0o133, 0);
    for number in 0..100_000_u32 {
        notifier.tell(real(21, number % 2 == 0, &Hooks::default()));
    }
    let mut reader = reader_of(&path);
    let mut kept = vec![0; 1 << 20];
    let length = reader.read(&mut kept).expect("lines");
    let lines = String::from_utf8(kept[..length].to_vec()).expect("text");
    assert!(lines.len() > 60_000 && lines.ends_with('\n'), "{} bytes", lines.len());
    for line in lines.lines() {
        assert!(line.starts_with("RS [192.0.2.21]:tcp:80 [192.0.2.10]:tcp:80 "), "{line}");
    }
    assert_eq!(notifier.pipes.lost(), 100_000 - lines.lines().count() as u64);
    // There is room again.
    notifier.tell(real(22, true, &Hooks::default()));
    let length = reader.read(&mut kept).expect("a line");
    assert_eq!(&kept[..length], b"RS [192.0.2.22]:tcp:80 [192.0.2.10]:tcp:80 UP\n");
    assert_eq!(notifier.pipes.lost(), 0);
    notifier.finish(ENOUGH).await;
    assert!(!path.exists());
}

#[tokio::test]
async fn what_is_no_pipe_is_not_written_to_and_a_pipe_that_was_there_stays() {
    let (_directory, path) = scratch();
    fs::write(&path, "precious").expect("it can be written");
    let link = path.with_extension("link");
    symlink(&path, &link).expect("a link");
    for wrong in [&path, &link, &PathBuf::from("/no/such/directory/pipe")] {
        let notifier = start(pipe(wrong, None));
        notifier.tell(real(21, true, &Hooks::default()));
        notifier.finish(ENOUGH).await;
    }
    assert_eq!(text(&path), "precious");
    let found = path.with_extension("found");
    nix::unistd::mkfifo(&found, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let notifier = start(pipe(&found, None));
    notifier.tell(real(21, true, &Hooks::default()));
    let mut lines = [0; 100];
    assert!(reader_of(&found).read(&mut lines).expect("a line") > 0);
    notifier.finish(ENOUGH).await;
    assert!(found.exists());
    std::os::unix::fs::chown(&found, Some(1), None).expect("we are root");
    let notifier = start(pipe(&found, None));
    assert_eq!(notifier.pipes.count(), 0, "it is somebody else's");
    notifier.finish(ENOUGH).await;
}

#[tokio::test]
async fn the_reader_gets_the_path_reads_every_line_and_ends_with_the_pipe() {
    let (_directory, path) = scratch();
    let copy = path.with_extension("copy");
    let body =
        format!("while read line; do echo \"$line\" >> {0}; done < $1; echo end >> {0}", copy.display());
    let notifier = start(pipe(&path, Some(&body)));
    for last in 21..121 {
        notifier.tell(real(last, false, &Hooks::default()));
    }
    notifier.finish(ENOUGH).await;
    let lines = text(&copy);
    assert_eq!(lines.lines().count(), 101, "{lines}");
    assert!(lines.starts_with("RS [192.0.2.21]:tcp:80 [192.0.2.10]:tcp:80 DOWN\n"));
    assert!(lines.ends_with("RS [192.0.2.120]:tcp:80 [192.0.2.10]:tcp:80 DOWN\nend\n"));
    assert!(!path.exists());
}

#[tokio::test]
async fn a_reader_that_does_not_end_is_ended() {
    let (_directory, path) = scratch();
    let pid = path.with_extension("pid");
    let body = format!(
        "echo $$ > {0}.new; mv {0}.new {0}; exec 3<>$1; while read line <&3; do :; done",
        pid.display()
    );
    let notifier = start(pipe(&path, Some(&body)));
    eventually(|| pid.exists()).await;
    notifier.finish(ENOUGH).await;
    let reader = format!("/proc/{}", text(&pid).trim());
    eventually(|| !Path::new(&reader).exists()).await;
}

#[tokio::test]
async fn a_new_configuration_keeps_the_pipes_it_has_too() {
    let (directory, kept) = scratch();
    let (gone, new) = (directory.path().join("gone"), directory.path().join("new"));
    let notify = |paths: [&PathBuf; 2]| Notify {
        pipes: paths.into_iter().map(|path| Pipe { path: path.clone(), reader: None }).collect(),
        ..Notify::default()
    };
    let mut notifier = start(notify([&kept, &gone]));
    let mut reader = reader_of(&kept);
    notifier.set(&model(notify([&kept, &new])));
    assert!(!gone.exists() && new.exists());
    notifier.tell(real(21, true, &Hooks::default()));
    assert!(reader.read(&mut [0; 100]).expect("the same pipe") > 0);
    notifier.finish(ENOUGH).await;
    assert!(!kept.exists() && !new.exists());
}

/// A mail server on loopback that takes `mails` conversations; what it was told, line by line.
fn mail_server(mails: usize) -> (u16, JoinHandle<Vec<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("bound").port();
    let server = std::thread::spawn(move || {
        (0..mails).map(|_| converse(listener.accept().expect("a client").0)).collect()
    });
    (port, server)
}

fn converse(stream: TcpStream) -> Vec<String> {
    let mut answer = stream.try_clone().expect("a descriptor");
    let mut say =
        |line: &str| answer.write_all(format!("{line}\r\n").as_bytes()).expect("the client is there");
    say("220 mail.example.com ESMTP");
    let (mut said, mut in_data) = (Vec::new(), false);
    for line in BufReader::new(stream).lines() {
        let line = line.expect("a line");
        match line.as_str() {
            "." if in_data => {
                in_data = false;
                say("250 queued");
            }
            _ if in_data => {}
            "DATA" => {
                in_data = true;
                say("354 go on");
            }
            "QUIT" => {
                say("221 bye");
                return said;
            }
            _ => say("250 fine"),
        }
        said.push(line);
    }
    said
}

fn has(mail: &[String], line: &str) -> bool {
    mail.iter().any(|said| said == line)
}

#[tokio::test]
async fn mail_says_what_keepalived_s_says() {
    let (port, server) = mail_server(4);
    let notifier = start(mail_to(MailServer::Name("localhost".to_owned()), port));
    notifier.tell(real(21, false, &mail_hooks()));
    notifier.tell(real(21, true, &Hooks::default()));
    notifier.tell(real(21, true, &mail_hooks()));
    notifier.tell(quorum(10, None, false, &mail_hooks()));
    notifier.tell(quorum(10, Some("web"), true, &mail_hooks()));
    notifier.finish(ENOUGH).await;
    let mails = server.join().expect("the server works");
    let down = &mails[0];
    assert_eq!(down[0], "EHLO lb1.example.com");
    assert!(has(down, "MAIL FROM:<lb1@example.com>"), "{down:?}");
    assert!(
        has(down, "RCPT TO:<ops@example.com>") && down.iter().any(|line| line.starts_with("RCPT TO:<root@"))
    );
    assert!(has(down, "From: \"The director\" <lb1@example.com>"), "{down:?}");
    assert!(has(down, "=> CHECK failed on service : connection refused <="), "{down:?}");
    // Long subjects are folded (RFC 5322, 2.2.3).
    let subject = |mail: &[String]| {
        let first = mail.iter().position(|line| line.starts_with("Subject: ")).expect("a subject");
        let more = mail[first + 1..].iter().take_while(|line| line.starts_with(' '));
        format!("{}{}", mail[first], more.cloned().collect::<String>())
    };
    assert_eq!(
        subject(down),
        "Subject: [LVS_1] Realserver [192.0.2.21]:tcp:80 of virtual server [192.0.2.10]:tcp:80 - DOWN"
    );
    assert!(has(&mails[1], "=> CHECK succeed on service <="));
    assert_eq!(subject(&mails[2]), "Subject: [LVS_1] Virtualserver [192.0.2.10]:tcp:80 - DOWN");
    assert!(has(&mails[2], "=> Lost quorum 2-1=1 > 0 <="));
    assert_eq!(subject(&mails[3]), "Subject: [LVS_1] Virtualserver [web]:0 - UP");
    assert!(has(&mails[3], "=> Gained quorum 2+1=3 <= 3 <="));
}

#[tokio::test]
async fn a_mail_server_that_never_answers_delays_nothing_and_the_queue_stays_small() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = silent.local_addr().expect("bound").port();
    let (_directory, path) = scratch();
    let notifier = start(mail_to(MailServer::Address(IpAddr::from([127, 0, 0, 1])), port));
    let mut hooks = hooks(&format!("echo up > {}", path.display()), "");
    hooks.mail = true;
    for number in 0..50_000_u32 {
        notifier.tell(real(21, number % 2 == 0, &mail_hooks()));
    }
    notifier.tell(real(22, true, &hooks));
    eventually(|| text(&path) == "up\n").await;
    assert!(notifier.mail.waiting() <= 256);
    let end = Instant::now();
    notifier.finish(Duration::from_millis(300)).await;
    assert!(end.elapsed() < ENOUGH, "it does not wait for the server");
}

#[tokio::test]
async fn after_a_server_without_answer_or_without_address_mail_goes_on() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let mut mute = mail_to(
        MailServer::Address(IpAddr::from([127, 0, 0, 1])),
        silent.local_addr().expect("bound").port(),
    );
    mute.mail.as_mut().expect("mail").timeout = Duration::from_millis(100);
    let mut notifier = start(mute);
    notifier.tell(real(21, false, &mail_hooks()));
    eventually(|| notifier.mail.waiting() == 0).await;
    notifier.set(&model(mail_to(MailServer::Name("mail.invalid".to_owned()), 25)));
    notifier.tell(real(22, false, &mail_hooks()));
    eventually(|| notifier.mail.waiting() == 0).await;
    let (port, server) = mail_server(1);
    notifier.set(&model(mail_to(MailServer::Address(IpAddr::from([127, 0, 0, 1])), port)));
    notifier.tell(real(23, false, &mail_hooks()));
    notifier.finish(ENOUGH).await;
    let mails = server.join().expect("the server works");
    assert!(mails[0].concat().contains("192.0.2.23"), "{mails:?}");
}
