//! `service.port`: one port, a range or any; and which services may share a port.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::ops::Range;

use toml::Spanned;

use super::report::Report;
use crate::config::error::quote;
use crate::config::file::IntegerOrText;
use crate::model::{Ports, Protocol, ServiceKey};

const PATH: &str = "service.port";

/// The ports of a service; `None` after an error.
pub(super) fn resolve(report: &mut Report, typed: &Spanned<IntegerOrText>) -> Option<Ports> {
    let (message, help) = match typed.get_ref() {
        IntegerOrText::Integer(number) => match u16::try_from(*number) {
            Ok(port @ 1..) => return Some(Ports::exact(port)),
            Ok(0) => {
                let help = "give a number from 1 to 65535, or write \"any\" for every port: port = \"any\"";
                ("0 is out of range".to_owned(), help.to_owned())
            }
            _ => (format!("{number} is out of range"), "give a number from 1 to 65535".to_owned()),
        },
        IntegerOrText::Text(text) => match range(text) {
            Ok(ports) => return Some(ports),
            Err((message, help)) => (format!("{} {message}", quote(text)), help),
        },
    };
    report.error(typed.span(), PATH, message, help);
    None
}

/// What `"8000-8100"` or `"any"` means; else what is wrong with it, and what to do.
fn range(text: &str) -> Result<Ports, (&'static str, String)> {
    const HELP: &str =
        "write one port as a number (port = 80), a range as \"8000-8100\", every port as \"any\"";
    if text == "any" {
        return Ok(Ports::ANY);
    }
    let digits = |text: &str| (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((first, last)) = text.split_once('-').map(|(first, last)| (first.trim(), last.trim())) else {
        return Err(match digits(text) {
            true => ("is a string", format!("write the number without quotes: port = {text}")),
            false => ("is not a range of ports", HELP.into()),
        });
    };
    if !digits(first) || !digits(last) {
        return Err(("is not a range of ports", HELP.into()));
    }
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first @ 1..), Ok(last @ 1..)) if first <= last => Ok(Ports { first, last }),
        (Ok(first @ 1..), Ok(last @ 1..)) => {
            Err(("is a range upside down", format!("the lower port comes first: \"{last}-{first}\"")))
        }
        _ => Err(("is out of range", "both ends are numbers from 1 to 65535".into())),
    }
}

/// Ranges that do not overlap, by first port: last port and place.
type Ranges = BTreeMap<u16, (u16, Range<usize>)>;

/// The ports that services of one VIP and protocol have taken so far, with where they said so. Single ports are
/// narrower than any range, and any range is narrower than "any", so only two ranges can be in each other's way.
#[derive(Default)]
pub(super) struct Taken {
    ranges: HashMap<(IpAddr, Protocol), Ranges>,
}

impl Taken {
    /// Takes the ports of a service that is not there twice.
    pub(super) fn take(&mut self, report: &mut Report, key: ServiceKey, at: &Range<usize>) {
        let Ports { first, last } = key.ports;
        if key.ports.single().is_some() || key.ports == Ports::ANY {
            return;
        }
        let ranges = self.ranges.entry((key.vip, key.protocol)).or_default();
        let Some((other_first, (other_last, other))) =
            ranges.range(..=last).next_back().filter(|(_, (other_last, _))| *other_last >= first)
        else {
            ranges.insert(first, (last, at.clone()));
            return;
        };
        let message = format!(
            "{key} overlaps {other_first}-{other_last}/{} of the same VIP on line {}",
            key.protocol,
            report.line(other)
        );
        let help = "let each port be in one range; a single port inside a range goes before it, and so does \
                    anything before \"any\"";
        report.error(at.clone(), PATH, message, help);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_two_ends_in_order() {
        let ports = |first, last| Ok(Ports { first, last });
        assert_eq!(range("any"), Ok(Ports::ANY));
        assert_eq!(range("8000-8100"), ports(8000, 8100));
        assert_eq!(range("8000 - 8100"), ports(8000, 8100));
        assert_eq!(range("80-80"), ports(80, 80));
        assert_eq!(range("1-65535"), Ok(Ports::ANY));
        let why = |text| range(text).unwrap_err().0;
        assert_eq!(why("8100-8000"), "is a range upside down");
        assert_eq!(why("80"), "is a string");
        for bad in ["0-80", "80-65536", "80-999999999"] {
            assert_eq!(why(bad), "is out of range", "{bad}");
        }
        for bad in ["", "-", "80-", "-80", "+1-2", "1-2-3", "http", "*", "9999999999-9999999999"] {
            assert_eq!(why(bad), "is not a range of ports", "{bad}");
        }
    }
}
