//! A port on pcap files: receives the frames of one, transmits into another. Replays a capture through the
//! director without any network.

use std::io::{Read, Write};

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::{DataLink, PcapError};

use crate::port::memory::{FRAME_ROOM, MemoryFrame};
use crate::port::{Burst, Census, Pool, Port};

/// The port.
pub struct PcapPort<R: Read, W: Write> {
    reader: PcapReader<R>,
    writer: PcapWriter<W>,
    filling: Vec<MemoryFrame>,
    sending: Vec<MemoryFrame>,
    error: Option<PcapError>,
    at_end: bool,
    /// Frames longer than a frame has room for: skipped.
    too_long: u64,
}

impl<R: Read, W: Write> PcapPort<R, W> {
    /// Opens a capture of Ethernet frames, and one for what is transmitted.
    ///
    /// Errors: the input is not a pcap file, its link type is not Ethernet, or the output's header cannot be
    /// written.
    pub fn new(input: R, output: W) -> Result<Self, PcapError> {
        let reader = PcapReader::new(input)?;
        if reader.header().datalink != DataLink::ETHERNET {
            return Err(PcapError::InvalidField("link type is not Ethernet"));
        }
        let header = PcapHeader { datalink: DataLink::ETHERNET, ..Default::default() };
        Ok(PcapPort {
            reader,
            writer: PcapWriter::with_header(output, header)?,
            filling: Vec::new(),
            sending: Vec::new(),
            error: None,
            at_end: false,
            too_long: 0,
        })
    }

    /// Whether the input has ended, by its end or by an error.
    pub fn at_end(&self) -> bool {
        self.at_end
    }

    /// Frames of the input that were longer than a frame has room for, and skipped.
    pub fn too_long(&self) -> u64 {
        self.too_long
    }

    /// The error that ended the replay, if one did.
    pub fn error(&self) -> Option<&PcapError> {
        self.error.as_ref()
    }

    /// Closes the files.
    pub fn finish(self) -> W {
        self.writer.into_writer()
    }

    fn stop(&mut self, error: PcapError) {
        self.at_end = true;
        self.error.get_or_insert(error);
    }
}

impl<R: Read, W: Write> Port for PcapPort<R, W> {
    type Frame = MemoryFrame;

    fn receive(&mut self, burst: &mut Burst<MemoryFrame>) {
        while !self.at_end
            && burst.remaining_capacity() > 0
            && let Some(mut frame) = self.filling.pop()
        {
            match self.reader.next_packet() {
                Some(Ok(packet)) if packet.data.len() <= FRAME_ROOM => {
                    frame.fill(&packet.data);
                    burst.push(frame);
                    continue;
                }
                Some(Ok(_)) => self.too_long += 1,
                Some(Err(error)) => self.stop(error),
                None => self.at_end = true,
            }
            self.filling.push(frame);
        }
    }

    fn transmit(&mut self, frame: MemoryFrame) {
        let bytes = frame.as_ref();
        let packet = PcapPacket::new(std::time::Duration::ZERO, bytes.len() as u32, bytes);
        if let Err(error) = self.writer.write_packet(&packet) {
            self.stop(error);
        }
        self.sending.push(frame);
    }

    fn turn(&mut self, pool: &mut Pool<MemoryFrame>) {
        while let Some(frame) = self.sending.pop() {
            pool.give(frame);
        }
        while let Some(frame) = pool.take() {
            self.filling.push(frame);
        }
    }

    fn census(&self) -> Census {
        Census { filling: self.filling.len(), sending: self.sending.len(), refusals: 0 }
    }

    fn is_busy(&self) -> bool {
        !self.at_end
    }
}
