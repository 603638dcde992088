//! From what came back to the name of the fault. Pure: a table of what a probe can see, and what it means.

use super::fault::Fault;

/// What came back of one question.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Reply {
    /// Nothing, or it was not asked.
    #[default]
    Silent,
    /// What should.
    Good,
    /// A RST, or ICMP "port unreachable".
    Refused,
    /// ICMP "prohibited", "too big".
    Rejected,
    /// Something else, in words.
    Wrong(String),
}

/// All that came back in one round.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Evidence {
    /// The service, asked at the VIP and at the real server's own address. (An echo, for a service that is not TCP.)
    pub(super) service_at_vip: Reply,
    pub(super) service_at_real: Reply,
    /// A short echo.
    pub(super) echo_at_vip: Reply,
    pub(super) echo_at_real: Reply,
    /// An echo of the longest packet of the way; none: it was not asked for.
    pub(super) full_echo_at_vip: Option<Reply>,
    /// Whether the VIP is an address of the host, if it complained about a malformed packet.
    pub(super) holds_vip: Option<bool>,
    /// The host, or a router that it sent a probe to, says that the VIP is elsewhere.
    pub(super) passed_on: bool,
    /// The host said that the VIP is at its MAC address.
    pub(super) claims_vip: bool,
    /// Who says that the real server's own address is there.
    pub(super) mac: Option<[u8; 6]>,
    /// Long echoes, and they alone, were lost in the round before too.
    pub(super) lost_long_before: bool,
}

impl Evidence {
    /// Whether short echoes come back and long ones do not, and nobody says why.
    pub(super) fn loses_long(&self) -> bool {
        self.service_at_vip == Reply::Good
            && self.echo_at_vip == Reply::Good
            && self.full_echo_at_vip == Some(Reply::Silent)
    }
}

/// What a round says of a real server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// It serves the VIP; a fault that does not keep it from that may be there.
    Serves(Option<Fault>),
    /// It does not.
    Fails(Fault),
    /// Nothing can be said: the service is not TCP, and the host answers no echo at all.
    Unclear,
}

/// The finding; `mac` is where frames for the real server go, `full` the length of the long echo, `echo_only` says that the
/// service is not TCP.
pub(super) fn diagnose(evidence: &Evidence, mac: [u8; 6], full: u16, echo_only: bool) -> Finding {
    let answers_arp = || evidence.claims_vip.then_some(Fault::AnswersArp);
    if evidence.service_at_vip == Reply::Good {
        // Silence is weak: a long echo, three times, is lost sooner than a short one. Said aloud it is certain.
        let narrow = evidence.full_echo_at_vip == Some(Reply::Rejected)
            || evidence.loses_long() && evidence.lost_long_before;
        return match narrow {
            true => Finding::Fails(Fault::MtuTooSmall { size: full }),
            false => Finding::Serves(answers_arp()),
        };
    }
    if let Some(found) = evidence.mac.filter(|found| *found != mac) {
        return Finding::Fails(Fault::MacChanged { expected: mac, found });
    }
    let reached = evidence.service_at_real != Reply::Silent || evidence.echo_at_real != Reply::Silent;
    if echo_only && evidence.echo_at_real != Reply::Good && evidence.mac.is_some() {
        return Finding::Unclear;
    }
    let holds =
        evidence.holds_vip == Some(true) || evidence.claims_vip || evidence.echo_at_vip == Reply::Good;
    Finding::Fails(match &evidence.service_at_vip {
        Reply::Wrong(what) => {
            let also_at_real = !matches!(evidence.service_at_real, Reply::Good);
            Fault::WrongAnswer { what: what.clone(), also_at_real }
        }
        Reply::Refused if evidence.service_at_real == Reply::Good => Fault::PortClosedOnVip,
        Reply::Refused => Fault::PortClosed,
        Reply::Rejected => Fault::Filtered { also_at_real: evidence.service_at_real == Reply::Rejected },
        Reply::Silent | Reply::Good if evidence.passed_on => Fault::VipMissing,
        Reply::Silent | Reply::Good if holds => {
            Fault::Filtered { also_at_real: !echo_only && evidence.service_at_real == Reply::Silent }
        }
        Reply::Silent | Reply::Good if reached || evidence.holds_vip == Some(false) => Fault::VipMissing,
        Reply::Silent | Reply::Good if evidence.mac.is_some() => Fault::Filtered { also_at_real: true },
        Reply::Silent | Reply::Good => Fault::HostDead,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Reply::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x21];
    const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

    /// A host that is well but for the VIP, which is silent.
    fn silent_vip() -> Evidence {
        Evidence {
            service_at_real: Good,
            echo_at_real: Good,
            mac: Some(MAC),
            full_echo_at_vip: Some(Silent),
            ..Evidence::default()
        }
    }

    fn well() -> Evidence {
        Evidence { service_at_vip: Good, full_echo_at_vip: Some(Good), ..Evidence::default() }
    }

    #[test]
    fn each_fault_has_its_signs() {
        let fails = Finding::Fails;
        let filtered = |also_at_real| fails(Fault::Filtered { also_at_real });
        let wrong = |also_at_real| fails(Fault::WrongAnswer { what: "status 503".into(), also_at_real });
        let table: Vec<(&str, Evidence, Finding)> = vec![
            ("all is well", well(), Finding::Serves(None)),
            (
                "the classic",
                Evidence { claims_vip: true, ..well() },
                Finding::Serves(Some(Fault::AnswersArp)),
            ),
            ("no echo at all", Evidence { full_echo_at_vip: Some(Silent), ..well() }, Finding::Serves(None)),
            (
                "only short echoes, once",
                Evidence { full_echo_at_vip: Some(Silent), echo_at_vip: Good, ..well() },
                Finding::Serves(None),
            ),
            (
                "only short echoes, again",
                Evidence {
                    full_echo_at_vip: Some(Silent),
                    echo_at_vip: Good,
                    lost_long_before: true,
                    ..well()
                },
                fails(Fault::MtuTooSmall { size: 1500 }),
            ),
            (
                "somebody says that it is too long",
                Evidence { full_echo_at_vip: Some(Rejected), ..well() },
                fails(Fault::MtuTooSmall { size: 1500 }),
            ),
            (
                "long echoes were lost, and are no more",
                Evidence { echo_at_vip: Good, lost_long_before: true, ..well() },
                Finding::Serves(None),
            ),
            (
                "long echoes were not asked for",
                Evidence { full_echo_at_vip: None, echo_at_vip: Good, ..well() },
                Finding::Serves(None),
            ),
            ("nothing at all", Evidence::default(), fails(Fault::HostDead)),
            ("only ARP", Evidence { mac: Some(MAC), ..Evidence::default() }, filtered(true)),
            (
                "ARP from somebody else",
                Evidence { mac: Some(OTHER), ..silent_vip() },
                fails(Fault::MacChanged { expected: MAC, found: OTHER }),
            ),
            ("a silent VIP", silent_vip(), fails(Fault::VipMissing)),
            (
                "it does not know the VIP",
                Evidence { holds_vip: Some(false), ..silent_vip() },
                fails(Fault::VipMissing),
            ),
            (
                "it does not know the VIP, and runs nothing",
                Evidence { holds_vip: Some(false), service_at_real: Refused, ..silent_vip() },
                fails(Fault::VipMissing),
            ),
            ("it forwards", Evidence { passed_on: true, ..silent_vip() }, fails(Fault::VipMissing)),
            ("it has the VIP", Evidence { holds_vip: Some(true), ..silent_vip() }, filtered(false)),
            ("its VIP answers an echo", Evidence { echo_at_vip: Good, ..silent_vip() }, filtered(false)),
            (
                "it drops at both addresses",
                Evidence { holds_vip: Some(true), service_at_real: Silent, ..silent_vip() },
                filtered(true),
            ),
            ("it rejects", Evidence { service_at_vip: Rejected, ..silent_vip() }, filtered(false)),
            (
                "closed on the VIP",
                Evidence { service_at_vip: Refused, ..silent_vip() },
                fails(Fault::PortClosedOnVip),
            ),
            (
                "closed everywhere",
                Evidence { service_at_vip: Refused, service_at_real: Refused, ..silent_vip() },
                fails(Fault::PortClosed),
            ),
            (
                "wrong on the VIP",
                Evidence { service_at_vip: Wrong("status 503".into()), ..silent_vip() },
                wrong(false),
            ),
            (
                "wrong everywhere",
                Evidence {
                    service_at_vip: Wrong("status 503".into()),
                    service_at_real: Wrong("status 503".into()),
                    ..silent_vip()
                },
                wrong(true),
            ),
        ];
        for (what, evidence, finding) in table {
            assert_eq!(diagnose(&evidence, MAC, 1500, false), finding, "{what}");
        }
    }

    #[test]
    fn an_echo_alone_says_something_only_of_a_host_that_answers_echoes() {
        let silent = Evidence { service_at_real: Silent, ..silent_vip() };
        let finding = |evidence: &Evidence| diagnose(evidence, MAC, 1500, true);
        assert_eq!(finding(&silent), Finding::Fails(Fault::VipMissing));
        assert_eq!(
            finding(&Evidence { holds_vip: Some(true), ..silent.clone() }),
            Finding::Fails(Fault::Filtered { also_at_real: false })
        );
        assert_eq!(finding(&Evidence { echo_at_real: Silent, ..silent }), Finding::Unclear);
        assert_eq!(finding(&Evidence::default()), Finding::Fails(Fault::HostDead));
    }
}
