//! Files as their tree, written small: `a b {c d}` is a statement with a block of one.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::config::error::Faults;
use crate::config::files::Files;

/// The two files of a pair of directors that include one and the same.
const INCLUDING: &str = include_str!("../../../../tests/keepalived/group.conf");
const INCLUDED: &str = include_str!("../../../../tests/keepalived/web_servers.conf");
const SORRY: &str = include_str!("../../../../tests/keepalived/sorry.conf");

/// The tree and the faults of `main.conf` among `files`, in `/k`, on the host `lb1`.
fn read_all(files: &[(&str, &str)]) -> (Vec<Statement>, Faults) {
    let texts = files.iter().map(|(name, text)| (Path::new("/k").join(name), (*text).to_owned()));
    let texts: BTreeMap<PathBuf, String> = texts.collect();
    let source = Source::part("/k/main.conf", texts[Path::new("/k/main.conf")].clone().into_bytes()).unwrap();
    let mut report = Report::new(Arc::new(source));
    let options = Options { config_id: "lb1".to_owned(), files: Files::Memory(texts) };
    let statements = read(&mut report, &options);
    // Without a model, all that was found comes out as faults.
    (statements, report.finish(None).unwrap_err())
}

fn written(statements: &[Statement]) -> String {
    let one = |statement: &Statement| {
        let arguments = statement.arguments.iter().map(|word| word.text.clone());
        let block = statement.block.iter().map(|block| format!("{{{}}}", written(block)));
        let words = std::iter::once(statement.keyword.text.clone()).chain(arguments).chain(block);
        words.collect::<Vec<_>>().join(" ")
    };
    statements.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// The tree of files without a fault.
fn tree(files: &[(&str, &str)]) -> String {
    let (statements, faults) = read_all(files);
    assert!(faults.is_empty(), "{faults}");
    written(&statements)
}

fn tree_of(text: &str) -> String {
    tree(&[("main.conf", text)])
}

/// First lines of the faults, without their key.
fn faults(files: &[(&str, &str)]) -> Vec<String> {
    let (_, faults) = read_all(files);
    let one = |fault: &crate::config::Fault| {
        assert!(fault.help.is_some(), "{fault}");
        format!("{}:{}:{} {:?} {}", fault.file, fault.line, fault.column, fault.severity, fault.message)
    };
    faults.iter().map(one).collect()
}

fn faults_of(text: &str) -> Vec<String> {
    faults(&[("main.conf", text)])
}

#[test]
fn braces_stand_where_they_like_and_a_line_is_a_statement() {
    assert_eq!(tree_of("a 1 {\n b\n c {\n }\n}\nd\n"), "a 1 {b; c {}}; d");
    assert_eq!(tree_of("a\n\n{\nb\n}"), "a {b}");
    assert_eq!(tree_of("a{b}c"), "a {b}; c");
    assert_eq!(
        tree_of("authentication { auth_type PASS auth_pass 1111 }"),
        "authentication {auth_type PASS auth_pass 1111}"
    );
    assert_eq!(tree_of("a {b # }\n} # {"), "a {b}");
    assert_eq!(tree_of("path \"/a{b}\" x"), "path /a{b} x");
}

#[test]
fn a_statement_knows_whether_it_follows_a_brace() {
    let (statements, _) = read_all(&[("main.conf", "a { b c\n d\n}\n")]);
    let block = statements[0].block.as_ref().unwrap();
    assert_eq!(block.iter().map(|statement| statement.follows_brace).collect::<Vec<_>>(), [true, false]);
    assert!(!statements[0].follows_brace);
}

#[test]
fn the_rest_of_a_line_is_as_typed() {
    let text = "notify_up  \"/bin/x 'a\\tb'\" c # d\nmisc_path /bin/x {\n}\nquorum_up\n";
    let (statements, _) = read_all(&[("main.conf", text)]);
    let rests: Vec<_> = statements.iter().map(|statement| statement.rest.text.as_str()).collect();
    assert_eq!(rests, ["\"/bin/x 'a\\tb'\" c", "/bin/x", ""]);
    assert_eq!(script_words(&statements[0].rest).unwrap(), ["/bin/x 'a\tb'", "c"]);
    let at = &statements[0].rest.at;
    assert_eq!(&text[at.span.clone()], "\"/bin/x 'a\\tb'\" c");
    assert_eq!(statements[1].arguments[0].at.line(), 2);
}

#[test]
fn an_unclosed_block_is_told_where_it_opens() {
    let told = "/k/main.conf:2:3 Error the block of `a` is not closed: the file ends before its `}`";
    assert_eq!(faults_of("x\na {\n b {\n }\n"), [told]);
    let text = "virtual_server A 80 {\n real_server B 80 {\n  weight 1\n }\n\nvirtual_server C 80 {\n}\n";
    let told = "/k/main.conf:1:21 Error the block of `virtual_server` is not closed: \
                `virtual_server` of line 6 begins before its `}`";
    assert_eq!(faults_of(text), [told]);
}

#[test]
fn a_stray_brace_is_told_once_with_where_the_block_ended() {
    let (_, faults) = read_all(&[("main.conf", "virtual_server A 80 {\n}\n url {\n}\n}\n}\n")]);
    assert_eq!(faults.len(), 1, "{faults}");
    let fault = faults.iter().next().unwrap();
    assert_eq!((fault.line, fault.message.as_str()), (5, "`}` closes nothing: no block is open"));
    assert!(fault.help.as_ref().unwrap().contains("`virtual_server` of line 1, ended on line 2"));
    assert_eq!(faults_of("}\nx\n"), ["/k/main.conf:1:1 Error `}` closes nothing: no block is open"]);
    let nameless = "/k/main.conf:1:1 Error `{` opens a block, but no keyword before it says of what";
    assert_eq!(faults_of("{\n}\na\n"), [nameless]);
    assert_eq!(faults_of("a {\n}\n{\n}\n}\n").len(), 1);
}

#[test]
fn each_torn_block_of_the_top_level_is_told() {
    let text = "global_defs {\n}\n}\nvrrp_instance A {\nvrrp_instance B {\n}\nvirtual_server C {\n}\n}\n";
    let lines: Vec<_> = read_all(&[("main.conf", text)]).1.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [3, 4, 9]);
}

#[test]
fn a_quote_that_is_not_closed_is_an_error_of_its_line() {
    let text = "a \"b {\n c\n}\nd \"e\n";
    let (statements, _) = read_all(&[("main.conf", text)]);
    assert_eq!(written(&statements), "a b {c}; d e");
    let told = |line| format!("/k/main.conf:{line}:3 Error this quote is not closed");
    assert_eq!(faults_of(text), [told(1), told(4)]);
}

#[test]
fn blocks_are_not_endlessly_deep() {
    assert_eq!(tree_of(&("a {".repeat(32) + &"}".repeat(32))).matches('a').count(), 32);
    assert_eq!(faults_of(&"a {".repeat(1000)), ["/k/main.conf:1:99 Error too many blocks in each other"]);
}

#[test]
fn what_web_pages_and_windows_leave_is_told_once_a_file() {
    let text = "\u{feff};one\r\n\u{a0}a\u{a0}b\r\n;two\r\n\u{a0}\r\n;three\r\n";
    assert_eq!(written(&read_all(&[("main.conf", text)]).0), "a b");
    let told = faults_of(text);
    assert_eq!(told.len(), 4, "{told:#?}");
    let said = told.join("\n");
    assert!(said.contains("1:1 Warning the file begins with a byte-order mark"), "{said}");
    assert!(said.contains(
        "1:1 Warning `;` begins no comment in keepalived, which takes it for a keyword; also on lines 3, 5"
    ));
    assert!(
        said.contains(
            "2:1 Warning a blank that keepalived takes for part of a word (U+00A0); also on line 4"
        )
    );
    assert!(said.contains("1:5 Warning this line and 4 others end as lines on Windows do"), "{said}");
}

#[test]
fn a_numbered_listing_is_one_fault() {
    let text = "  1. ; a\n  2. \u{a0}\n  3. b {\n";
    let (statements, faults) = read_all(&[("main.conf", text)]);
    assert!(statements.is_empty());
    assert_eq!(faults.len(), 1, "{faults}");
    let fault = faults.iter().next().unwrap();
    assert!(fault.message.starts_with("this looks like a numbered listing pasted from a web page"));
    assert!(fault.help.as_ref().unwrap().contains("sed -E"));
}

#[test]
fn a_condition_is_about_one_line() {
    assert_eq!(
        tree_of("@lb1 a 1\n@lb2 a 2\n@^lb1 a 3\n@^lb2 a 4\n@lb1 b {\n@lb2 x {\nc\n}\n"),
        "a 1; a 4; b {c}"
    );
    assert_eq!(tree_of("a { @lb1 b\n}\nc { @lb2 d\n}\n"), "a {b}; c {}");
    assert_eq!(tree_of("@lb2 $A= \\\nx \\\ny\n@lb1 $A=1\na $A\n"), "a 1");
    let told = faults_of("@lb1\na\n");
    assert_eq!(told, ["/k/main.conf:1:1 Warning a condition has nothing after it, and does nothing"]);
}

#[test]
fn definitions_are_replaced_late_and_again() {
    let base = "$BASE=10.2.${SUB}\n$SUB=0\n${BASE}.100/32\n$SUB=10\n${BASE}.100/32\n";
    assert_eq!(tree_of(base), "10.2.0.100/32; 10.2.10.100/32");
    assert_eq!(tree_of("$IF=@lb1\n$IF a\n$NOT=@lb2\n$NOT b\n"), "a");
    assert_eq!(tree_of("$N=M\n$M=1\na ${${N}}\n"), "a 1");
    assert_eq!(tree_of("$B=x {\n$B\ny\n}\n"), "x {y}");
    assert_eq!(tree_of("$A=\"1 2\"\na $A b\n"), "a 1 2 b");
    assert_eq!(tree_of("a ${_HASH}b ${_BANG}\nc ${_PWD}/x ${_INSTANCE}\n"), "a #b !; c /k/x lb1");
    assert_eq!(tree_of("script \"echo $HOME ${HOME}\" $HOME\n"), "script echo $HOME ${HOME} $HOME");
}

#[test]
fn several_lines_are_defined_and_used_in_each_other() {
    let text = "$RS= \\\n real_server $N { \\\n  # told\n  @lb1 weight 1 \\\n  @lb2 weight 2 \\\n \\\n }\n\
                $VS= \\\nvirtual_server { \\\n $N=1 \\\n $RS \\\n $N=2 \\\n $RS \\\n}\n\n$VS\nx\n";
    let expected = "virtual_server {real_server 1 {weight 1}; real_server 2 {weight 1}}; x";
    assert_eq!(tree_of(text), expected.replace("told", ""));
    let (statements, _) = read_all(&[("main.conf", text)]);
    // What a definition of several lines says stands where it is defined, its `$NAME` where that is written.
    assert_eq!(statements[0].keyword.at.line(), 9);
    let real = &statements[0].block.as_ref().unwrap()[1];
    assert_eq!((real.keyword.at.line(), real.arguments[0].at.span.len()), (2, "$N".len()));
}

#[test]
fn an_empty_line_ends_a_definition() {
    assert_eq!(tree_of("$A= \\\n b \\\n\nc\n$A\n"), "c; b");
    assert_eq!(tree_of("$A= \\\n b \\\n"), "");
    let told = faults_of("$A= \\\n b \\\n\n c \\\n d \\\n$A\n");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("/k/main.conf:4:4 Error a backslash at the end of a line"));
}

#[test]
fn a_name_that_is_not_defined_stays_and_is_told_outside_quotes() {
    let (statements, _) = read_all(&[("main.conf", "a ${X} {\n}\n")]);
    assert_eq!(written(&statements), "a ${X} {}");
    assert_eq!(
        faults_of("a ${X} {\n}\n"),
        ["/k/main.conf:1:3 Warning ${X} is not defined, and stays as it is"]
    );
}

#[test]
fn definitions_without_end_are_an_error() {
    let growing = faults_of("$A=$A x\na $A\n");
    assert!(growing[0].contains("2:1 Error definitions are replaced 32 times here"), "{growing:?}");
    let doubling = (0..40).map(|at| format!("$A{at}=${{A{}}}${{A{}}}\n", at + 1, at + 1)).collect::<String>();
    let told = faults_of(&format!("{doubling}a ${{A0}}\n"));
    assert!(told[0].contains("the line gets longer than 16 KiB"), "{told:?}");
    let lines = faults_of("$A= \\\nx \\\n$A\n\n$A\n");
    assert!(lines[0].contains("make more than 100000 lines"), "{lines:?}");
}

#[test]
fn sequences_and_lists_repeat_the_rest_of_the_line() {
    assert_eq!(tree_of("~SEQ(N, 0, 2) ip 10.0.${N}.1\n"), "ip 10.0.0.1; ip 10.0.1.1; ip 10.0.2.1");
    assert_eq!(tree_of("$E=2\n~SEQ(N, 1, ${E}) a $N\n"), "a 1; a 2");
    assert_eq!(tree_of("~LST(A, 1, 2) ~LST(B, 5, 6) $A.${B}\n"), "$A.5; $A.6; $A.5; $A.6");
    assert_eq!(
        tree_of("~LST({A, B}, {1,2},{3,4}) ~SEQx(C,10,11) x ${A} ${B} ${C}\n"),
        "x 1 2 a; x 1 2 b; x 3 4 a; x 3 4 b"
    );
    assert_eq!(tree_of("$V= \\\nv $N { \\\n w \\\n}\n\n~SEQ(N,2) $V\nx\n"), "v 1 {w}; v 2 {w}; x");
    assert_eq!(tree_of("a { ~SEQ(N,2) b $N\n}\n"), "a {b 1; b 2}");
    assert_eq!(tree_of("$S=~SEQ(N,2) b $N\n$S\n"), "b 1; b 2");
}

#[test]
fn sequences_without_end_are_an_error() {
    let told = faults_of("~SEQ(N,1,1000000000000) a\n");
    assert!(told[0].contains("make more than 100000 lines"), "{told:?}");
    let told = faults_of("$S=~SEQ(N,2) $S\n$S\n");
    assert!(told[0].contains("more than 32 sequences in each other"), "{told:?}");
    let told = faults_of("~SEQ(N,1,0,2) a\nb\n");
    assert_eq!(
        told,
        ["/k/main.conf:1:1 Error a sequence is not as it should be: steps of 0 do not lead from 1 to 2"]
    );
}

#[test]
fn included_files_are_read_where_they_are_named() {
    let files = [
        ("main.conf", "a {\n include sub/one.conf\n}\ninclude {z,sub/t*}.conf\nb\n"),
        ("sub/one.conf", "one 1\ninclude two.conf\n"),
        ("sub/two.conf", "two ${_PWD}\n"),
        ("z.conf", "# nothing\n"),
    ];
    assert_eq!(tree(&files), "a {one 1; two /k/sub}; two /k/sub; b");
    let files = [
        ("main.conf", "$F=x.conf\n@lb1 include $F\n@lb2 include y.conf\na { include x.conf\n}\n"),
        ("x.conf", "x"),
    ];
    assert_eq!(tree(&files), "x; a {x}");
}

#[test]
fn faults_name_their_file_in_the_order_of_reading() {
    let files = [
        ("main.conf", "include b.conf\ninclude a.conf\nx \"\n"),
        ("a.conf", "\n\ny \"\n"),
        ("b.conf", "include none.conf\nz \"\n"),
    ];
    let told = faults(&files);
    let places: Vec<_> = told.iter().map(|told| told.split(" Error").next().unwrap()).collect();
    assert_eq!(places, ["/k/main.conf:3:3", "/k/b.conf:1:9", "/k/b.conf:2:3", "/k/a.conf:3:3"]);
    assert!(told[1].ends_with("/k/none.conf does not exist"), "{told:?}");
}

#[test]
fn include_check_holds_until_its_file_ends() {
    let check = "global_defs {\n include_check +wildcard_match\n}\ninclude x*\n";
    assert_eq!(faults_of(check), ["/k/main.conf:4:9 Error no file matches /k/x*"]);
    let told = faults(&[("main.conf", "include a.conf\ninclude x*\n"), ("a.conf", check)]);
    assert_eq!(
        told,
        [
            "/k/main.conf:2:9 Warning no file matches /k/x*: nothing is read",
            "/k/a.conf:4:9 Error no file matches /k/x*"
        ]
    );
    assert!(
        faults_of("global_defs {\n include_check +strict\n}\n")[0]
            .contains("2:16 Error `+strict` is no check")
    );
}

#[test]
fn files_that_include_each_other_are_an_error() {
    let told = faults(&[("main.conf", "include a.conf\n"), ("a.conf", "\ninclude main.conf\n")]);
    assert_eq!(
        told,
        ["/k/a.conf:2:9 Error /k/main.conf is included by itself, or by a file that it includes"]
    );
    let again = "include a.conf\n".repeat(1000);
    let told = faults(&[("main.conf", &again), ("a.conf", "x\n")]);
    assert!(told[0].contains("1000 files in all"), "{told:?}");
    let large = "#".repeat(1 << 20);
    let told = faults(&[("main.conf", &again), ("a.conf", &large)]);
    assert!(told[0].starts_with("/k/main.conf:16:9 Error the files are larger than 16 MiB"), "{told:?}");
}

#[test]
fn a_file_with_too_many_words_is_an_error() {
    let told = faults_of(&"a b c d\n".repeat(100_001));
    assert_eq!(told, ["/k/main.conf:100001:1 Error the configuration has more than 400000 words"]);
    assert_eq!(faults_of(&"a ".repeat(10_000)), ["/k/main.conf:1:1 Error the line is longer than 16 KiB"]);
}

#[test]
fn random_numbers_repeat_where_a_seed_is_given() {
    let text = "global_defs {\n random_seed 5\n}\na ${_RANDOM}\n";
    assert_eq!(tree_of(text), tree_of(text));
}

#[test]
fn the_shape_of_a_whole_configuration_is_kept() {
    let files = [("main.conf", INCLUDING), ("web_servers.conf", INCLUDED)];
    let tree = tree(&files);
    assert!(tree.contains("notification_email {}; router_id"), "{tree}");
    assert!(tree.contains("virtual_server group web_servers {delay_loop 3; lvs_sched wrr; "), "{tree}");
    assert!(
        tree.contains("HTTP_GET {url {path /health_check.html; status_code 200}; connect_port 80"),
        "{tree}"
    );
}

#[test]
fn a_file_cut_anywhere_is_a_tree_or_faults_with_a_place() {
    for text in [INCLUDING, INCLUDED, SORRY] {
        for end in (0..text.len()).filter(|&end| text.is_char_boundary(end)) {
            let cut = &text[..end];
            let (_, faults) = read_all(&[("main.conf", cut), ("web_servers.conf", INCLUDED)]);
            assert!(faults.iter().all(|fault| fault.line <= cut.lines().count() + 1), "{faults}");
            let is_open = cut.matches('{').count() != cut.matches('}').count();
            assert_eq!(
                faults.iter().any(|fault| fault.message.contains("is not closed")),
                is_open,
                "{cut}\n{faults}"
            );
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in r#"([{}"'\\\n\r\t $@~#!;,()=a-c1-3\u{a0}]|\$A|\$\{A\}|\n\$A=|~SEQ\(|~LST\(|\ninclude |virtual_server){0,60}"#) {
        let (_, faults) = read_all(&[("main.conf", &text), ("a", &text), ("b", "x {\n"), ("c", "}\n")]);
        for fault in &faults {
            prop_assert!(fault.line <= text.lines().count() + 1);
        }
    }

    /// Each statement points at what it was typed as, whatever is around it.
    #[test]
    fn words_without_definitions_are_where_they_are_said_to_be(lines in vec(("[a-c]{1,3}", vec("[a-c0-9.]{1,4}", 0..3), "[ \t]{0,2}(#x)?"), 0..20)) {
        let line = |(keyword, arguments, end): &(String, Vec<String>, String)| format!(" {keyword}  {}{end}\n", arguments.join("\t"));
        let text: String = lines.iter().map(line).collect();
        let (statements, _) = read_all(&[("main.conf", &text)]);
        prop_assert_eq!(statements.len(), lines.len());
        for statement in &statements {
            for word in std::iter::once(&statement.keyword).chain(&statement.arguments) {
                prop_assert_eq!(&text[word.at.span.clone()], &word.text);
            }
        }
    }
}
