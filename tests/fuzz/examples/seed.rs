//! Writes what the fuzzers begin with, a folder for each target, into the folder that is the argument.

#[path = "../../../dataplane/tests/seam/craft.rs"]
#[allow(dead_code, reason = "the tests of the dataplane need more of it")]
mod craft;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, Endianness, TsResolution};

use craft::{
    ACK, AUTHENTICATION, Craft, DESTINATION, FIN, HOP_BY_HOP, ROUTING, RST, SYN, authentication_header,
    fragments, icmp_error, options_header, routing_header,
};

fn main() -> Result<(), Box<dyn Error>> {
    let out = std::env::args().nth(1).ok_or("usage: seed FOLDER")?;
    let out = Path::new(&out);
    let golden = golden(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../dataplane/tests/golden")))?;
    write(&out.join("pcap"), captures(&well_formed()))?;
    write(&out.join("frame"), frames(&golden, &well_formed()))?;
    write(&out.join("fragments"), datagrams())?;
    write(&out.join("answers"), answers())?;
    Ok(())
}

fn write(folder: &Path, inputs: Vec<Vec<u8>>) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    for (n, input) in inputs.iter().enumerate() {
        fs::write(folder.join(format!("seed-{n:03}")), input)?;
    }
    Ok(())
}

/// The frames of the golden cases.
fn golden(folder: &Path) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut frames = Vec::new();
    let mut cases =
        fs::read_dir(folder)?.map(|case| case.map(|case| case.path())).collect::<Result<Vec<_>, _>>()?;
    cases.sort();
    for case in cases {
        let text = fs::read_to_string(case)?;
        let (mut frame, mut is_frame) = (Vec::new(), false);
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            if !line.starts_with(' ') {
                is_frame = line.starts_with("in:");
            } else if is_frame {
                let digits: Vec<u8> = line.bytes().filter(u8::is_ascii_hexdigit).collect();
                for pair in digits.chunks(2) {
                    frame.push(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?);
                }
            }
        }
        frames.push(frame);
    }
    Ok(frames)
}

/// One frame of every kind.
fn well_formed() -> Vec<Vec<u8>> {
    let (low, high) = ((0x8100, 0x2064), (0x88a8, 0xf123));
    let mut frames = Vec::new();
    for v6 in [false, true] {
        let family = |craft: Craft| if v6 { craft.v6() } else { craft };
        for flags in [SYN, ACK, FIN | ACK, RST, 0] {
            frames.push(family(Craft::tcp(1, flags)));
        }
        frames.push(family(Craft::udp(2)));
        frames.push(family(Craft::sctp(3)));
        frames.push(family(Craft { ttl: 1, ..Craft::udp(2) }));
        frames.push(family(Craft { payload: vec![7; 700], ..Craft::tcp(2, ACK) }));
        frames.push(family(Craft::udp(4)).tagged(&[low]));
        frames.push(family(Craft::tcp(4, SYN)).tagged(&[high, low]));
    }
    frames.push(Craft { options: vec![7, 7, 4, 0, 0, 0, 0, 0], ..Craft::udp(5) });
    frames.push(Craft::udp(6).v6().extended(HOP_BY_HOP, &options_header(1)));
    frames.push(Craft::udp(6).v6().extended(DESTINATION, &options_header(2)));
    frames.push(Craft::tcp(6, SYN).v6().extended(ROUTING, &routing_header(2, 0)));
    frames.push(Craft::udp(6).v6().extended(AUTHENTICATION, &authentication_header(3)));
    let mut frames: Vec<Vec<u8>> = frames.iter().map(Craft::bytes).collect();
    for craft in [Craft::udp(7), Craft::udp(8).v6(), Craft::sctp(7)] {
        let craft = Craft { payload: vec![3; 48], ..craft };
        frames.extend(fragments(&craft.bytes(), 24, 0x1234, 0));
    }
    for craft in [Craft::udp(2), Craft::tcp(1, ACK)] {
        frames.push(icmp_error(3, 4, 1400, &craft.clone().reverse().ip()));
        frames.push(icmp_error(2, 0, 1400, &craft.v6().reverse().ip()));
    }
    frames
}

/// Captures with the frames one by one, all together, and in every dialect.
fn captures(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let capture = |frames: &[Vec<u8>], endianness, ts_resolution, datalink| {
        let header = PcapHeader { datalink, endianness, ts_resolution, ..Default::default() };
        let mut writer = PcapWriter::with_header(Vec::new(), header).expect("memory can be written to");
        for (n, frame) in frames.iter().enumerate() {
            let packet = PcapPacket::new(Duration::from_millis(n as u64), frame.len() as u32, frame);
            writer.write_packet(&packet).expect("memory can be written to");
        }
        writer.into_writer()
    };
    let mut all = Vec::new();
    for endianness in [Endianness::Big, Endianness::Little] {
        for resolution in [TsResolution::MicroSecond, TsResolution::NanoSecond] {
            all.push(capture(&[], endianness, resolution, DataLink::ETHERNET));
            all.push(capture(&frames[..3], endianness, resolution, DataLink::ETHERNET));
            all.push(capture(&frames[3..4], endianness, resolution, DataLink::RAW));
        }
    }
    all.push(capture(frames, Endianness::Little, TsResolution::MicroSecond, DataLink::ETHERNET));
    all.push(capture(
        &[vec![0; 2000], frames[0].clone()],
        Endianness::Big,
        TsResolution::MicroSecond,
        DataLink::ETHERNET,
    ));
    all
}

/// Options of the services, alike for all, and of the answers: the head of an input of `frame`.
fn head(treatment: u8, flags: u8) -> Vec<u8> {
    let mut head = [treatment, flags].repeat(9);
    head.push(0);
    head
}

/// The operation by which a frame arrives; `how`: its upper five bits.
fn arrive(how: u8, frame: &[u8]) -> Vec<u8> {
    let [low, high] = (frame.len() as u16).to_le_bytes();
    [&[how << 3, low, high], frame].concat()
}

/// Each frame alone, on either port; conversations; and all that can happen to them.
fn frames(golden: &[Vec<u8>], well_formed: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    // All golden frames as they are, for services that say something and for some that do not, on either port.
    for (treatment, port) in [(0, 0), (0, 1), (0x40, 1), (0x80, 0)] {
        let arrivals = golden.iter().flat_map(|frame| arrive(0b0100 | port << 1, frame));
        all.push(head(treatment, 0).into_iter().chain(arrivals).collect());
    }
    // Conversations, and packets as long as the ways to the real servers take, one byte less and one more.
    let mut lengths = Vec::new();
    for length in [600, 1500] {
        for payload in (length - 29)..=(length - 27) {
            for n in 0..8 {
                lengths.push(Craft { payload: vec![n as u8; payload], ..Craft::udp(n) }.bytes());
            }
        }
    }
    for (port, frames) in [(0, well_formed), (1, well_formed), (1, &lengths)] {
        let arrivals = frames.iter().flat_map(|frame| arrive(port << 1, frame));
        all.push(head(0, 0).into_iter().chain(arrivals).collect());
    }
    for treatment in 0..64u8 {
        let flags = treatment.wrapping_mul(37);
        let mut input = head(treatment.wrapping_mul(21), flags);
        for (n, frame) in well_formed.iter().enumerate().filter(|(n, _)| n % 8 == usize::from(treatment % 8))
        {
            input.extend(arrive(n as u8 & 3, frame));
        }
        // The first one again, from other clients, on another worker, later, elsewhere.
        input.extend([3, 0, 200, 0, 7, 1, 9, 4 | 1 << 3, 5, treatment % 9, 3 | treatment & 8]);
        input.extend([3 | 1 << 3, 0, 200, 0, 4 | 5 << 3, 3, 1, 200, 0, 5, treatment % 9, 6, 3, 0, 200, 0]);
        input.extend([3, 1, 200, 0, 4 | 6 << 3, 5, treatment % 9, 7, 3, 0, 200, 0]);
        all.push(input);
    }
    // The fragments, the first of them last.
    let mut input = head(1, 0);
    well_formed[28..].iter().rev().for_each(|frame| input.extend(arrive(0, frame)));
    all.push(input);
    all
}

/// Good and bad answers of every kind: what it is, how long the pieces are, and the bytes.
fn answers() -> Vec<Vec<u8>> {
    let http: [&[u8]; 8] = [
        b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\nhello",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabcdef",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\ncontent-length : 10\n\nabc",
        b"HTTP/1.1 204 \r\n\r\n",
        b"HTTP/1.1 2000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx",
        b"SSH-2.0-OpenSSH\r\n",
    ];
    let smtp: [&[u8]; 5] = [
        b"220 mx ESMTP\r\n250 mx\r\n221 Bye\r\n",
        b"220-wait\r\n220-a little\r\n220\r\n250-a\r\n250 b\r\nbye\r\n",
        b"554 no\r\n",
        b"220 mx\n502 ?\n",
        b"220\n250\n",
    ];
    let query = b"\x12\x34\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03org\x00\x00\x06\x00\x01";
    let mut refused = query[..12].to_vec();
    (refused[3], refused[5]) = (0x85, 0);
    let dns: [&[u8]; 3] = [query, &refused, &[&query[..12], b"\xc0\x0c\x00\x06\x00\x01"].concat()];
    let reply = b"\x00\x00\xff\xff\x01\x02\x03\x040123456789abcdef";
    let icmp: [&[u8]; 2] = [reply, &[&[0x46; 24], &reply[..]].concat()];
    let mut all = Vec::new();
    for (kind, answers) in [&http[..], &smtp, &dns, &icmp].into_iter().enumerate() {
        for answer in answers {
            for piece in [2, 5] {
                all.push([&[kind as u8, piece], *answer].concat());
            }
        }
    }
    all
}

/// Fragments in order, in no order, too early, too late, and of datagrams nobody knows.
fn datagrams() -> Vec<Vec<u8>> {
    // Pauses of 1, 7, 50, 199, 200, 10,000, 29,000 and 31,000 ms: operation 5.
    let [pause_200, pause_29_000] = [5 | 4 << 3, 5 | 6 << 3];
    let (here, elsewhere) = (0, 1 << 3);
    // Bits 4 and 5: which piece.
    let (first, second, last) = (0, 0x10, 0x30);
    let mut all = Vec::new();
    for datagram in 0..16u8 {
        for options in [0, 5] {
            let [first, second, last] = [first, second, last].map(|piece| piece | datagram);
            // As long as the first one is remembered, and after that.
            let mut input = vec![options, here, first, here, second, elsewhere, second, pause_29_000];
            for _ in 0..6 {
                input.extend([here, second, elsewhere, last, pause_200]);
            }
            input.extend([here, first, here, last]);
            all.push(input);
            // The first one last: just in time, and too late.
            let late = [5 | 3 << 3, here, first, elsewhere, last];
            all.push([&[options, here, second, elsewhere, last][..], &late].concat());
            all.push([&[options, here, second, elsewhere, last, 5][..], &late].concat());
        }
    }
    // More than can wait.
    all.push(vec![0, 7, 62, here, second, here, last, here, last, here, first, pause_200, 7, 3]);
    all
}
