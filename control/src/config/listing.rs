//! Configurations are copied from web pages, line numbers and all. Then every line is wrong, and one fault says why.

/// Lines that a listing has at least.
const FEWEST: usize = 3;

/// Whether every line of `text` that is not blank starts with its number: `  12. lb_kind DR`.
pub(super) fn is_numbered(text: &str) -> bool {
    let mut numbers =
        text.lines().filter(|line| !line.trim().is_empty()).map(|line| split(line).map(|(n, _)| n));
    let Some(Some(first)) = numbers.next() else { return false };
    let mut next = first;
    let in_order = numbers.all(|number| {
        next = next.saturating_add(1);
        number == Some(next)
    });
    in_order && next - first + 1 >= FEWEST as u64
}

/// A line of a listing without its number.
pub(super) fn content(line: &str) -> &str {
    split(line).map_or(line, |(_, content)| content)
}

/// What is wrong.
pub(super) const MESSAGE: &str =
    "this looks like a numbered listing pasted from a web page (every line starts with 'N.')";

/// What to do about it.
pub(super) fn help(file: &str) -> String {
    let quoted = file.replace('\'', r"'\''");
    format!(
        "strip the numbers: sed -E 's/^[[:blank:]]*[0-9]+[.:)|]?[[:blank:]]?//' '{quoted}' > stripped.conf"
    )
}

fn split(line: &str) -> Option<(u64, &str)> {
    let line = line.trim_start();
    let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number = line[..digits].parse().ok()?;
    let rest = &line[digits..];
    let content = rest.strip_prefix(['.', ':', ')', '|']).unwrap_or(rest);
    let is_apart = content.len() < rest.len() || rest.is_empty() || rest.starts_with(char::is_whitespace);
    is_apart.then(|| (number, content.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_counts_its_lines() {
        for text in [
            "  1. ; a\n  2. b {\n  3. }\n",
            "   9. a\n  10. \u{a0}\n\n  11.\n",
            "1: a\n2: b\n3: c",
            "1\ta\n2\tb\n3\tc\n",
        ] {
            assert!(is_numbered(text), "{text}");
        }
        for text in [
            "1. a\n2. b\n",
            "1. a\n2. b\nc\n",
            "1. a\n3. b\n4. c\n",
            "",
            "192.0.2.1 80\n192.0.2.2 80\n192.0.2.3 80\n",
        ] {
            assert!(!is_numbered(text), "{text}");
        }
        assert_eq!(content("  11. \u{a0}"), "");
        assert_eq!(content("  12. vip {"), "vip {");
    }

    #[test]
    fn the_command_strips_the_numbers() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("it's a.conf");
        std::fs::write(&path, "  1. global_defs {\n  2.   router_id x\n 10. }\n").unwrap();
        let help = help(path.to_str().unwrap());
        let command = help.strip_prefix("strip the numbers: ").unwrap().replace("> stripped.conf", "");
        let output = std::process::Command::new("sh").arg("-c").arg(command).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "global_defs {\n  router_id x\n}\n");
    }
}
