//! A frame that was pasted: plain hex, or what `tcpdump -XX`, `tcpdump -x`, `xxd` and `hexdump -C` print, with their offsets and
//! their columns of text.

/// The hex digits of the frame.
///
/// # Errors
/// What is no hex, or that a digit is missing.
pub(super) fn digits(text: &str) -> Result<String, String> {
    let mut digits = String::new();
    // tcpdump's line about the packet, which comes before its bytes.
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let has_offsets = lines.clone().any(|line| offset(line).is_some());
    for line in lines {
        match offset(line) {
            Some(rest) => digits.push_str(&columns(rest)),
            None if has_offsets => {}
            None => digits.push_str(&plain(line)?),
        }
    }
    match digits.len() {
        0 => Err("there is no hex: paste a frame as `tcpdump -XX` prints it, or plain hex digits".into()),
        length if length % 2 == 1 => {
            Err(format!("{length} hex digits: a byte has two, so one is missing, or one is too many"))
        }
        _ => Ok(digits),
    }
}

/// What follows the offset at the beginning of a line, `0x0010:` or `00000010 `.
fn offset(line: &str) -> Option<&str> {
    let line = line.trim_start();
    if let Some((offset, rest)) = line.split_once(':') {
        let offset = offset.strip_prefix("0x").unwrap_or(offset);
        let is_offset = offset.len() >= 4 && offset.len() <= 8 && is_hex(offset);
        return is_offset.then_some(rest);
    }
    let (offset, rest) = line.split_once("  ")?;
    (offset.len() == 8 && is_hex(offset)).then_some(rest)
}

/// The hex of a line behind its offset: groups up to two spaces or a bar, where the text begins.
fn columns(rest: &str) -> String {
    let hex = rest.trim_start().split('|').next().unwrap_or_default();
    // hexdump has two spaces in the middle too: up to sixteen bytes are hex.
    let mut digits = String::new();
    for group in hex.split(' ') {
        if digits.len() >= 32 {
            break;
        }
        match group {
            "" if !rest.contains('|') && !digits.is_empty() => break,
            "" => {}
            group if is_hex(group) && group.len() <= 4 => digits.push_str(group),
            _ => break,
        }
    }
    digits
}

fn plain(line: &str) -> Result<String, String> {
    let words = line.split(|c: char| c.is_whitespace() || matches!(c, ':' | ',' | '-'));
    words
        .map(|word| {
            let word = word.strip_prefix("0x").or(word.strip_prefix("\\x")).unwrap_or(word);
            match is_hex(word) || word.is_empty() {
                true => Ok(word.to_owned()),
                false => {
                    Err(format!("{word}: no hex: digits 0-9 and a-f are expected, with spaces as you like"))
                }
            }
        })
        .collect()
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: &str = "00005e00530d00005e00530108004500003400004000";

    #[test]
    fn what_tools_print_is_read_with_offsets_and_text() {
        for text in [
            // tcpdump -XX
            "12:00:00.000000 IP 198.51.100.7.40000 > 192.0.2.10.80: Flags [S]\n\
             \t0x0000:  0000 5e00 530d 0000 5e00 5301 0800 4500  ..^.S...^.S...E.\n\
             \t0x0010:  0034 0000 4000                           .4..@.\n",
            // tcpdump -xx
            "\t0x0000:  0000 5e00 530d 0000 5e00 5301 0800 4500\n\t0x0010:  0034 0000 4000\n",
            // xxd
            "00000000: 0000 5e00 530d 0000 5e00 5301 0800 4500  ..^.S...^.S...E.\n00000010: 0034 0000 4000  .4..@.\n",
            // hexdump -C
            "00000000  00 00 5e 00 53 0d 00 00  5e 00 53 01 08 00 45 00  |..^.S...^.S...E.|\n\
             00000010  00 34 00 00 40 00                                 |.4..@.|\n",
            "00005e00530d00005e00530108004500003400004000",
            "00:00:5e:00:53:0d 00:00:5e:00:53:01\n08 00 45 00 00 34 00 00 40 00\n",
            "0x00005e00530d00005e00530108004500003400004000\n",
        ] {
            assert_eq!(digits(text).as_deref(), Ok(EXPECTED), "{text}");
        }
    }

    #[test]
    fn text_that_looks_like_hex_is_not_taken_for_bytes() {
        let text = "\t0x0000:  6162 6364  abcd\n";
        assert_eq!(digits(text).as_deref(), Ok("61626364"));
    }

    #[test]
    fn what_is_wrong_is_told() {
        assert!(digits("00005").unwrap_err().contains("5 hex digits: a byte has two"));
        assert!(digits("hello").unwrap_err().contains("hello: no hex"));
        assert!(digits(" \n").unwrap_err().contains("no hex"));
    }
}
