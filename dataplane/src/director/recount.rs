//! What a worker that panicked left half counted is counted anew from the flows that it remembered. An entry is whole or
//! not there (`flow::buckets`), but the panic may have come between an entry and its count.

use crate::director::Director;
use crate::director::flow::gauge;
use crate::forwarding::ForwardingState;
use crate::id::ServiceId;

impl Director {
    /// Sets the gauges of this worker to what its flow table holds. Takes as long as a look through the whole of it.
    pub fn recount(&mut self, state: &ForwardingState) {
        let worker = self.worker;
        // Also of services and real servers that were removed: their flows stay until they expire.
        for service in (0..=u16::MAX).map_while(|id| state.service(ServiceId(id))) {
            for counters in service.slots().map(|(_, real)| &real.counters()[worker]) {
                for gauge in [&counters.active, &counters.inactive, &counters.templates] {
                    gauge.set(0);
                }
            }
        }
        self.memory.flows.recount(|key, flow| {
            let service = state.service(key.service);
            if let Some(real) = service.and_then(|service| service.tenant(flow.real, flow.epoch)) {
                gauge(worker, real, flow.state).add(1);
            }
        });
        self.stats.flows.set(self.memory.flows.len() as u64);
    }
}
