//! The set-ups of `tests/seeds`, with the addresses of the lab.

use std::path::PathBuf;

/// The text of a file below `tests/seeds`; each address of `map` becomes the lab's.
#[track_caller]
pub fn text(file: &str, map: &[(&str, &str)]) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("seeds").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
    // At once, so that no address is replaced that has only just come in; the longest first (10.0.0.5 is in 10.0.0.54).
    let mut map = map.to_vec();
    map.sort_by_key(|(address, _)| std::cmp::Reverse(address.len()));
    let mut mapped = String::new();
    let mut rest = text.as_str();
    while let Some(next) = rest.chars().next() {
        let hit = map.iter().find(|(address, _)| rest.starts_with(address));
        let (taken, text) = hit.map_or((next.len_utf8(), &rest[..next.len_utf8()]), |(a, to)| (a.len(), *to));
        mapped.push_str(text);
        rest = &rest[taken..];
    }
    for (address, _) in map {
        assert!(text.contains(address), "{file} has no {address}");
    }
    mapped
}

/// The text as a listing that was pasted from a web page: every line has its number in front.
pub fn numbered(text: &str) -> String {
    text.lines().enumerate().map(|(n, line)| format!("{:>4}. {line}\n", n + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_replaced_at_once_and_whole() {
        let map = [("10.0.0.5", "10.0.0.254"), ("10.0.0.254", "192.0.2.23"), ("10.0.0.3", "192.0.2.21")];
        let text = text("1-lvs-keepalived-dsr/lb1.keepalived.conf", &map);
        assert!(text.contains("virtusl_server 10.0.0.254 80 {"));
        assert!(text.contains("sorry_server 192.0.2.23 80"));
        assert!(!text.contains("10.0.0.5") && !text.contains("10.0.0.3 "));
    }

    #[test]
    fn a_listing_has_numbers() {
        assert_eq!(numbered("a\n\nb\n"), "   1. a\n   2. \n   3. b\n");
    }
}
