//! Checkers: what is inherited, and what each kind asks.

use std::time::Duration;

use super::good;
use crate::model::{HealthCheck, Http, HttpVersion, Pattern, Probe, Start, Tls, User};

/// The checks of a real server with these lines, in a virtual server with those.
fn checks(virtual_server: &str, real_server: &str) -> Vec<HealthCheck> {
    let text = format!(
        "global_defs {{\n}}\ntrack_file load {{\nfile /run/load\nweight 3\n}}\nvirtual_server 198.18.0.100 80 {{\nlb_kind DR\n\
         protocol TCP\n{virtual_server}\nreal_server 198.18.0.11 80 {{\n{real_server}\n}}\n}}\n"
    );
    good(&text).model.services.remove(0).reals.remove(0).checks
}

fn http(real_server: &str) -> Http {
    match checks("", real_server).remove(0).probe {
        Probe::Http(http) => http,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_checker_leaves_out_is_the_real_servers_then_the_virtual_servers() {
    let seconds = |check: &HealthCheck| {
        let timing = &check.timing;
        let times = [Some(timing.interval), Some(timing.timeout), timing.retry, timing.warmup];
        (times.map(|time| time.unwrap().as_secs()), timing.fall, check.start)
    };
    let of_service = "delay_loop 10\nretry 2\ndelay_before_retry 4\nwarmup 5\nconnect_timeout 6\nalpha";
    let found = checks(
        of_service,
        "retry 3\nconnect_timeout 7\nTCP_CHECK {\n}\nTCP_CHECK {\nretry 0\nalpha off\nwarmup 0\ndelay_loop 2\n}",
    );
    assert_eq!(seconds(&found[0]), ([10, 7, 4, 5], 4, Start::Unknown));
    assert_eq!(seconds(&found[1]), ([2, 7, 4, 0], 1, Start::Up));
    let defaults = checks(
        "delay_loop 9",
        "SSL_GET {\nurl {\npath /\n}\n}\nDNS_CHECK {\n}\nMISC_CHECK {\nmisc_path /bin/true\n}",
    );
    assert_eq!(seconds(&defaults[0]), ([9, 5, 3, 9], 2, Start::Up));
    assert_eq!(seconds(&defaults[1]), ([9, 5, 9, 9], 4, Start::Up));
    assert_eq!(seconds(&defaults[2]), ([9, 9, 1, 9], 1, Start::Up));
}

#[test]
fn requests_have_the_nearest_host_and_tls_asks_for_it() {
    let of_check = "virtualhost check.example.com\n";
    let text = format!(
        "SSL_GET {{\nenable_sni\n{of_check}http_protocol 1.1\nurl {{\npath /a\n}}\nurl {{\npath /b\nvirtualhost url.example.com:444\n}}\n\
         url {{\npath /c\n}}\n}}"
    );
    let found = checks("virtualhost service.example.com", &text);
    let probes: Vec<Http> = found
        .into_iter()
        .map(|check| match check.probe {
            Probe::Http(http) => http,
            other => panic!("{other:?}"),
        })
        .collect();
    // One check for each name: all of them must be up.
    let sni = |name: &str| Some(Tls { server_name: Some(name.into()), verify: None });
    assert_eq!(
        probes.iter().map(|http| http.tls.clone()).collect::<Vec<_>>(),
        [sni("check.example.com"), sni("url.example.com")]
    );
    let paths: Vec<Vec<&str>> = probes
        .iter()
        .map(|http| http.requests.iter().map(|request| request.path.as_str()).collect())
        .collect();
    assert_eq!(paths, [vec!["/a", "/c"], vec!["/b"]]);
    assert!(probes.iter().all(|http| http.version == HttpVersion::Http11));
    assert_eq!(probes[0].host.as_deref(), Some("check.example.com"));
    let inherited = checks("virtualhost service.example.com", "HTTP_GET {\nurl {\npath /\n}\n}");
    assert!(
        matches!(&inherited[0].probe, Probe::Http(http) if http.host.as_deref() == Some("service.example.com"))
    );
}

#[test]
fn an_answer_is_good_by_its_status_its_digest_and_its_body() {
    let mut http = http(
        "HTTP_GET {\nurl {\npath /\nstatus_code 200 301-302\nstatus_code 404\n\
         digest 9b3a0c85a887a256d6939da88aabd8cd\nregex \"^ok$\"\nregex_options caseless\nregex_options dotall\n\
         regex_no_match\nregex_min_offset 1\nregex_max_offset 9\n}\n}",
    );
    let request = http.requests.remove(0);
    assert_eq!(request.status, [(200, 200), (301, 302), (404, 404)]);
    assert_eq!(request.digest.unwrap()[..2], [0x9b, 0x3a]);
    let pattern = Pattern { expression: r"(?is)^ok(?:\n?\z)".into(), negated: true, first: 1, last: Some(9) };
    assert_eq!(request.pattern, Some(pattern));
}

#[test]
fn each_host_of_an_smtp_check_is_a_check() {
    let found = checks(
        "",
        "SMTP_CHECK {\nhelo_name lb.example.com\nretry 2\nhost {\nconnect_ip 198.18.0.21\nconnect_port 2525\n}\n\
         host {\nconnect_timeout 9\n}\n}",
    );
    let ends: Vec<_> = found
        .iter()
        .map(|check| {
            let ip = check.target.address.map(|address| address.to_string());
            (ip, check.target.port, check.timing.timeout.as_secs(), check.timing.fall)
        })
        .collect();
    assert_eq!(ends, [(Some("198.18.0.21".into()), 2525, 5, 3), (None, 80, 9, 3)]);
    assert_eq!(checks("", "SMTP_CHECK {\nconnect_port 25\nhost {\nconnect_port 26\n}\n}").len(), 2);
}

#[test]
fn a_program_has_its_user_and_its_time() {
    let found = checks(
        "",
        "MISC_CHECK {\nmisc_path \"/usr/bin/check -x 'a b'\"\nmisc_timeout 4\nmisc_dynamic\nuser bob staff\n}",
    );
    let Probe::Script(script) = &found[0].probe else { panic!("{found:?}") };
    assert_eq!(script.command.argv, ["/usr/bin/check", "-x", "a b"]);
    assert_eq!(script.command.user, Some(User { name: "bob".into(), group: Some("staff".into()) }));
    assert_eq!(script.command.timeout, Some(Duration::from_secs(4)));
    assert!(script.sets_weight);
}

#[test]
fn a_number_in_a_file_has_the_weight_of_the_check_or_of_the_file() {
    let factor =
        |lines: &str| match &checks("", &format!("FILE_CHECK {{\ntrack_file load\n{lines}\n}}"))[0].probe {
            Probe::File(file) => (file.path.display().to_string(), file.factor),
            other => panic!("{other:?}"),
        };
    assert_eq!(factor(""), ("/run/load".into(), 3));
    assert_eq!(factor("weight 2"), ("/run/load".into(), 2));
    assert_eq!(factor("weight 2 reverse"), ("/run/load".into(), -2));
    assert_eq!(factor("weight 0"), ("/run/load".into(), 0));
}

#[test]
fn a_datagram_waits_for_an_answer_if_one_is_required() {
    let udp = |lines: &str| match checks("", &format!("UDP_CHECK {{\n{lines}\n}}")).remove(0).probe {
        Probe::Udp(udp) => udp,
        other => panic!("{other:?}"),
    };
    assert_eq!(udp("").reply, None);
    assert_eq!(udp("payload 0a0b 0c").payload, [10, 11, 12]);
    assert_eq!(udp("require_reply").reply, Some((0, 255)));
    assert_eq!(udp("require_reply\nmin_reply_length 4\nmax_reply_length 300").reply, Some((4, 300)));
}
