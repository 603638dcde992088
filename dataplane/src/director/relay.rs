//! Packets without ports of their own: later fragments go where the first one of their datagram went, ICMP errors to
//! the real server of the flow they are about, so that path MTU discovery works through DSR (RFC 1191, RFC 8201).

use crate::clock::Tick;
use crate::director::{Candidate, Choice, Director, Lookup, Refusal, flow};
use crate::flow::fragments::Whither;
use crate::forwarding::ForwardingState;
use crate::id::{RealSlot, ServiceId};
use crate::packet::Packet;
use crate::verdict::DropReason;

/// No real server's slot: the builder gives the last one to nobody.
const NOWHERE: RealSlot = RealSlot(u16::MAX);

impl Director {
    /// Remembers where the first fragment of a datagram goes.
    pub(super) fn expect_fragments(
        &mut self,
        packet: &Packet,
        id: u32,
        lookup: &Lookup,
        choice: &Choice<'_>,
        now: Tick,
    ) {
        let tag = self.tag(packet, id);
        let (service, real, epoch) = (lookup.key.service, choice.slot, choice.real.epoch());
        self.memory.fragments.insert(tag, Whither { service, real, epoch }, now);
    }

    /// Remembers that the first fragment of a datagram went nowhere: the others need not wait for it.
    pub(super) fn expect_nothing(&mut self, packet: &Packet, id: u32, lookup: &Lookup, now: Tick) {
        let nowhere = Whither { service: lookup.key.service, real: NOWHERE, epoch: 0 };
        let tag = self.tag(packet, id);
        self.memory.fragments.insert(tag, nowhere, now);
    }

    /// Where a later fragment goes: after the first one, which the worker may have seen or another one.
    pub(super) fn follow<'s>(
        &mut self,
        state: &'s ForwardingState,
        candidate: &Candidate,
        id: u32,
        now: Tick,
    ) -> Result<Choice<'s>, Refusal> {
        let tag = self.tag(&candidate.packet, id);
        let found = self.memory.fragments.find(tag, now);
        let found =
            found.or_else(|| self.memory.other_fragments.iter().find_map(|other| other.find(tag, now)));
        let Some(Whither { service, real, epoch }) = found else {
            // Nobody waits for what can never come.
            return Err(match state.is_vip(candidate.packet.dst) {
                true => Refusal::Hold,
                false => DropReason::NoService.into(),
            });
        };
        if real == NOWHERE {
            return Err(DropReason::FragmentOrphan.into());
        }
        self.go(state, candidate, service, real, epoch)
    }

    /// To whom an ICMP error goes: the real server of the flow it is about. Nothing is remembered for it.
    pub(super) fn concerned<'s>(
        &mut self,
        state: &'s ForwardingState,
        candidate: &Candidate,
        lookup: &Lookup,
        now: Tick,
    ) -> Result<Choice<'s>, Refusal> {
        let Lookup { to, key, slot } = *lookup;
        let own = self.memory.flows.find(slot, &key).map(|(_, flow)| flow);
        let others = self.memory.other_flows.iter().filter_map(|other| other.find(to, &key));
        let known = own.into_iter().chain(others).find(|flow| !flow.is_expired(now));
        let told = || state.synced().and_then(|synced| synced.find(to, &key, now));
        if let Some(flow) = known.or_else(told) {
            return self.go(state, candidate, key.service, flow.real, flow.epoch);
        }
        // Not remembered: it lives by the hash alone, if at all.
        let service = state.service(key.service).ok_or(DropReason::NoService)?;
        let question = flow::question(state, service, &candidate.packet, now);
        let real = service.scheduler().recall(&question).map(RealSlot).ok_or(DropReason::IcmpUnrelated)?;
        let epoch = service.real(real).ok_or(DropReason::IcmpUnrelated)?.epoch();
        self.go(state, candidate, key.service, real, epoch)
    }

    /// To this tenant of a slot, if it still serves flows; counted as its frame.
    fn go<'s>(
        &self,
        state: &'s ForwardingState,
        candidate: &Candidate,
        service: ServiceId,
        slot: RealSlot,
        epoch: u8,
    ) -> Result<Choice<'s>, Refusal> {
        let service =
            state.service(service).filter(|service| service.is_live()).ok_or(DropReason::NoService)?;
        self.count_service(service, candidate.bytes);
        let real = flow::holder(service, slot, epoch).ok_or(DropReason::NoReal)?;
        self.count_real(real, candidate.bytes);
        Ok(Choice { service, slot, real })
    }

    fn tag(&self, packet: &Packet, id: u32) -> u64 {
        self.memory.fragments.tag(packet.src, packet.dst, packet.protocol as u8, id)
    }
}
