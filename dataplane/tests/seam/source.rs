//! What the sources say about themselves: the packet path mentions nothing that the hot-path contract forbids,
//! and modules use each other in one direction only.

use std::path::{Path, PathBuf};

/// Files of the packet path, and the functions in them that run before or beside it.
const HOT: [(&str, &[&str]); 53] = [
    ("src/worker.rs", &["new"]),
    ("src/director.rs", &["new", "for_workers"]),
    ("src/director/allowance.rs", &["new"]),
    ("src/director/flow.rs", &[]),
    ("src/director/lane.rs", &[]),
    ("src/director/persistence.rs", &[]),
    ("src/director/recount.rs", &[]),
    ("src/director/relay.rs", &[]),
    ("src/director/risk.rs", &[]),
    ("src/recorder/mod.rs", &["new"]),
    ("src/recorder/facts.rs", &[]),
    ("src/recorder/flight.rs", &["new", "since"]),
    ("src/recorder/sieve.rs", &[]),
    ("src/recorder/tap.rs", &["new", "take", "pop"]),
    ("src/answer.rs", &[]),
    ("src/parse/mod.rs", &[]),
    ("src/parse/fragment.rs", &[]),
    ("src/parse/icmp.rs", &[]),
    ("src/parse/ipv4.rs", &[]),
    ("src/parse/ipv6.rs", &[]),
    ("src/parse/plain.rs", &[]),
    ("src/parse/transport.rs", &[]),
    ("src/packet.rs", &[]),
    ("src/rewrite.rs", &[]),
    ("src/checksum.rs", &[]),
    ("src/hash.rs", &[]),
    ("src/verdict.rs", &[]),
    ("src/stats.rs", &["new"]),
    ("src/flow/mod.rs", &[]),
    ("src/flow/entry.rs", &[]),
    ("src/flow/state.rs", &[]),
    ("src/flow/timeouts.rs", &[]),
    ("src/flow/table.rs", &["new", "shadow"]),
    ("src/flow/fragments.rs", &["new", "shadow"]),
    ("src/flow/buckets.rs", &["new", "shadow"]),
    ("src/flow/pages.rs", &["new", "layout"]),
    ("src/forwarding/mod.rs", &["empty"]),
    ("src/forwarding/index.rs", &["build"]),
    ("src/forwarding/service.rs", &[]),
    ("src/forwarding/real.rs", &[]),
    ("src/schedule/mod.rs", &["build", "members", "shadow"]),
    ("src/schedule/failover.rs", &[]),
    ("src/schedule/hashing.rs", &["by_weight", "alike", "filled"]),
    ("src/schedule/least_connection.rs", &[]),
    ("src/schedule/locality.rs", &["build"]),
    ("src/schedule/maglev.rs", &["build", "new"]),
    ("src/schedule/mh.rs", &["build", "fill"]),
    ("src/schedule/round_robin.rs", &["build"]),
    ("src/schedule/siphash.rs", &[]),
    ("src/schedule/twos.rs", &["build"]),
    ("src/publish.rs", &["new", "subscribe", "publish"]),
    ("src/port/mod.rs", &[]),
    ("src/port/xsk.rs", &[]),
];

/// Also of the packet path, but for all that opens and binds.
const HOT_XSK: [(&str, &[&str]); 2] =
    [("src/xsk/socket.rs", &["open", "bind"]), ("src/xsk/umem.rs", &["new", "with_source"])];

/// Clocks, locks, logs, panics, allocations.
const FORBIDDEN: [&str; 27] = [
    "Instant",
    "SystemTime",
    "Mutex",
    "RwLock",
    "Condvar",
    "sleep",
    "println!",
    "eprintln!",
    "dbg!",
    "tracing",
    "log::",
    ".unwrap()",
    ".expect(",
    "panic!",
    "unreachable!",
    "todo!",
    "assert!",
    "assert_eq!",
    "Vec::new",
    "vec!",
    "Box::new",
    "Arc::new",
    "to_vec",
    "to_owned",
    "to_string",
    "format!",
    "String",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The code of a file: no comments, no texts in quotes, no tests.
fn code(path: &str) -> String {
    let text = read(path);
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = text.lines().map(|line| {
        let quoted = line.split('"').enumerate().filter(|(n, _)| n % 2 == 0).map(|(_, piece)| piece);
        let line: String = quoted.collect::<Vec<_>>().join("\"\"");
        line.split("//").next().unwrap_or_default().to_string()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Cuts out every function of this name, up to its closing brace.
fn without_function(code: &str, name: &str) -> String {
    let mut code = code.to_string();
    let heads = [format!("fn {name}("), format!("fn {name}<")];
    while let Some(start) = heads.iter().filter_map(|head| code.find(head)).min() {
        let mut depth = 0;
        let length = code[start..].char_indices().find_map(|(at, c)| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            (c == '}' && depth == 0).then_some(at + 1)
        });
        code.replace_range(start..start + length.expect("a function ends"), "");
    }
    code
}

/// Whether a word occurs that is not part of a longer one.
fn mentions(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at]
            .chars()
            .next_back()
            .is_some_and(|c| is_part(c) && is_part(word.chars().next().unwrap()));
        let after = line[at + word.len()..].chars().next();
        !before && !after.is_some_and(|c| is_part(c) && is_part(word.chars().next_back().unwrap()))
    })
}

#[test]
fn the_packet_path_mentions_nothing_that_its_contract_forbids() {
    for (path, setup) in HOT.iter().chain(&HOT_XSK) {
        let mut code = code(path);
        for name in *setup {
            let rest = without_function(&code, name);
            assert_ne!(rest, code, "{path} has no function {name}: take it off the list");
            code = rest;
        }
        for line in code.lines().filter(|line| !line.trim_start().starts_with("use ")) {
            for word in FORBIDDEN {
                assert!(!mentions(line, word), "{path} mentions {word}: {}", line.trim());
            }
        }
    }
}

/// The lines of the README's drawing, top down.
fn layers() -> Vec<Vec<String>> {
    let readme = read("README.md");
    let (_, section) = readme.split_once("## Module order").expect("the README has the section");
    let drawing = section.split("```").nth(1).expect("the section has a drawing");
    let lines = drawing.lines().skip(1).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let names = line.split_once("  ").expect("names, two spaces, a word about them").0;
            names.split(", ").map(String::from).collect()
        })
        .collect()
}

/// The name that the drawing has for a module: `port::xsk` stands by itself, all else by its first part.
fn drawn(module: &str, layers: &[Vec<String>]) -> String {
    let first = module.split("::").next().unwrap_or_default();
    let two = module.split("::").take(2).collect::<Vec<_>>().join("::");
    if layers.iter().flatten().any(|name| *name == two) { two } else { first.to_string() }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn modules_use_only_what_stands_below_them_in_the_drawing() {
    let layers = layers();
    let height = |name: &str| {
        let layer = layers.iter().position(|layer| layer.iter().any(|n| n == name));
        layer.unwrap_or_else(|| panic!("{name} is not in the README's drawing"))
    };
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let mut edges = 0;
    for file in files {
        let path = file.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        if path == "src/lib.rs" {
            continue;
        }
        let module = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        let user = drawn(&module.replace('/', "::"), &layers);
        for (at, _) in code(&path).match_indices("crate::") {
            let code = code(&path);
            let rest = &code[at + "crate::".len()..];
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
            let used = drawn(&rest[..end.unwrap_or(rest.len())], &layers);
            assert!(!used.is_empty(), "{path}: name the module right behind `crate::`");
            edges += 1;
            assert!(used == user || height(&used) > height(&user), "{path}: {user} uses {used}");
        }
    }
    assert!(edges > 50, "only {edges} edges were found");
}

#[test]
fn the_module_list_has_the_order_of_the_drawing() {
    let groups = code("src/lib.rs");
    let groups = groups.split("\n\n").map(|group| {
        let names = group.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
        names.map(String::from).collect::<Vec<_>>()
    });
    let listed: Vec<Vec<String>> = groups.filter(|group| !group.is_empty()).collect();
    let drawn: Vec<Vec<String>> = layers()
        .into_iter()
        .map(|mut layer| {
            layer.retain(|name| !name.contains("::"));
            layer.sort();
            layer
        })
        .collect();
    assert_eq!(listed, drawn);
}
