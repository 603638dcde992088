//! What has changed between two moments, as news for whoever is told ([`crate::notify`]).
//!
//! Which changes are news is keepalived's: a real server that is up at the start is none unless `rs_init_notifies` asks
//! for it, its first success under `alpha` is one; a quorum is told of from the start on, by mail only when it changes
//! later.

use hashbrown::HashMap;

use crate::compile::Standing;
use crate::health::RealKey;
use crate::model::{Model, RealServer, VirtualService, Vrrp};
use crate::notify::{Cause, News, Told};
use crate::quorum::Change;
use crate::vrrp::State;
use crate::vrrp::thread::Event;

/// How each real server stands.
pub type Standings = HashMap<RealKey, Standing>;

/// News of the real servers of these services of a model, that stood as `before`.
pub fn of_reals<'a>(
    model: &Model,
    services: impl IntoIterator<Item = &'a VirtualService>,
    before: &Standings,
    now: &Standings,
) -> Vec<News> {
    let mut news = Vec::new();
    for service in services {
        for real in &service.reals {
            let key = (service.key, real.address);
            let told = match (before.get(&key), now.get(&key)) {
                (Some(Standing::Up), Some(Standing::Down(why))) => Some((false, why.clone())),
                (None | Some(Standing::Waiting(_)), Some(Standing::Down(why))) => Some((false, why.clone())),
                (Some(Standing::Down(_)), Some(Standing::Up)) => Some((true, String::new())),
                (Some(Standing::Waiting(_)), Some(Standing::Up)) if is_awaited(real) => {
                    Some((true, String::new()))
                }
                (None | Some(Standing::Waiting(_)), Some(Standing::Up)) if model.notify.at_start => {
                    Some((true, String::new()))
                }
                _ => None,
            };
            if let Some((up, why)) = told {
                news.push(of_real(service, real, up, Cause::Health(why)));
            }
        }
    }
    news
}

/// News of quorums. One that is gained or lost for the first time is a start, and no mail's worth.
pub fn of_quorums(model: &Model, changes: &[Change], is_ready: bool) -> Vec<News> {
    let find = |change: &Change| model.services.iter().find(|service| service.key == change.service);
    let known = changes.iter().filter_map(|change| Some((find(change)?, change)));
    known
        .map(|(service, change)| {
            let cause = Cause::Health(change.sentence.clone());
            let mut news = of_quorum(service, change.gained, change.weight, cause);
            if let News::Quorum { hooks, .. } = &mut news {
                hooks.mail &= is_ready;
            }
            news
        })
        .collect()
}

/// What is told at the end of services that ask for it (`omega`): who was up is down.
pub fn of_the_end(
    model: &Model,
    standings: &Standings,
    has_quorum: impl Fn(&VirtualService) -> bool,
) -> Vec<News> {
    let mut news = Vec::new();
    for service in model.services.iter().filter(|service| service.omega) {
        let is_up =
            |real: &&RealServer| standings.get(&(service.key, real.address)).is_some_and(Standing::is_up);
        news.extend(
            service.reals.iter().filter(is_up).map(|real| of_real(service, real, false, Cause::Ending)),
        );
        if has_quorum(service) {
            news.push(of_quorum(service, false, 0, Cause::Ending));
        }
    }
    news
}

/// News of real servers that were up, and are no longer configured in a service that tells of its end (`omega`).
pub fn of_removed(before: &Model, now: &Model, standings: &Standings) -> Vec<News> {
    let stays = |service: &VirtualService, real: &RealServer| {
        let same = now.services.iter().filter(|other| other.key == service.key);
        same.flat_map(|service| &service.reals).any(|other| other.address == real.address)
    };
    let mut news = Vec::new();
    for service in before.services.iter().filter(|service| service.omega) {
        for real in service.reals.iter().filter(|real| !stays(service, real)) {
            if standings.get(&(service.key, real.address)).is_some_and(Standing::is_up) {
                news.push(of_real(service, real, false, Cause::Removed));
            }
        }
    }
    news
}

/// What the thread of VRRP tells, for whoever is told of it. (The end is told by [`of_vrrp_end`].)
pub fn of_vrrp(model: &Model, event: &Event) -> Option<News> {
    let router = |name: &str| model.vrrp.routers.iter().find(|router| router.name == name);
    match event {
        Event::Changed { router: name, to, priority, .. } => {
            let (router, state) = (router(name)?, told(*to)?);
            let hooks = router.hooks.clone();
            Some(News::Router { name: name.clone(), hooks, state, priority: *priority })
        }
        Event::GroupChanged { group: name, to } => {
            let group = model.vrrp.groups.iter().find(|group| group.name == *name)?;
            Some(News::Group { name: name.clone(), hooks: group.hooks.clone(), state: told(*to)? })
        }
        Event::PriorityChanged { router: name, state, to, .. } => {
            let (hooks, active) = (router(name)?.hooks.clone(), *state == State::Active);
            Some(News::Priority { name: name.clone(), hooks, active, priority: *to })
        }
        Event::LowerHeard { router: name, own, .. } => {
            let hooks = router(name)?.hooks.clone();
            Some(News::LowerHeard { name: name.clone(), hooks, priority: *own })
        }
        Event::Vmac { .. } | Event::Died(_) => None,
    }
}

/// What is told of virtual routers and their groups that end: those of `before` that `now` has not; none: all, since the
/// director ends.
pub fn of_vrrp_end(before: &Model, now: Option<&Model>) -> Vec<News> {
    let ends = |has: &dyn Fn(&Vrrp) -> bool| now.is_none_or(|now| !has(&now.vrrp));
    let routers = before.vrrp.routers.iter();
    let routers =
        routers.filter(|router| ends(&|now| now.routers.iter().any(|other| other.name == router.name)));
    let groups = before.vrrp.groups.iter();
    let groups = groups.filter(|group| ends(&|now| now.groups.iter().any(|other| other.name == group.name)));
    let routers = routers.map(|router| News::Router {
        name: router.name.clone(),
        hooks: router.hooks.clone(),
        state: Told::Stop,
        priority: router.priority,
    });
    let groups = groups.map(|group| News::Group {
        name: group.name.clone(),
        hooks: group.hooks.clone(),
        state: Told::Stop,
    });
    routers.chain(groups).collect()
}

fn told(state: State) -> Option<Told> {
    match state {
        State::Initialize => None,
        State::Backup => Some(Told::Backup),
        State::Active => Some(Told::Active),
        State::Fault => Some(Told::Fault),
    }
}

/// Whether its first success is news: it was not assumed to be well.
fn is_awaited(real: &RealServer) -> bool {
    real.checks.iter().any(|check| check.start == crate::model::Start::Unknown)
}

fn of_real(service: &VirtualService, real: &RealServer, up: bool, cause: Cause) -> News {
    News::Real {
        service: service.key,
        group: service.group.clone(),
        real: real.address,
        port: service.key.ports.single().unwrap_or(0),
        hooks: real.hooks.clone(),
        up,
        cause,
    }
}

fn of_quorum(service: &VirtualService, up: bool, weight: u64, cause: Cause) -> News {
    News::Quorum {
        service: service.key,
        group: service.group.clone(),
        hooks: service.quorum.hooks.clone(),
        up,
        needed: service.quorum.needed,
        hysteresis: service.quorum.hysteresis,
        weight: u32::try_from(weight).unwrap_or(u32::MAX),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Start;

    fn model() -> Model {
        let text = include_str!("../../configs/minimal.toml");
        let mut model = crate::config::parse("minimal.toml", text).unwrap().model;
        model.services[0].reals.truncate(1);
        model
    }

    fn at(model: &Model, standing: Option<Standing>) -> Standings {
        let service = &model.services[0];
        standing.map(|standing| ((service.key, service.reals[0].address), standing)).into_iter().collect()
    }

    fn told(model: &Model, before: Option<Standing>, now: Standing) -> Option<bool> {
        let news = of_reals(model, &model.services, &at(model, before), &at(model, Some(now)));
        news.first().map(|news| matches!(news, News::Real { up: true, .. }))
    }

    fn down() -> Standing {
        Standing::Down("connection refused".into())
    }

    #[test]
    fn of_virtual_routers_only_those_are_told_that_end() {
        let text = include_str!("../../configs/pair.toml");
        let model = crate::config::parse("pair.toml", text).unwrap().model;
        let mut without = model.clone();
        without.vrrp.routers.clear();
        let stopped = |news: Vec<News>| matches!(&news[..], [News::Router { name, state: Told::Stop, .. }] if name == "web");
        assert!(stopped(of_vrrp_end(&model, None)));
        assert!(stopped(of_vrrp_end(&model, Some(&without))));
        assert_eq!(of_vrrp_end(&model, Some(&model)), []);
    }

    #[test]
    fn who_is_up_at_the_start_is_no_news_unless_asked_for() {
        let mut model = model();
        assert_eq!(told(&model, None, Standing::Up), None);
        assert_eq!(told(&model, Some(Standing::Waiting("")), Standing::Up), None);
        assert_eq!(told(&model, None, down()), Some(false));
        model.notify.at_start = true;
        assert_eq!(told(&model, None, Standing::Up), Some(true));
    }

    #[test]
    fn a_first_success_that_was_waited_for_is_news() {
        let mut model = model();
        let probe = crate::model::Probe::Tcp;
        model.services[0].reals[0].checks = vec![crate::model::HealthCheck::new(probe, 80)];
        assert_eq!(told(&model, Some(Standing::Waiting("")), Standing::Up), Some(true));
        model.services[0].reals[0].checks[0].start = Start::Up;
        assert_eq!(told(&model, Some(Standing::Waiting("")), Standing::Up), None);
    }

    #[test]
    fn a_change_is_told_once() {
        let model = model();
        assert_eq!(told(&model, Some(Standing::Up), down()), Some(false));
        assert_eq!(told(&model, Some(down()), Standing::Down("timed out".into())), None);
        assert_eq!(told(&model, Some(down()), Standing::Up), Some(true));
        assert_eq!(told(&model, Some(Standing::Up), Standing::Up), None);
    }

    #[test]
    fn the_end_is_told_of_where_it_is_asked_for() {
        let mut model = model();
        let standings = at(&model, Some(Standing::Up));
        assert_eq!(of_the_end(&model, &standings, |_| true), []);
        model.services[0].omega = true;
        assert_eq!(of_the_end(&model, &standings, |_| true).len(), 2);
        assert_eq!(of_the_end(&model, &at(&model, Some(down())), |_| false), []);
        let mut without = model.clone();
        without.services[0].reals.clear();
        assert_eq!(of_removed(&model, &without, &standings).len(), 1);
        assert_eq!(of_removed(&model, &model, &standings), []);
    }
}
