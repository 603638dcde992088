//! Health checks come, change and go by reload, and nobody who is well is taken out for it.

use std::time::Duration;

use shunt_tests::address::VIP;
use shunt_tests::config;
use shunt_tests::tally::list;
use shunt_tests::{Daemon, Director, Host, Lab, Service, WebServer, payload, shown, wait};

const SOON: Duration = Duration::from_secs(20);
/// Slow, so that a server that had to wait for its first result would be missed for long.
const SLOW: &str = r#"{ type = "tcp", interval = "5s", timeout = "1s" }"#;
const SLOW_ELSEWHERE: &str = r#"{ type = "tcp", interval = "5s", timeout = "1s", port = 8080 }"#;

#[test]
fn a_check_that_is_added_or_changed_moves_no_flow_of_a_healthy_server() {
    let lab = Lab::builder().build();
    let servers: Vec<WebServer> =
        lab.real_servers().map(|host| WebServer::start_on(&lab, host, &[80, 8080])).collect();
    let unchecked = || Service::tcp(80).all(&lab);
    let mut director = Director::start(&lab, 0, &config::file(&lab, &[unchecked()]));

    let file = lab.file("upload");
    payload::write(&file, 24 << 20, 3).expect("there is room for it");
    let mut uploads: Vec<_> =
        (0..6).map(|n| lab.client(0).upload(VIP, &file, &format!("part{n}"), Some("4M"))).collect();
    wait::until(SOON, "six established flows", || {
        let view = director.show("flows");
        (list(&view["flows"]).iter().filter(|flow| flow["state"] == "established").count() == 6).then_some(())
    });
    for check in [SLOW, SLOW_ELSEWHERE] {
        director.reload(&config::file(&lab, &[unchecked().checked(check)])).unwrap();
        let before = director.show("workers")["workers"][0]["rx_frames"].as_u64();
        wait::until(SOON, "more frames of the uploads", || {
            (director.show("workers")["workers"][0]["rx_frames"].as_u64() > before.map(|n| n + 50))
                .then_some(())
        });
    }
    for upload in &mut uploads {
        assert!(upload.wait(SOON).success());
    }
    let workers = director.show("workers");
    assert_eq!(workers["workers"][0]["flows"]["moved"], 0);
    assert_eq!(workers["workers"][0]["drops"], 0);
    let digest = payload::digest(&file);
    for n in 0..6 {
        let name = format!("part{n}");
        let arrived: Vec<_> = servers.iter().filter_map(|server| server.uploaded(&name)).collect();
        assert!(matches!(&arrived[..], [path] if payload::digest(path) == digest), "{name}: {arrived:?}");
    }
}

#[test]
fn a_certificate_of_somebody_else_or_for_another_name_is_a_failed_check() {
    let lab = Lab::builder().build();
    let [first, second] = [0, 1].map(|n| lab.real_server(n));
    let trusted = Daemon::haproxy(&lab, first, 443, "www.example.com");
    let mut other = Daemon::haproxy(&lab, second, 443, "www.example.com");
    let service = |verify: &str| {
        let ca = trusted.certificate();
        let check = format!(
            "check = {{ type = \"https\", host = \"www.example.com\", interval = \"500ms\", timeout = \"400ms\", \
             fall = 1, verify = {verify}, ca = \"{}\" }}",
            ca.display()
        );
        config::file(&lab, &[Service::tcp(443).with("vip_check = false").with(&check).all(&lab)])
    };
    let mut director = Director::start(&lab, 0, &service("true"));
    let reason = |server: &Host| shown::real(&director, server.address())["reason"].to_string();
    shown::until_state(&director, first.address(), "up");
    shown::until_state(&director, second.address(), "down");
    assert!(reason(second).contains("certificate"), "{}", reason(second));

    // It gets the certificate that is trusted: by that it was the certificate.
    other.stop();
    std::fs::copy(trusted.folder().join("both.pem"), other.folder().join("both.pem")).unwrap();
    other.start_again();
    shown::until_state(&director, second.address(), "up");

    director.reload(&service("\"mail.example.com\"")).unwrap();
    for server in [first, second] {
        shown::until_state(&director, server.address(), "down");
        let reason = shown::real(&director, server.address())["reason"].to_string();
        assert!(reason.contains("mail.example.com"), "{reason}");
    }
}
