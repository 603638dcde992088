//! A frame in words: the comment of a packet in a file, and a line on a terminal.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use super::packet::Decoded;
use super::protocol::Row;
use crate::explain::tuple;

/// `received verdict=drop reason=no_real service=192.0.2.10:80/tcp generation=3 worker=0`.
pub(super) fn comment(way: &str, row: &Row) -> String {
    let mut text = format!("{way} verdict={}", row.verdict);
    let mut say = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            write!(text, " {key}={value}").expect("a string takes all that is written to it");
        }
    };
    say("reason", row.reason.clone());
    say("service", row.service.clone());
    say("real", row.real.map(|real| real.to_string()));
    say("generation", Some(row.generation.to_string()));
    say("worker", Some(row.worker.to_string()));
    say("not_recorded", Some(row.not_recorded).filter(|n| *n > 0).map(|n| n.to_string()));
    text
}

/// `14:03:22.101 eth0 198.51.100.7:40000 > 192.0.2.10:80 tcp SYN, 74 bytes: forward to 192.0.2.21 by eth0, ...`, times in UTC.
pub(super) fn line(row: &Row) -> String {
    let mut text = format!("{} {} {}: {}", time(row.time_ms), row.interface, packet(row), row.verdict);
    let mut say = |words: String| text.push_str(&words);
    if let Some(reason) = &row.reason {
        say(format!(" {reason}"));
    }
    match (&row.out, row.real) {
        (Some(out), Some(real)) if row.reason.is_none() => say(format!(" to {real} by {out}")),
        (Some(out), None) if row.reason.is_none() => say(format!(" by {out}")),
        (_, Some(real)) => say(format!(", real server {real}")),
        _ => {}
    }
    if let Some(service) = &row.service {
        say(format!(", service {service}"));
    }
    say(format!(", generation {}, worker {}", row.generation, row.worker));
    match row.not_recorded {
        0 => {}
        1 => say(" (one more before it)".into()),
        n => say(format!(" ({n} more before it)")),
    }
    text
}

/// What the packet is, as it was received.
fn packet(row: &Row) -> String {
    let received = super::pcapng::bytes(if row.received.is_empty() { &row.sent } else { &row.received });
    let length = row.received_bytes.map_or_else(String::new, |bytes| format!(", {bytes} bytes"));
    let Some(packet) = Decoded::of(&received) else { return format!("not IP{length}") };
    let packet = match row.verdict.as_str() {
        "answer" if row.received.is_empty() => packet.reversed(),
        _ => packet,
    };
    let end = |address: IpAddr, port: Option<u16>| match port {
        Some(port) => SocketAddr::new(address, port).to_string(),
        None => address.to_string(),
    };
    let ports = packet.ports;
    let (src, dst) = (end(packet.src, ports.map(|p| p.0)), end(packet.dst, ports.map(|p| p.1)));
    let protocol = match packet.protocol {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmp6".to_owned(),
        132 => "sctp".to_owned(),
        number => format!("protocol {number}"),
    };
    let flags = tuple::names(packet.flags).join("|");
    let flags = if flags.is_empty() { flags } else { format!(" {flags}") };
    let vlan = packet.vlan.map_or_else(String::new, |vlan| format!("vlan {vlan} "));
    format!("{vlan}{src} > {dst} {protocol}{flags}{length}")
}

fn time(milliseconds: u64) -> String {
    let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
    format!("{:02}:{:02}:{:02}.{rest:03}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            time_ms: 86_400_000 + 50_602_101,
            worker: 1,
            interface: "eth0".into(),
            out: Some("eth1".into()),
            verdict: "forward".into(),
            reason: None,
            service: Some("192.0.2.10:80/tcp".into()),
            real: Some("192.0.2.21".parse().unwrap()),
            generation: 3,
            received_bytes: Some(54),
            received: "0200000000010200000000020800450000280000400040060000c6336407c000020a\
                       9c40005000000000000000005002ffff00000000"
                .into(),
            sent_bytes: Some(54),
            sent: String::new(),
            not_recorded: 0,
        }
    }

    #[test]
    fn a_frame_is_told_in_a_line_and_in_a_comment() {
        let forwarded = row();
        assert_eq!(
            line(&forwarded),
            "14:03:22.101 eth0 198.51.100.7:40000 > 192.0.2.10:80 tcp SYN, 54 bytes: forward to 192.0.2.21 by eth1, \
             service 192.0.2.10:80/tcp, generation 3, worker 1"
        );
        assert_eq!(
            comment("sent", &forwarded),
            "sent verdict=forward service=192.0.2.10:80/tcp real=192.0.2.21 generation=3 worker=1"
        );
        let gone =
            Row { verdict: "answer".into(), reason: Some("real_gone".into()), not_recorded: 7, ..row() };
        assert!(line(&gone).contains(
            ": answer real_gone, real server 192.0.2.21, service 192.0.2.10:80/tcp, generation 3, worker 1 (7 more before it)"
        ));
        let comment = comment("received", &gone);
        assert!(comment.starts_with("received verdict=answer reason=real_gone service="), "{comment}");
        assert!(comment.ends_with(" not_recorded=7"), "{comment}");
    }

    #[test]
    fn an_answer_of_which_nothing_else_was_kept_is_told_by_what_it_answers() {
        // A RST from the VIP, turned around again.
        let sent = "0200000000010200000000020800450000280000400040060000c000020ac6336407\
                    00509c4000000000000000005004000000000000";
        let row = Row {
            verdict: "answer".into(),
            received: String::new(),
            received_bytes: None,
            sent: sent.into(),
            ..row()
        };
        assert!(line(&row).contains("eth0 198.51.100.7:40000 > 192.0.2.10:80 tcp"), "{}", line(&row));
        let other = Row {
            received: "00".repeat(20),
            received_bytes: Some(20),
            out: None,
            real: None,
            service: None,
            verdict: "drop".into(),
            reason: Some("ether_type_unsupported".into()),
            ..row
        };
        assert!(
            line(&other).contains("eth0 not IP, 20 bytes: drop ether_type_unsupported, generation 3"),
            "{}",
            line(&other)
        );
    }
}
