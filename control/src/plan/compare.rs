//! Services, real servers and virtual routers of two configurations: what comes, what goes, what is otherwise.

use std::collections::HashMap;
use std::net::IpAddr;

use shunt_dataplane::forwarding::ServiceKey as CompiledKey;
use shunt_dataplane::packet::Protocol as CompiledProtocol;

use super::{Change, RealPlan, ServicePlan, VrrpPlan, settings};
use crate::model::{Model, Protocol, RealServer, ServiceKey, VirtualRouter, VirtualService};
use crate::vrrp::view::{RouterView, View};

/// The services that differ, in the order of `after`, and then those that go.
pub(super) fn services(before: &Model, after: &Model) -> Vec<ServicePlan> {
    let find = |model: &'_ Model, key: ServiceKey| model.services.iter().position(|s| s.key == key);
    let mut plans = Vec::new();
    for service in &after.services {
        let name = service.key.to_string();
        let Some(old) = find(before, service.key).map(|n| &before.services[n]) else {
            let mut plan = ServicePlan::new(name, Change::Added);
            let shell = settings::shell(service);
            plan.reals = service.reals.iter().map(|real| added(&shell, real, after)).collect();
            plans.push(plan);
            continue;
        };
        let mut plan = ServicePlan::new(name, Change::Changed);
        plan.settings = settings::of_service(old, service, after);
        plan.reals = reals(old, service, after);
        if !plan.settings.is_empty() || !plan.reals.is_empty() {
            plans.push(plan);
        }
    }
    for service in before.services.iter().filter(|service| find(after, service.key).is_none()) {
        let mut plan = ServicePlan::new(service.key.to_string(), Change::Removed);
        plan.reals = service.reals.iter().map(|real| removed(real.address)).collect();
        plans.push(plan);
    }
    plans
}

fn reals(before: &VirtualService, after: &VirtualService, model: &Model) -> Vec<RealPlan> {
    let by_address = |service: &'_ VirtualService| -> HashMap<IpAddr, usize> {
        service.reals.iter().map(|real| real.address).zip(0..).collect()
    };
    let (old, new) = (by_address(before), by_address(after));
    let shell = settings::shell(after);
    let mut plans = Vec::new();
    for real in &after.reals {
        match old.get(&real.address).map(|n| &before.reals[*n]) {
            None => plans.push(added(&shell, real, model)),
            Some(old) if old == real => {}
            Some(old) => {
                let settings = settings::of_real(&shell, Some(old), real, model);
                plans.push(RealPlan {
                    address: real.address,
                    change: Change::Changed,
                    settings,
                    waits_for: None,
                });
            }
        }
    }
    let gone = before.reals.iter().filter(|real| !new.contains_key(&real.address));
    plans.extend(gone.map(|real| removed(real.address)));
    plans
}

fn added(shell: &VirtualService, real: &RealServer, model: &Model) -> RealPlan {
    let mut settings = settings::of_real(shell, None, real, model);
    settings.retain(|setting| setting.setting == "weight");
    RealPlan { address: real.address, change: Change::Added, settings, waits_for: None }
}

fn removed(address: IpAddr) -> RealPlan {
    RealPlan { address, change: Change::Removed, settings: Vec::new(), waits_for: None }
}

/// What becomes of virtual routers, as they stand now.
pub(super) fn vrrp(before: &Model, after: &Model, view: &View) -> VrrpPlan {
    let settings = settings::of_vrrp(&before.vrrp, &after.vrrp, after);
    let stands = |name: &str| view.routers.iter().find(|router| router.name == name);
    let mut sentences = Vec::new();
    for router in &before.vrrp.routers {
        let new = after.vrrp.routers.iter().find(|new| new.name == router.name);
        sentences.extend(match new {
            None => Some(goes(router, stands(&router.name))),
            Some(new) if new.identity() != router.identity() => Some((
                true,
                format!(
                    "{} begins anew: its interface, VRID or family is another; it gives up its addresses, and is a \
                     backup until nobody else is heard",
                    router.name
                ),
            )),
            Some(new) if new != router => Some(changes(router, new, stands(&router.name))),
            Some(_) => None,
        });
    }
    for router in &after.vrrp.routers {
        if !before.vrrp.routers.iter().any(|old| old.name == router.name) {
            let sentence = format!(
                "{} comes: it begins as a backup, and takes over unless a priority above {} is heard",
                router.name, router.priority
            );
            sentences.push((true, sentence));
        }
    }
    let may_move = sentences.iter().any(|(moves, _)| *moves);
    let routers: Vec<String> = sentences.into_iter().map(|(_, sentence)| sentence).collect();
    let effect = match (settings.is_empty(), may_move) {
        (true, _) => "no effect",
        (false, true) => "MAY CAUSE A TAKEOVER",
        (false, false) => "settings change, nobody takes over",
    };
    VrrpPlan { effect: effect.to_owned(), may_move, settings, routers }
}

fn goes(router: &VirtualRouter, stands: Option<&RouterView>) -> (bool, String) {
    let name = &router.name;
    match stands.is_some_and(|stands| stands.state == "MASTER") {
        true => {
            (true, format!("{name} goes: it is active here, and gives up its addresses to the next director"))
        }
        false => {
            (false, format!("{name} goes: it is not active here, and its addresses stay where they are"))
        }
    }
}

/// What other settings do to a router that stays. Whether it takes over is a matter of its priority alone, and of what the
/// other directors are told that they do not expect.
fn changes(old: &VirtualRouter, new: &VirtualRouter, stands: Option<&RouterView>) -> (bool, String) {
    let name = &new.name;
    let speaks_otherwise =
        (old.version, &old.password, &old.peers) != (new.version, &new.password, &new.peers);
    if speaks_otherwise {
        let sentence =
            "speaks otherwise to the other directors: until theirs are changed too, two may be active";
        return (true, format!("{name} {sentence}"));
    }
    if old.all_addresses().ne(new.all_addresses()) {
        let sentence = "has other addresses: those that go are given up, those that come are taken while it is active; \
                        change them on the other directors too";
        return (true, format!("{name} {sentence}"));
    }
    if old.priority == new.priority {
        let sentence = format!("{name} goes on as it is, with other settings");
        return (false, sentence);
    }
    let priority = format!("{name}: priority {} -> {}", old.priority, new.priority);
    let Some(stands) = stands else { return (true, priority) };
    // What is tracked has its part in the priority that is in force.
    let in_force = i32::from(stands.priority) + i32::from(new.priority) - i32::from(old.priority);
    match (stands.state, &stands.active) {
        ("MASTER", _) if new.priority < old.priority => (
            true,
            format!(
                "{priority}: it is active here, and a director with a priority above {in_force} takes over"
            ),
        ),
        ("MASTER", _) => (false, format!("{priority}: it is active here, and stays so")),
        ("BACKUP", Some(active)) if in_force > i32::from(active.priority) && new.preempt => (
            true,
            format!("{priority}: it takes over from {} (priority {})", active.address, active.priority),
        ),
        ("BACKUP", Some(active)) => {
            (false, format!("{priority}: {} (priority {}) stays active", active.address, active.priority))
        }
        (state, _) => (state != "FAULT", format!("{priority}: it is in {state} now")),
    }
}

/// The name of a service of the dataplane.
pub(super) fn name(key: &CompiledKey) -> Option<String> {
    let protocol = match key.protocol {
        CompiledProtocol::Tcp => Protocol::Tcp,
        CompiledProtocol::Udp => Protocol::Udp,
        CompiledProtocol::Sctp => Protocol::Sctp,
    };
    Some(ServiceKey { vip: key.address.into(), protocol, ports: key.ports }.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Plan, render};
    use crate::vrrp::view::ActiveView;

    const TEXT: &str = "[director]\ninterfaces = [\"eth0\"]\n[[service]]\nvip = \"192.0.2.10\"\nport = 80\n\
        protocol = \"tcp\"\n[[service.real]]\naddress = \"192.0.2.21\"\nweight = 1\n[[service.real]]\n\
        address = \"192.0.2.22\"\nweight = 1\n[[vrrp.router]]\nname = \"web\"\ninterface = \"eth0\"\nvrid = 7\n\
        priority = 100\naddresses = [\"192.0.2.10\"]\n";

    fn model(text: &str) -> Model {
        crate::config::parse("a.toml", text).unwrap_or_else(|faults| panic!("{faults}")).model
    }

    fn router(state: &'static str, active: Option<u8>) -> View {
        let active = active.map(|priority| ActiveView {
            address: IpAddr::from([192, 0, 2, 3]),
            priority,
            seconds_ago: 0.1,
        });
        let mut driver = RouterView::sample("web");
        (driver.state, driver.active, driver.priority) = (state, active, 100);
        View { routers: vec![driver], ..View::default() }
    }

    #[test]
    fn services_and_real_servers_that_come_go_and_change_are_told_in_words() {
        let before = model(TEXT);
        let after = TEXT
            .replacen("weight = 1", "weight = 5", 1)
            .replace("192.0.2.22", "192.0.2.23")
            .replacen("port = 80", "port = 80\nscheduler = \"wrr\"", 1);
        let plan = Plan::compare(&before, &model(&after), &View::default());
        let text = render(&plan);
        let part = "\n~ 192.0.2.10:80/tcp\n    scheduler: maglev -> wrr\n    ~ 192.0.2.21 (weight: 1 -> 5)\n    \
                    + 192.0.2.23 (weight 1)\n    - 192.0.2.22\n";
        assert!(text.contains(part), "{text}");
        let elsewhere = model(&TEXT.replace("port = 80", "port = 81"));
        let plan = Plan::compare(&before, &elsewhere, &View::default());
        let changes: Vec<_> = plan.services.iter().map(|s| (s.service.as_str(), s.change)).collect();
        assert_eq!(changes, [("192.0.2.10:81/tcp", Change::Added), ("192.0.2.10:80/tcp", Change::Removed)]);
    }

    #[test]
    fn another_priority_takes_over_where_it_is_higher_than_who_is_active() {
        let before = model(TEXT);
        let of = |priority: u8, view: &View| {
            let after = model(&TEXT.replace("priority = 100", &format!("priority = {priority}")));
            vrrp(&before, &after, view)
        };
        let moves = |priority, state, active| of(priority, &router(state, active)).may_move;
        assert!(moves(151, "BACKUP", Some(150)));
        assert!(!moves(150, "BACKUP", Some(150)));
        assert!(moves(90, "MASTER", None));
        assert!(!moves(110, "MASTER", None));
        assert!(!moves(200, "FAULT", None));
        let plan = of(151, &router("BACKUP", Some(150)));
        assert_eq!(plan.effect, "MAY CAUSE A TAKEOVER");
        assert_eq!(plan.routers, ["web: priority 100 -> 151: it takes over from 192.0.2.3 (priority 150)"]);
        let plan = vrrp(&before, &before, &router("MASTER", None));
        assert_eq!((plan.effect.as_str(), plan.may_move, plan.routers.len()), ("no effect", false, 0));
    }

    #[test]
    fn a_router_that_goes_matters_where_it_is_active() {
        let before = model(TEXT);
        let (without, _) = TEXT.split_once("[[vrrp.router]]").unwrap();
        let after = model(without);
        assert!(vrrp(&before, &after, &router("MASTER", None)).may_move);
        assert!(!vrrp(&before, &after, &router("BACKUP", Some(150))).may_move);
        assert!(vrrp(&after, &before, &View::default()).may_move, "one that comes");
        let anew = model(&TEXT.replace("vrid = 7", "vrid = 8"));
        assert!(vrrp(&before, &anew, &router("MASTER", None)).routers[0].contains("begins anew"));
    }
}
