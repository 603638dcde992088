//! Checksums left to hardware leave complete, whatever the segment.

use proptest::prelude::*;

use crate::craft::{ACK, Craft, sum, transport_is_valid};
use crate::rig::{Rig, dns, http, service, up};

/// Puts the pseudo header's sum where the checksum belongs, as a sender with checksum offload does.
fn leave_to_hardware(frame: &mut [u8]) {
    let l4 = 14 + usize::from(frame[14] & 0xf) * 4;
    let length = usize::from(u16::from_be_bytes([frame[16], frame[17]])) + 14 - l4;
    let mut pseudo = frame[26..34].to_vec();
    pseudo.extend([0, frame[23]]);
    pseudo.extend((length as u16).to_be_bytes());
    let field = l4 + if frame[23] == 6 { 16 } else { 6 };
    frame[field..field + 2].copy_from_slice(&sum(&pseudo).to_be_bytes());
}

proptest! {
    #[test]
    fn a_partial_checksum_is_completed_on_a_virtual_port_and_nowhere_else(
        tcp in any::<bool>(), client in 0u32..1000, payload in proptest::collection::vec(any::<u8>(), 0..1400),
        words in 0usize..11, padding in 0usize..8,
    ) {
        let mut rig = Rig::new(1, 64);
        rig.publish(&[service(http(), [up(1)]), service(dns(), [up(1)])]);
        let craft = if tcp { Craft::tcp(client, ACK) } else { Craft::udp(client) };
        let whole = Craft { payload, options: vec![1; words * 4], padding, ..craft }.bytes();
        let mut partial = whole.clone();
        leave_to_hardware(&mut partial);
        let (_, expected) = rig.send(0, 0, &whole).expect("forwarded");
        let (_, untouched) = rig.send(0, 0, &partial).expect("forwarded");
        prop_assert_eq!(&untouched[34..], &partial[34..]);
        prop_assert_eq!(rig.total(|s| s.checksums_completed.value()), 0);
        let (_, completed) = rig.send(0, 1, &partial).expect("forwarded");
        prop_assert!(transport_is_valid(&completed));
        prop_assert_eq!(completed, expected);
        // One in 65,536 was complete as it was.
        prop_assert_eq!(rig.total(|s| s.checksums_completed.value()), u64::from(partial != whole));
    }
}
