//! Where a configuration meets the machine.

use shunt::config;
use shunt::link::LinkWatch;
use shunt::netlink::Netlink;
use shunt::survey::{Survey, SurveyError, Way, survey};
use tokio::sync::mpsc::unbounded_channel;

use crate::namespace::Namespace;

/// What there is to say about a service in this namespace: the survey and its warnings, or the faults.
async fn surveyed(service: &str) -> Result<(Survey, String), String> {
    let text =
        format!("[director]\ninterfaces = [\"d0\"]\n[[service]]\nport = 80\nprotocol = \"tcp\"\n{service}");
    let loaded = config::parse("a.toml", &text).unwrap();
    let netlink = Netlink::open().unwrap();
    let links = LinkWatch::start::<shunt::link::Event>(&netlink, unbounded_channel().0).await.unwrap();
    match survey(&netlink, &links.view(), &loaded, &[]).await {
        Ok((survey, warnings)) => Ok((survey, warnings.to_string())),
        Err(SurveyError::Faults(faults)) => Err(faults.to_string()),
        Err(error) => panic!("{error}"),
    }
}

fn way(survey: &Survey) -> Way {
    *survey.ways.values().next().unwrap()
}

#[test]
fn a_service_of_ipv6_is_found_a_way() {
    let (director, _real) = Namespace::pair_with_ipv6();
    director.ip("route replace 2001:db8::/64 dev d0 metric 1 mtu 1400");
    director.block_on(async || {
        let service = "vip = \"2001:db8::10\"\n[[service.real]]\naddress = \"2001:db8::21\"\n";
        let (survey, warnings) = surveyed(service).await.unwrap();
        assert_eq!((way(&survey), warnings.as_str()), (Way { port: 0, mtu: Some(1400) }, ""));
        let faults = surveyed(&service.replace("::10", "::")).await.unwrap_err();
        assert!(
            faults.contains("2001:db8:: is the subnet-router anycast address of 2001:db8::1/64"),
            "{faults}"
        );
        let faults = surveyed(&service.replace("::21", "::1")).await.unwrap_err();
        assert!(faults.contains("2001:db8::1 is an address of this machine"), "{faults}");
    });
}

#[test]
fn an_interface_without_ipv6_can_have_no_vip_of_it() {
    let (director, _real) = Namespace::pair();
    director.sysctl("net.ipv6.conf.d0.disable_ipv6", "1");
    director.block_on(async || {
        let faults = surveyed("vip = \"2001:db8::10\"\n").await.unwrap_err();
        assert!(faults.contains("2001:db8::10 is IPv6, which is switched off on d0"), "{faults}");
        assert!(faults.contains("sysctl -w net.ipv6.conf.d0.disable_ipv6=0"), "{faults}");
        surveyed("vip = \"192.0.2.10\"\n").await.unwrap();
    });
}

#[test]
fn a_vip_that_is_here_for_a_virtual_router_is_nothing_to_complain_of() {
    let (director, _real) = Namespace::pair();
    director.ip("address add 192.0.2.10/24 dev d0");
    director.block_on(async || {
        let service = "vip = \"192.0.2.10\"\n";
        let (_, warnings) = surveyed(service).await.unwrap();
        assert!(warnings.contains("192.0.2.10 is this machine's own address on d0"), "{warnings}");
        let router =
            "[[vrrp.router]]\nname = \"a\"\ninterface = \"d0\"\nvrid = 51\naddresses = [\"192.0.2.10/24\"]\n";
        let (_, warnings) = surveyed(&format!("{service}{router}")).await.unwrap();
        assert_eq!(warnings, "");
    });
}

#[test]
fn a_fixed_mac_address_needs_no_route_but_its_check_does() {
    let (director, _real) = Namespace::pair();
    director.block_on(async || {
        let real = "[[service.real]]\naddress = \"203.0.113.21\"\n";
        let service = |check: &str, real: &str| format!("vip = \"192.0.2.10\"\n{check}{real}");
        assert!(surveyed(&service("", real)).await.unwrap_err().contains("there is no route to it"));
        let real = format!("{real}mac = \"02:00:00:00:00:21\"\n");
        let (survey, warnings) = surveyed(&service("", &real)).await.unwrap();
        assert_eq!((way(&survey), warnings.as_str()), (Way { port: 0, mtu: None }, ""));
        let (_, warnings) = surveyed(&service("[service.check]\ntype = \"tcp\"\n", &real)).await.unwrap();
        assert!(warnings.contains("203.0.113.21 has no route, so its check cannot succeed"), "{warnings}");
    });
}

#[test]
fn a_longer_packet_than_the_interface_takes_is_a_fault_at_its_key() {
    let (director, _real) = Namespace::pair();
    director.block_on(async || {
        let service = "vip = \"192.0.2.10\"\n[[service.real]]\naddress = \"192.0.2.21\"\nmtu = 1501\n";
        let faults = surveyed(service).await.unwrap_err();
        assert!(
            faults.starts_with("a.toml:9:7: error: service.real.mtu: 192.0.2.21 has MTU 1501"),
            "{faults}"
        );
        surveyed(&service.replace("1501", "1500")).await.unwrap();
    });
}
