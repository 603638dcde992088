//! The control socket as `configs/PROTOCOL.md` has it: each of its examples is made, and who may ask what is tried by real users.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use shunt_tests::{Director, Lab, director, wait};

const SOON: Duration = Duration::from_secs(20);
const DOCUMENT: &str = include_str!("../../configs/PROTOCOL.md");
/// Stands for any text.
const ANY: &str = "...";
const SHOW: &str = r#"{"version":1,"command":"show","what":"services"}"#;

/// A request and its answer, and as which user and group it is made if not as root.
#[derive(Default)]
struct Example<'a> {
    user: Option<(u32, u32)>,
    request: &'a str,
    answer: &'a str,
}

/// What stands between fences of this language.
fn blocks(language: &str) -> impl Iterator<Item = &str> {
    let parts = DOCUMENT.split("```").skip(1).step_by(2);
    parts.filter_map(move |part| part.strip_prefix(language)?.strip_prefix('\n'))
}

fn examples() -> Vec<Example<'static>> {
    let mut examples = Vec::new();
    for block in blocks("exchange") {
        let mut example = Example::default();
        for line in block.lines() {
            if let Some(user) = line.strip_prefix("as user ") {
                let (user, group) = user.split_once(" with group ").expect("a user and a group");
                example.user = Some((user.parse().expect("a number"), group.parse().expect("a number")));
            } else if let Some(request) = line.strip_prefix("-> ") {
                example.request = request;
            } else if let Some(answer) = line.strip_prefix("<- ") {
                examples.push(Example { answer, ..example });
            } else {
                panic!("neither a request nor an answer: {line}");
            }
        }
    }
    examples
}

/// The director of the document, active and with both real servers.
fn ready(lab: &Lab) -> Director {
    let config = blocks("toml").next().expect("the document has a configuration");
    let director = Director::start(lab, 0, config);
    // Where others may go, too: the socket itself is closed to them.
    for folder in [lab.folder(), director.socket().parent().expect("it has a folder")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    wait::until(SOON, "the director to be active, with its real servers", || {
        let holds = director.show("vrrp")["routers"][0]["holds"] == true;
        (holds && director.show("services")["services"][0]["up"] == 2).then_some(())
    });
    director
}

/// The answer to a line.
fn ask(socket: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("it has one");
    writeln!(stream, "{request}").expect("it reads");
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("it answers");
    answer
}

/// Does something as somebody with these groups, the first of which is his own: on a thread, of which the kernel keeps them.
fn as_user<T: Send>(user: u32, groups: &[u32], deed: impl FnOnce() -> T + Send) -> T {
    let become_user = || {
        let others = &groups[1..];
        // SAFETY: `others` is as long as it says. The C library would change all threads; the system call changes this one.
        let result = unsafe { libc::syscall(libc::SYS_setgroups, others.len(), others.as_ptr()) };
        assert_eq!(result, 0, "the tests run as root");
        for (call, id) in [(libc::SYS_setresgid, groups[0]), (libc::SYS_setresuid, user)] {
            // SAFETY: it takes numbers only.
            assert_eq!(unsafe { libc::syscall(call, id, id, id) }, 0, "the tests run as root");
        }
    };
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            become_user();
            deed()
        });
        done.join().expect("it does not panic")
    })
}

/// The answer to a line of somebody with these groups.
fn ask_as(socket: &Path, request: &str, user: u32, groups: &[u32]) -> String {
    as_user(user, groups, || ask(socket, request))
}

/// Where `found` is otherwise than the example; none: nowhere.
fn difference(wanted: &Value, found: &Value, at: &str) -> Option<String> {
    let differs = || Some(format!("{at}: {found} instead of {wanted}"));
    match (wanted, found) {
        (Value::String(text), Value::String(_)) if text == ANY => None,
        (Value::Number(_), Value::Number(_)) => None,
        (Value::Object(wanted), Value::Object(found)) => wanted.iter().find_map(|(key, wanted)| {
            let at = format!("{at}.{key}");
            found
                .get(key)
                .map_or_else(|| Some(format!("{at} is missing")), |found| difference(wanted, found, &at))
        }),
        (Value::Array(wanted), Value::Array(found)) => wanted.iter().enumerate().find_map(|(n, wanted)| {
            let at = format!("{at}[{n}]");
            found
                .get(n)
                .map_or_else(|| Some(format!("{at} is missing")), |found| difference(wanted, found, &at))
        }),
        _ => (wanted != found).then(differs).flatten(),
    }
}

#[test]
fn every_example_of_the_document_is_answered_as_it_says() {
    let lab = Lab::builder().build();
    let director = ready(&lab);
    let examples = examples();
    assert!(examples.len() > 30, "{} examples", examples.len());
    for Example { user, request, answer } in examples {
        let found = match user {
            None => ask(director.socket(), request),
            Some((user, group)) => ask_as(director.socket(), request, user, &[group]),
        };
        let [wanted, found] = [answer, &found].map(|text| {
            serde_json::from_str::<Value>(text).unwrap_or_else(|fault| panic!("{request}: {fault}: {text}"))
        });
        let difference = difference(&wanted, &found, "answer");
        assert!(difference.is_none(), "{request}\n{}\n{found:#}", difference.unwrap_or_default());
        // Keys beside those of an answer are none.
        let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&found), keys(&wanted), "{request}");
    }
}

#[test]
fn readers_read_and_strangers_do_not() {
    const READER: u32 = 4242;
    const CONFIG: &str = r#"{"version":1,"command":"show","what":"config"}"#;
    const DRAIN: &str = r#"{"version":1,"command":"edit","edits":[{"edit":"drain","real":"192.0.2.22"}]}"#;
    let lab = Lab::builder().build();
    let mut director = ready(&lab);
    let socket: PathBuf = director.socket().to_owned();
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&socket), 0o660);
    for groups in [&[READER][..], &[1234, READER], &[1234, 27, READER, 30]] {
        let seen = ask_as(&socket, SHOW, 1234, groups);
        assert!(seen.contains("192.0.2.10:80/tcp"), "{groups:?}: {seen}");
        let told = ask_as(&socket, DRAIN, 1234, groups);
        assert!(told.contains("not-allowed") && told.contains("change nothing: run this as root"), "{told}");
    }
    assert_eq!(director.show("reals")["reals"][1]["state"], "up");

    let with_secrets = director.config().to_owned();
    let text = fs::read_to_string(&with_secrets)
        .expect("it is ours")
        .replace("vrid = 51", "vrid = 51\nversion = 2\npassword = \"sesame\"");
    director.reload(&text.replace("\"100ms\"", "\"1s\"")).expect("it is valid");
    let seen = ask_as(&socket, CONFIG, 1234, &[READER]);
    assert!(!seen.contains("sesame") && seen.contains("(hidden)"), "{seen}");
    assert!(ask(&socket, CONFIG).contains("sesame"), "root writes it back");

    // The mode keeps strangers out, and if somebody changes that, the kernel's word does.
    let why =
        as_user(1234, &[1234, 27], || UnixStream::connect(&socket)).expect_err("a stranger may not connect");
    assert_eq!(why.kind(), std::io::ErrorKind::PermissionDenied);
    let shunt = lab.file("shunt");
    fs::copy(director::binary(), &shunt).expect("there is room");
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "1234", "--regid", "1234", "--clear-groups"]).arg(&shunt);
    let output =
        command.arg("--socket").arg(&socket).args(["show", "services"]).output().expect("setpriv is there");
    assert!(String::from_utf8_lossy(&output.stderr).contains("`socket_group` of [director]"), "{output:?}");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).expect("it is ours");
    for request in [SHOW, DRAIN] {
        let told = ask_as(&socket, request, 1234, &[1234, 27]);
        assert!(told.contains("user 1234 with groups 1234, 27 may not use this socket"), "{told}");
    }
    assert_eq!(director.show("reals")["reals"][1]["state"], "up");
}

#[test]
fn readers_that_take_all_their_places_do_not_keep_root_out() {
    let lab = Lab::builder().build();
    let director = ready(&lab);
    let connect = || UnixStream::connect(director.socket()).expect("a reader may connect");
    let held: Vec<UnixStream> = as_user(1234, &[4242], || (0..200).map(|_| connect()).collect());
    assert!(ask(director.socket(), SHOW).contains("192.0.2.10:80/tcp"));
    // The first of them still has his place: root did not wait for it.
    held[0].set_nonblocking(true).expect("it is open");
    let closed = (&held[0]).read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(closed, Err(std::io::ErrorKind::WouldBlock));
}
