//! A file that Wireshark and tshark read: each frame as it was received (inbound) and as it was sent (outbound), with what
//! shunt knows of it in the comment, and what was lost in the statistics at the end.
//!
//! The library writes timestamps in nanoseconds (`if_tsresol` 9). They are those of the worker's loop, which reads its clock once
//! a turn, in milliseconds.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::{DataLink, Endianness, PcapError};

use super::protocol::{Count, Row};
use super::words;

/// `if_tsresol`: a unit is 10^-9 s.
const NANOSECONDS: u8 = 9;
/// `epb_flags`, bits 0 and 1.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// A capture file that is being written.
pub(super) struct File<W: Write> {
    writer: PcapNgWriter<W>,
    interfaces: Vec<String>,
    begun: Duration,
}

impl<W: Write> File<W> {
    /// Begins a file about these interfaces.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(writer: W, interfaces: &[String], filter: &str, snap: u16) -> io::Result<Self> {
        let section = SectionHeaderBlock {
            // The library writes 64-bit fields in one piece; the format has the high half first.
            endianness: Endianness::Big,
            options: vec![SectionHeaderOption::UserApplication(Cow::Borrowed(concat!(
                "shunt ",
                env!("CARGO_PKG_VERSION")
            )))],
            ..Default::default()
        };
        let mut writer = PcapNgWriter::with_section_header(writer, section).map_err(of_io)?;
        for name in interfaces {
            let mut options = vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
                InterfaceDescriptionOption::IfDescription(Cow::Borrowed(
                    "frames of services; times in milliseconds",
                )),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ];
            if !filter.is_empty() {
                // A first byte of 0: the filter is text.
                let text = [b"\0", filter.as_bytes()].concat();
                options.push(InterfaceDescriptionOption::IfFilter(Cow::Owned(text)));
            }
            let snaplen = u32::from(snap);
            writer
                .write_pcapng_block(InterfaceDescriptionBlock {
                    linktype: DataLink::ETHERNET,
                    snaplen,
                    options,
                })
                .map_err(of_io)?;
        }
        Ok(File { writer, interfaces: interfaces.to_vec(), begun: now() })
    }

    /// Writes one frame: what was received, then what was sent, as far as either is there.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&mut self, row: &Row) -> io::Result<()> {
        let received = bytes(&row.received);
        if !received.is_empty() {
            self.packet(row, &row.interface, INBOUND, &received, row.received_bytes)?;
        }
        let sent = bytes(&row.sent);
        if let Some(out) = row.out.as_ref().filter(|_| !sent.is_empty()) {
            self.packet(row, out, OUTBOUND, &sent, row.sent_bytes)?;
        }
        Ok(())
    }

    fn packet(
        &mut self,
        row: &Row,
        interface: &str,
        flags: u32,
        data: &[u8],
        length: Option<u16>,
    ) -> io::Result<()> {
        let way = if flags == INBOUND { "received" } else { "sent" };
        let interface_id = self.interfaces.iter().position(|name| name == interface).unwrap_or(0) as u32;
        let block = EnhancedPacketBlock {
            interface_id,
            timestamp: Duration::from_millis(row.time_ms),
            original_len: u32::from(length.unwrap_or(0)).max(data.len() as u32),
            data: Cow::Borrowed(data),
            options: vec![
                EnhancedPacketOption::Comment(Cow::Owned(words::comment(way, row))),
                EnhancedPacketOption::Flags(flags),
            ],
        };
        self.writer.write_pcapng_block(block).map_err(of_io)?;
        Ok(())
    }

    /// Writes what was seen and lost on each interface, and gives the writer back.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end(mut self, counts: &[Count]) -> io::Result<W> {
        for (n, count) in counts.iter().enumerate().take(self.interfaces.len()) {
            let end = now();
            let block = InterfaceStatisticsBlock {
                interface_id: n as u32,
                timestamp: end.as_nanos() as u64,
                options: vec![
                    InterfaceStatisticsOption::IsbStartTime(self.begun.as_nanos() as u64),
                    InterfaceStatisticsOption::IsbEndTime(end.as_nanos() as u64),
                    InterfaceStatisticsOption::IsbIfRecv(count.seen),
                    InterfaceStatisticsOption::IsbIfDrop(count.lost),
                ],
            };
            self.writer.write_pcapng_block(block).map_err(of_io)?;
        }
        Ok(self.writer.into_inner())
    }

    /// The writer, to flush it.
    pub fn writer(&mut self) -> &mut W {
        self.writer.get_mut()
    }
}

/// The library adds nothing to what the writer says.
fn of_io(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        error => io::Error::other(error.to_string()),
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The bytes of hex digits; what is none ends them.
pub(super) fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks_exact(2).map_while(|pair| std::str::from_utf8(pair).ok());
    pairs.map_while(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}
