//! Whether the addresses of a configuration are where they should be: real servers on the link, and a VIP with nobody but the
//! active director.
//!
//! RFC 826, RFC 4861, RFC 5227.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use futures::future::join_all;
use shunt_dataplane::packet::MacAddress;

use super::report::Finding;
use super::routers;
use crate::config::{Loaded, counted};
use crate::health::vip::who_has::who_has;
use crate::link::Link;
use crate::model::Vlan;
use crate::survey::Survey;

type Mac = [u8; 6];

/// Who answered for which address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) servers: BTreeMap<IpAddr, Server>,
    pub(super) vips: BTreeMap<IpAddr, BTreeSet<Mac>>,
    /// This machine's.
    pub(super) own: BTreeSet<Mac>,
    /// Of other directors, which hold VIPs when they are active.
    pub(super) directors: BTreeSet<Mac>,
    /// Interfaces that could not be asked, and why.
    pub(super) unasked: BTreeMap<String, String>,
}

/// A real server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) interface: String,
    /// Its MAC address, if the configuration has it: nobody needs to answer then.
    pub(super) fixed: Option<Mac>,
    /// Who says that it has the address.
    pub(super) macs: BTreeSet<Mac>,
}

impl Facts {
    /// Asks on all interfaces of the director at once. `links`: all of the machine.
    pub(super) async fn gather<'a>(
        loaded: &Loaded,
        survey: &Survey,
        links: impl Iterator<Item = &'a Link>,
    ) -> Facts {
        let vips: HashSet<IpAddr> = loaded
            .model
            .services
            .iter()
            .map(|service| service.key.vip)
            .chain(loaded.model.vrrp.addresses())
            .collect();
        let mut facts = Facts { own: links.map(|link| link.mac).collect(), ..Facts::default() };
        facts.vips = vips.iter().map(|vip| (*vip, BTreeSet::new())).collect();
        let mut questions = vec![BTreeMap::new(); survey.interfaces.len()];
        for about in &mut questions {
            about.extend(vips.iter().map(|vip| (*vip, Vlan::Keep)));
        }
        for real in loaded.model.services.iter().flat_map(|service| service.servers()) {
            let Some((way, link)) = survey.way(real) else { continue };
            questions[way.port].insert(real.address, real.vlan);
            let server = Server { interface: link.name.clone(), fixed: real.mac, macs: BTreeSet::new() };
            facts.servers.insert(real.address, server);
        }
        let asked = survey.interfaces.iter().zip(&questions).map(|(link, about)| who_has(link, about, &vips));
        for (link, claims) in survey.interfaces.iter().zip(join_all(asked).await) {
            match claims {
                Ok(claims) => facts.take(claims),
                Err(error) => drop(facts.unasked.insert(link.name.clone(), error.to_string())),
            }
        }
        facts
    }

    /// Finds out which of those who answered for VIPs are the directors at these addresses.
    pub(super) async fn recognize(&mut self, survey: &Survey, directors: &[IpAddr]) {
        let about: BTreeMap<IpAddr, Vlan> = directors.iter().map(|address| (*address, Vlan::Keep)).collect();
        if about.is_empty() || self.vips.values().all(BTreeSet::is_empty) {
            return;
        }
        let vips: HashSet<IpAddr> = self.vips.keys().copied().collect();
        let asked = survey.interfaces.iter().map(|link| who_has(link, &about, &vips));
        for claims in join_all(asked).await.into_iter().flatten() {
            self.directors.extend(claims.into_values().flatten());
        }
    }

    fn take(&mut self, claims: BTreeMap<IpAddr, BTreeSet<Mac>>) {
        for (address, macs) in claims {
            let known = match self.vips.get_mut(&address) {
                Some(known) => known,
                None => &mut self.servers.entry(address).or_default().macs,
            };
            known.extend(macs);
        }
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let unasked = |(name, why): (&String, &String)| {
            Finding::unseen(format!("{name} arp"), &format!("who has the VIPs and real servers: {why}"))
        };
        let mut findings: Vec<Finding> = self.unasked.iter().map(unasked).collect();
        let (mut answering, mut asked) = (0, 0);
        for (address, server) in
            self.servers.iter().filter(|(_, server)| !self.unasked.contains_key(&server.interface))
        {
            asked += 1;
            match server.finding(*address) {
                Some(finding) => findings.push(finding),
                None => answering += 1,
            }
        }
        if answering > 0 {
            let what =
                format!("{answering} of {} on the link, as they should be", counted(asked, "real server"));
            findings.push(Finding::ok("real servers", what));
        }
        if self.unasked.is_empty() {
            findings.extend(self.vips.iter().flat_map(|(vip, macs)| self.holders(*vip, macs)));
        }
        findings
    }

    fn holders(&self, vip: IpAddr, macs: &BTreeSet<Mac>) -> Vec<Finding> {
        let others: Vec<Mac> = macs.difference(&self.own).copied().collect();
        if others.is_empty() {
            return vec![Finding::ok(vip.to_string(), "nobody else says that he has it")];
        }
        others.into_iter().map(|mac| self.holder(vip, mac)).collect()
    }

    fn holder(&self, vip: IpAddr, mac: Mac) -> Finding {
        let check = vip.to_string();
        let is_at =
            |(_, server): &(&IpAddr, &Server)| server.fixed == Some(mac) || server.macs.contains(&mac);
        // One host has addresses of both families: that of the VIP's is the one to speak of.
        let mut hosts: Vec<_> = self.servers.iter().filter(is_at).collect();
        hosts.sort_by_key(|(real, _)| real.is_ipv4() != vip.is_ipv4());
        if let Some((real, _)) = hosts.first() {
            let what = format!(
                "real server {real} ({}) says that it has the VIP: clients may come to it past the director",
                MacAddress(mac)
            );
            return Finding::fail(check, what).run_on(real.to_string(), silence(vip));
        }
        if self.directors.contains(&mac) || routers::is_virtual(mac) {
            return Finding::ok(check, format!("held by the director at {}", MacAddress(mac)));
        }
        let what = format!("{} says that it has the VIP", MacAddress(mac));
        let length = if vip.is_ipv4() { 32 } else { 128 };
        let command = format!(
            "ip -o addr show to {vip}/{length} | while read -r _ device _ address _; do ip addr del $address dev $device; \
             done"
        );
        Finding::fail(check, what).run_on(MacAddress(mac).to_string(), command)
    }
}

impl Server {
    /// What is wrong with it.
    fn finding(&self, address: IpAddr) -> Option<Finding> {
        let check = format!("real server {address}");
        let interface = &self.interface;
        if self.fixed.is_some() {
            return None;
        }
        let macs: Vec<String> = self.macs.iter().map(|mac| MacAddress(*mac).to_string()).collect();
        let asked = if address.is_ipv4() { "ARP" } else { "neighbour solicitations" };
        match macs.len() {
            0 => Some(
                Finding::fail(check, format!("answers no {asked} on {interface}"))
                    .advise("look at its power, cable and switch port; at its console: ip addr show"),
            ),
            1 => None,
            _ => Some(
                Finding::fail(check, format!("is claimed by several hosts: {}", macs.join(", ")))
                    .advise("give each host an address of its own"),
            ),
        }
    }
}

/// What keeps a real server from answering for a VIP.
fn silence(vip: IpAddr) -> String {
    match vip {
        IpAddr::V4(_) => {
            "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2".to_owned()
        }
        // A host answers solicitations for what is on the interface that they come in by.
        IpAddr::V6(_) => format!(
            "ip -o -6 addr show to {vip}/128 | while read -r _ device _ address _; do ip addr del $address dev $device; \
             done; ip addr add {vip}/128 dev lo"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::{Fix, Level};

    const OWN: Mac = [2, 0, 0, 0, 0, 1];
    const REAL: Mac = [2, 0, 0, 0, 0, 0x21];
    const OTHER: Mac = [2, 0, 0, 0, 0, 0x99];

    fn facts(vip: &[Mac]) -> Facts {
        let server = Server { interface: "eth0".into(), fixed: None, macs: BTreeSet::from([REAL]) };
        Facts {
            servers: BTreeMap::from([([192, 0, 2, 21].into(), server)]),
            vips: BTreeMap::from([([192, 0, 2, 10].into(), vip.iter().copied().collect())]),
            own: BTreeSet::from([OWN]),
            ..Facts::default()
        }
    }

    /// The findings about the VIP.
    fn of_vip(facts: &Facts) -> Vec<Finding> {
        facts.findings().into_iter().filter(|finding| finding.check == "192.0.2.10").collect()
    }

    #[test]
    fn a_vip_is_nobodys_or_this_directors() {
        for facts in [facts(&[]), facts(&[OWN])] {
            assert!(facts.findings().iter().all(|finding| finding.level == Level::Ok), "{facts:?}");
        }
    }

    #[test]
    fn a_real_server_that_answers_for_the_vip_is_silenced_and_a_stranger_gives_it_up() {
        let found = of_vip(&facts(&[OWN, REAL, OTHER]));
        assert_eq!(found.iter().map(|f| f.level).collect::<Vec<_>>(), [Level::Fail; 2]);
        let Some(Fix::Elsewhere { on, run }) = &found[0].fix else { panic!("{found:?}") };
        assert_eq!(on, "192.0.2.21");
        assert!(run.contains("arp_ignore=1"), "{run}");
        let Some(Fix::Elsewhere { on, run }) = &found[1].fix else { panic!("{found:?}") };
        assert_eq!(on, "02:00:00:00:00:99");
        assert!(run.starts_with("ip -o addr show to 192.0.2.10/32 "), "{run}");
    }

    #[test]
    fn the_active_director_may_have_the_vip_by_its_own_mac_address_or_a_virtual_one() {
        let known = Facts { directors: BTreeSet::from([OTHER]), ..facts(&[OTHER]) };
        let virtual_mac = facts(&[[0, 0, 0x5e, 0, 1, 51]]);
        for facts in [known, virtual_mac] {
            assert_eq!(of_vip(&facts)[0].level, Level::Ok, "{facts:?}");
        }
    }

    #[test]
    fn a_real_server_that_is_silent_or_there_twice_fails_but_for_one_whose_mac_address_is_given() {
        let address = IpAddr::from([192, 0, 2, 21]);
        let server = |fixed, macs: &[Mac]| Server {
            interface: "eth0".into(),
            fixed,
            macs: macs.iter().copied().collect(),
        };
        let level = |server: Server| server.finding(address).map(|finding| finding.level);
        assert_eq!(level(server(None, &[])), Some(Level::Fail));
        assert_eq!(level(server(None, &[REAL, OTHER])), Some(Level::Fail));
        assert_eq!(level(server(Some(REAL), &[])), None);
        assert_eq!(level(server(None, &[REAL])), None);
    }

    #[test]
    fn what_could_not_be_asked_is_said_and_nothing_is_concluded_from_it() {
        let mut facts = facts(&[]);
        facts.unasked.insert("eth0".into(), "Operation not permitted".into());
        let findings = facts.findings();
        assert_eq!(findings.len(), 1);
        assert!(findings[0].what.starts_with("not looked at: "), "{findings:?}");
    }
}
