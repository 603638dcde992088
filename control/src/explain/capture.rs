//! Frames of a capture file, pcap or pcapng, as tcpdump and Wireshark write them.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, PcapError};

use super::question::Bytes;

/// The first block of a pcapng file.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// What is sent of a frame: an answer may quote this much (RFC 4443, section 2.4 c), and headers are shorter.
const SENT: usize = 1400;

/// The first `limit` frames.
///
/// # Errors
/// The file cannot be read, is no capture, or not one of Ethernet or of bare IP packets.
pub(super) fn frames(path: &Path, limit: usize) -> Result<Vec<Bytes>, String> {
    let fail = |what: String| format!("{}: {what}", path.display());
    let mut file = File::open(path).map_err(|error| fail(error.to_string()))?;
    let mut magic = [0; 4];
    let begun = file.read_exact(&mut magic).and_then(|()| file.seek(SeekFrom::Start(0)));
    if begun.is_err() {
        return Err(fail("no capture file: it is shorter than the header of one".into()));
    }
    let file = BufReader::new(file);
    let read = if magic == PCAPNG { of_pcapng(file, limit) } else { of_pcap(file, limit) };
    read.map_err(fail)
}

fn of_pcap(file: impl Read, limit: usize) -> Result<Vec<Bytes>, String> {
    let mut reader = PcapReader::new(file).map_err(|_| {
        "no capture file: neither pcap nor pcapng. `tcpdump -i eth0 -w FILE` writes one".to_owned()
    })?;
    let link = reader.header().datalink;
    let mut frames = Vec::new();
    while frames.len() < limit
        // Raw: the checked reader refuses frames of which the capture has kept only the front.
        && let Some(packet) = reader.next_raw_packet()
    {
        let packet = packet.map_err(|error| broken(frames.len(), &error))?;
        frames.push(frame(link, &packet.data, packet.orig_len as usize)?);
    }
    Ok(frames)
}

fn of_pcapng(file: impl Read, limit: usize) -> Result<Vec<Bytes>, String> {
    let mut reader = PcapNgReader::new(file).map_err(|error| format!("no capture file: {error}"))?;
    let mut links = Vec::new();
    let mut frames = Vec::new();
    while frames.len() < limit
        && let Some(block) = reader.next_block()
    {
        let link = |links: &[DataLink], id: u32| links.get(id as usize).copied().unwrap_or(DataLink::NULL);
        match block.map_err(|error| broken(frames.len(), &error))? {
            Block::InterfaceDescription(interface) => links.push(interface.linktype),
            Block::EnhancedPacket(packet) => {
                let link = link(&links, packet.interface_id);
                frames.push(frame(link, &packet.data, packet.original_len as usize)?);
            }
            Block::SimplePacket(packet) => {
                frames.push(frame(link(&links, 0), &packet.data, packet.original_len as usize)?);
            }
            _ => {}
        }
    }
    Ok(frames)
}

fn broken(before: usize, error: &PcapError) -> String {
    format!("the capture is cut off or broken after {before} frames: {error}")
}

fn frame(link: DataLink, data: &[u8], length: usize) -> Result<Bytes, String> {
    if !matches!(link, DataLink::ETHERNET | DataLink::RAW | DataLink::IPV4 | DataLink::IPV6) {
        return Err(format!(
            "the capture is not of Ethernet frames but of {link:?}: capture on one interface, `tcpdump -i eth0 -w FILE`"
        ));
    }
    let sent = data.get(..SENT).unwrap_or(data);
    let hex = sent.iter().map(|byte| format!("{byte:02x}")).collect();
    let length = length.max(data.len());
    Ok(Bytes { hex, length: (length > sent.len()).then_some(length) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
    use std::time::Duration;

    fn written(link: DataLink, packets: &[(u32, &[u8])]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let header = PcapHeader { datalink: link, ..Default::default() };
        let mut writer = PcapWriter::with_header(file.reopen().unwrap(), header).unwrap();
        for (length, bytes) in packets {
            writer.write_packet(&PcapPacket::new(Duration::ZERO, *length, bytes)).unwrap();
        }
        file
    }

    #[test]
    fn frames_are_read_up_to_the_limit_and_with_their_whole_length() {
        let file = written(DataLink::ETHERNET, &[(2, &[1, 2]), (9, &[3; 4]), (2, &[5, 6])]);
        let frames = frames(file.path(), 2).unwrap();
        let expected = [("0102", None), ("03030303", Some(9))];
        assert_eq!(frames, expected.map(|(hex, length)| Bytes { hex: hex.into(), length }));
    }

    #[test]
    fn what_is_no_capture_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(frames(file.path(), 1).unwrap_err().contains("shorter than the header"));
        std::fs::write(file.path(), "this is no capture, but a text of some length").unwrap();
        assert!(frames(file.path(), 1).unwrap_err().contains("neither pcap nor pcapng"));
        let cooked = written(DataLink::LINUX_SLL, &[(2, &[1, 2])]);
        assert!(frames(cooked.path(), 1).unwrap_err().contains("capture on one interface"));
        let whole = written(DataLink::ETHERNET, &[(4, &[1, 2, 3, 4])]);
        let bytes = std::fs::read(whole.path()).unwrap();
        std::fs::write(whole.path(), &bytes[..bytes.len() - 2]).unwrap();
        assert!(frames(whole.path(), 1).unwrap_err().contains("cut off or broken after 0 frames"));
        assert!(frames(Path::new("/no/such/file"), 1).unwrap_err().starts_with("/no/such/file: "));
    }
}
