//! Frames are tried: on a shadow of the dataplane, and on a second XDP program that is attached to nothing.
//!
//! The answer is `{"generation": N, "frames": [...]}`, a row a frame. Keys are added, never renamed or removed, within a
//! protocol version.

use std::net::IpAddr;

use serde_json::{Value, json};
use shunt_dataplane::clock::{TICKS_PER_SECOND, Tick};
use shunt_dataplane::director::shadow::{Explanation, Shadow, Way, Whose};
use shunt_dataplane::flow::Flow;
use shunt_dataplane::forwarding::{ForwardingState, RealSlot, RealState, Service, ServiceKey};
use shunt_dataplane::packet::{Address, Kind, MacAddress, Packet, TcpFlags};
use shunt_dataplane::parse::{ETHERNET, parse, ttl};
use shunt_dataplane::plane::Dataplane;
use shunt_dataplane::port::PortId;
use shunt_dataplane::schedule::Policy;
use shunt_dataplane::schedule::maglev::{MaglevTable, SLOTS};
use shunt_dataplane::verdict::{DropReason, Verdict};
use shunt_dataplane::xsk::steering::{Steered, Steering};

use super::question::{MOST_FRAMES, Question, Subject};
use super::remedy::remedy;
use super::tuple;
use crate::compile::{Inputs, Standing, compiled_key};
use crate::model::VirtualService;

/// `xdp_action` of linux/bpf.h: to the kernel.
const XDP_PASS: u32 = 2;
/// Most services named beside one that is not there.
const NEAR: usize = 5;

/// Frames that were tried on the shadow; the XDP program is yet to be asked.
pub struct Tried {
    generation: u64,
    rows: Vec<Value>,
    frames: Vec<Vec<u8>>,
    wanted: Steered,
    macs: Result<Vec<MacAddress>, String>,
}

/// Tries the frames of a question.
///
/// # Errors
/// What is wrong with the question.
pub fn tried(question: &Question, inputs: Inputs<'_>, plane: &Dataplane) -> Result<Tried, String> {
    let port = port(question, inputs, plane)?;
    let mac = MacAddress(inputs.survey.interfaces.get(port).map_or([0; 6], |link| link.mac));
    let (now, mut shadow) = (plane.now(), plane.shadow());
    let frames: Vec<Vec<u8>> = match &question.subject {
        Subject::Packet(packet) => {
            let flags = packet.flags.map(TcpFlags).map_or_else(
                || -> Result<_, String> {
                    let is_known = shadow.knows(&packet.frame(mac, TcpFlags::SYN)?, now);
                    Ok(if is_known { TcpFlags::ACK } else { TcpFlags::SYN })
                },
                Ok,
            )?;
            vec![packet.frame(mac, flags)?]
        }
        Subject::Frames(frames) if frames.len() > MOST_FRAMES => {
            return Err(format!("at most {MOST_FRAMES} frames are explained at once, not {}", frames.len()));
        }
        Subject::Frames(frames) => frames.iter().map(|frame| frame.frame(mac)).collect::<Result<_, _>>()?,
    };
    let trial = Trial { inputs, plane, port, now };
    let rows = frames.iter().map(|frame| trial.row(&mut shadow, frame)).collect();
    let wanted = plane.state().services().map(|(_, service)| service.key()).collect();
    Ok(Tried { generation: plane.state().generation(), rows, frames, wanted, macs: plane.macs(port) })
}

impl Tried {
    /// The answer, with what the XDP program says to each frame. It is loaded for that, so this is for a thread that may wait.
    pub fn judged(self) -> Value {
        let Tried { generation, mut rows, frames, wanted, macs } = self;
        let program = macs.and_then(|macs| program(&wanted, &macs).map(|program| (program, macs)));
        match program {
            Ok((mut program, macs)) => {
                for (row, frame) in rows.iter_mut().zip(&frames) {
                    judge(&mut program, &macs, row, frame);
                }
            }
            Err(why) => rows.iter_mut().for_each(|row| row["steered_why"] = json!(why)),
        }
        json!({ "generation": generation, "frames": rows })
    }
}

/// A program that steers as the attached ones do, to no socket.
fn program(wanted: &Steered, macs: &[MacAddress]) -> Result<Steering, String> {
    let mut program = Steering::load(macs.first().copied().unwrap_or_default())?;
    macs.iter().try_for_each(|mac| program.set_mac(*mac))?;
    program.steer(wanted)?;
    Ok(program)
}

fn judge(program: &mut Steering, macs: &[MacAddress], row: &mut Value, frame: &[u8]) {
    match frame.first_chunk::<6>().filter(|_| frame.len() >= ETHERNET) {
        None => row["steered"] = false.into(),
        Some(to) => match program.judge(frame) {
            Ok(action) => {
                row["steered"] = (action != XDP_PASS).into();
                if action == XDP_PASS && !macs.contains(&MacAddress(*to)) {
                    let macs: Vec<String> = macs.iter().map(MacAddress::to_string).collect();
                    row["steered_why"] =
                        format!("it is for {}, not for this director ({})", MacAddress(*to), macs.join(", "))
                            .into();
                }
            }
            Err(why) => row["steered_why"] = why.into(),
        },
    }
}

/// The place of the interface that is meant.
fn port(question: &Question, inputs: Inputs<'_>, plane: &Dataplane) -> Result<usize, String> {
    let interfaces = &inputs.survey.interfaces;
    if let Some(name) = &question.interface {
        let found = interfaces.iter().position(|link| link.name == *name);
        return found.ok_or_else(|| {
            let names: Vec<&str> = interfaces.iter().map(|link| link.name.as_str()).collect();
            format!("{name} is no interface of this director: {}", names.join(", "))
        });
    }
    let Subject::Frames(frames) = &question.subject else { return Ok(0) };
    let first = frames.first().map(|frame| frame.frame(MacAddress::default())).transpose()?;
    let to = first.as_ref().and_then(|frame| frame.first_chunk::<6>()).map(|to| MacAddress(*to));
    let is_its = |port: &usize| plane.macs(*port).is_ok_and(|macs| to.is_some_and(|to| macs.contains(&to)));
    Ok((0..interfaces.len()).find(is_its).unwrap_or(0))
}

struct Trial<'a> {
    inputs: Inputs<'a>,
    plane: &'a Dataplane,
    /// The interface that frames come in on.
    port: usize,
    now: Tick,
}

impl Trial<'_> {
    fn row(&self, shadow: &mut Shadow, frame: &[u8]) -> Value {
        // Of several queues the NIC's hash chooses one, which is not known here.
        let workers = self.workers();
        let only = if let [(_, worker)] = workers[..] { Some(worker) } else { None };
        let said = shadow.explain(only, frame, false, self.now);
        let state = shadow.state();
        let service = said.service.and_then(|id| state.service(id));
        let model = service.and_then(|service| self.model_of(service.key()));
        let queues: Vec<Value> = workers
            .iter()
            .map(|(queue, worker)| json!({ "queue": queue, "worker": worker, "core": self.core(*worker) }))
            .collect();
        let mut row = json!({
            "bytes": frame.len(),
            "interface": self.interface(self.port),
            "queues": queues,
            "worker": said.worker,
            "worker_core": self.core(said.worker),
            "worker_is_certain": only.is_some(),
            "service": model.map(|service| service.key.to_string()),
            "verdict": match said.verdict {
                Verdict::Forward(_) => "forwarded",
                Verdict::Drop(_) => "dropped",
                Verdict::Answer(_) => "answered",
                Verdict::Hold => "held",
            },
            "way": said.way.map(way),
            "steered": null,
        });
        if let Ok(packet) = &said.packet {
            row["packet"] = self::packet(packet, frame);
            if service.is_none() && packet.kind != Kind::Later {
                row["near"] = near(state, packet);
            }
        }
        if let Some(service) = service {
            row["scheduler"] = service.options().policy.to_string().into();
            row["known"] = self.flows(service, &said.flows);
            row["templates"] = self.flows(service, &said.templates);
            row["real"] = json!(said.real.and_then(|slot| address(service, slot)));
            row["hash"] = hash(service, &said);
            if let Some(flow) = &said.after {
                row["after"] = self.flow(service, flow);
            }
            row["no_room"] = said.no_room.into();
            if let Some(model) = model {
                row["others"] = self.others(service, model, &said);
            }
        }
        self.end(&mut row, &said);
        row
    }

    /// What leaves the director, or why nothing does.
    fn end(&self, row: &mut Value, said: &Explanation) {
        let why = |reason: DropReason| json!({ "name": reason.name(), "meaning": reason.meaning(), "remedy": remedy(reason) });
        match said.verdict {
            Verdict::Forward(PortId(port)) => {
                row["sent"] = self.sent(said, usize::from(port));
            }
            Verdict::Answer(reason) => {
                row["reason"] = why(reason);
                row["sent"] = self.sent(said, self.port);
                row["answer"] = match (reason, said.is_reset) {
                    (_, true) => "RST",
                    (DropReason::TtlExpired, _) => "ICMP time exceeded",
                    (DropReason::TooBig, _) => "ICMP packet too big",
                    _ => "ICMP port unreachable",
                }
                .into();
            }
            Verdict::Drop(reason) => row["reason"] = why(reason),
            Verdict::Hold => {}
        }
    }

    fn sent(&self, said: &Explanation, port: usize) -> Value {
        let frame = &said.frame;
        let mac = |at: usize| {
            frame.get(at..at + 6).and_then(|mac| mac.first_chunk()).map(|mac| MacAddress(*mac).to_string())
        };
        let worker = self.plane.workers().get(said.worker);
        let queue =
            worker.and_then(|worker| worker.queues.iter().find(|queue| usize::from(queue.port.0) == port));
        json!({
            "destination_mac": mac(0),
            "source_mac": mac(6),
            "vlans": vlans(frame),
            "ttl": parse(frame).ok().map(|packet| ttl(frame, &packet)),
            "bytes": frame.len(),
            "interface": self.interface(port),
            "queue": queue.map(|queue| queue.queue),
            "hex": frame.iter().take(128).map(|byte| format!("{byte:02x}")).collect::<String>(),
        })
    }

    /// Queues of the interface, and whose they are.
    fn workers(&self) -> Vec<(u32, usize)> {
        let workers = self.plane.workers().iter().enumerate();
        let queues = workers.flat_map(|(n, worker)| worker.queues.iter().map(move |queue| (queue, n)));
        let mut queues: Vec<(u32, usize)> = queues
            .filter(|(queue, _)| usize::from(queue.port.0) == self.port)
            .map(|(queue, worker)| (queue.queue, worker))
            .collect();
        queues.sort_unstable();
        queues
    }

    fn core(&self, worker: usize) -> Option<usize> {
        self.plane.workers().get(worker)?.core
    }

    fn interface(&self, port: usize) -> Option<&str> {
        self.inputs.survey.interfaces.get(port).map(|link| link.name.as_str())
    }

    fn model_of(&self, key: &ServiceKey) -> Option<&VirtualService> {
        self.inputs.model.services.iter().find(|service| compiled_key(&service.key) == *key)
    }

    fn flows(&self, service: &Service, flows: &[(Whose, Flow)]) -> Value {
        let rows = flows.iter().map(|(whose, flow)| {
            let mut row = self.flow(service, flow);
            match whose {
                Whose::Worker(worker) => row["worker"] = (*worker).into(),
                Whose::Director => row["director"] = true.into(),
            }
            row
        });
        rows.collect()
    }

    fn flow(&self, service: &Service, flow: &Flow) -> Value {
        let left = flow.remaining(self.now);
        let silent = service.options().timeouts.of(flow.state).saturating_sub(left);
        let tenant = service.tenant(flow.real, flow.epoch);
        json!({
            "state": flow.state.name(),
            "real": tenant.map(|real| IpAddr::from(real.address())),
            "expired": flow.is_expired(self.now),
            "expires_seconds": left / TICKS_PER_SECOND,
            "silent_seconds": (!flow.state.is_template()).then_some(silent / TICKS_PER_SECOND),
        })
    }

    /// The real servers that do not get it, and why not.
    fn others(&self, service: &Service, model: &VirtualService, said: &Explanation) -> Value {
        let others = service.reals().filter(|(slot, _)| Some(*slot) != said.real);
        let rows = others.map(|(_, real)| {
            let address = IpAddr::from(real.address());
            let server = model.servers().find(|server| server.address == address);
            let standing = server.map(|server| self.inputs.standing(model, server));
            let why = match (real.state(), standing) {
                (_, Some(Standing::Down(why))) => why,
                (_, Some(Standing::Waiting(what))) => what.to_owned(),
                (RealState::Down, _) if self.inputs.is_sorry(model) => {
                    "the quorum is lost: the sorry server answers".to_owned()
                }
                (RealState::Down, _) => "it is down".to_owned(),
                (RealState::Draining, _) => "weight 0: it takes no new flows".to_owned(),
                _ if real.is_overloaded() => {
                    let (upper, load) = (real.thresholds().upper, real.load());
                    format!("over its threshold: {} flows, and it takes {upper}", load.active + load.inactive)
                }
                _ => passed_over(service.options().policy, said).to_owned(),
            };
            json!({ "address": address, "state": real.state().name(), "why": why })
        });
        rows.collect()
    }
}

/// Why one that takes new flows does not get this one.
fn passed_over(policy: Policy, said: &Explanation) -> &'static str {
    match said.way {
        Some(Way::Remembered | Way::Adopted | Way::Synced) => {
            "it takes new flows; this one has its real server"
        }
        Some(Way::Template) => "it takes new clients; this one has its real server",
        Some(Way::Fragment) => "fragments go where the first one of their datagram went",
        Some(Way::Error) => "the error goes to whom the flow has",
        None => "the frame went to nobody",
        Some(Way::Scheduled | Way::Moved | Way::ErrorByHash) => match policy {
            Policy::Maglev | Policy::Sh(_) | Policy::Dh | Policy::Mh(_) => "the hash says another one",
            Policy::Rr | Policy::Wrr => "it is not its turn",
            Policy::Lc | Policy::Wlc | Policy::Sed | Policy::Nq => "it has more to do, for its weight",
            Policy::Fo | Policy::Ovf => "another one has more weight",
            Policy::Lblc | Policy::Lblcr => "another one has the destination",
            Policy::Twos => "of two that were drawn, another one has less to do",
        },
    }
}

fn packet(packet: &Packet, frame: &[u8]) -> Value {
    let protocol = packet.protocol;
    json!({
        "kind": match packet.kind {
            Kind::Whole => "whole",
            Kind::First => "first-fragment",
            Kind::Later => "later-fragment",
            Kind::Error => "icmp-error",
        },
        "client": IpAddr::from(packet.src),
        "client_port": packet.src_port,
        "vip": IpAddr::from(packet.dst),
        "port": packet.dst_port,
        "protocol": protocol.to_string(),
        "flags": tuple::names(packet.flags.0),
        "ttl": ttl(frame, packet),
        "vlans": vlans(frame),
    })
}

/// VLAN identifiers of a frame, outermost first.
fn vlans(frame: &[u8]) -> Vec<u16> {
    let tags = frame.get(12..).unwrap_or_default().chunks_exact(4);
    tags.take_while(|tag| matches!(tag[..2], [0x81, 0x00] | [0x88, 0xa8] | [0x91, 0x00]))
        .map(|tag| u16::from_be_bytes([tag[2], tag[3]]) & 0x0fff)
        .collect()
}

fn way(way: Way) -> &'static str {
    match way {
        Way::Remembered => "remembered",
        Way::Adopted => "other-worker",
        Way::Synced => "other-director",
        Way::Moved => "moved",
        Way::Template => "persistence",
        Way::Scheduled => "scheduled",
        Way::Fragment => "first-fragment",
        Way::Error => "flow-of-error",
        Way::ErrorByHash => "hash-of-error",
    }
}

fn address(service: &Service, slot: RealSlot) -> Option<IpAddr> {
    service.real(slot).map(|real| real.address().into())
}

/// The hash of the flow, its place in the Maglev table, and whom that names.
fn hash(service: &Service, said: &Explanation) -> Value {
    let Some((hash, slot)) = said.hash.zip(said.hashed) else { return Value::Null };
    json!({
        "real": address(service, slot),
        "slot": service.scheduler().maglev().map(|_| MaglevTable::slot(hash)),
        "slots": service.scheduler().maglev().map(|_| SLOTS),
    })
}

/// What there is instead of a service that is not there.
fn near(state: &ForwardingState, packet: &Packet) -> Value {
    let keys = || state.services().map(|(_, service)| *service.key());
    let (of_vip, is_vip) = (|key: &ServiceKey| key.address == packet.dst, state.is_vip(packet.dst));
    let of_protocol = |key: &ServiceKey| key.protocol == packet.protocol;
    let (what, mut found): (&str, Vec<ServiceKey>) = if keys().any(|key| of_vip(&key) && of_protocol(&key)) {
        ("port", keys().filter(|key| of_vip(key) && of_protocol(key)).collect())
    } else if is_vip {
        ("protocol", keys().filter(of_vip).collect())
    } else {
        let family = |address: Address| address.v4().is_some();
        ("address", keys().filter(|key| family(key.address) == family(packet.dst)).collect())
    };
    let distance = |key: &ServiceKey| {
        let port = i32::from(packet.dst_port);
        let ports = (i32::from(key.ports.first) - port).max(port - i32::from(key.ports.last)).max(0);
        (key.address.bits() ^ packet.dst.bits(), key.protocol != packet.protocol, ports)
    };
    found.sort_by_key(distance);
    let names: Vec<String> = found.iter().take(NEAR).map(name).collect();
    json!({ "wrong": what, "vip_known": is_vip, "services": names, "more": found.len().saturating_sub(NEAR) })
}

/// The name of a service, as it is shown.
pub(crate) fn name(key: &ServiceKey) -> String {
    let ports = crate::model::ports(key.ports);
    match IpAddr::from(key.address) {
        IpAddr::V4(vip) => format!("{vip}:{ports}/{}", key.protocol),
        IpAddr::V6(vip) => format!("[{vip}]:{ports}/{}", key.protocol),
    }
}
