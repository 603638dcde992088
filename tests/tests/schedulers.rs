//! Schedulers as clients see them. The sequences are those of IPVS, whose list of real servers begins with the newest:
//! the last one of the file.

use std::time::Duration;

use serde_json::Value;
use shunt_tests::address::VIP;
use shunt_tests::{Client, Director, Lab, Service, Session, WebServer, config, expect, shown, wait};

const SOON: Duration = Duration::from_secs(20);

/// A lab with these weights under `scheduler`; more lines for the service in `lines`.
struct Scene {
    director: Director,
    _servers: Vec<WebServer>,
    lab: Lab,
}

fn scene(clients: usize, weights: &[u32], lines: &[&str]) -> Scene {
    let lab = Lab::builder().clients(clients).real_servers(weights.len()).build();
    let servers = WebServer::on_all(&lab);
    let weights: Vec<Option<u32>> = weights.iter().copied().map(Some).collect();
    // No check: nobody comes or goes, and the scheduler is at its beginning.
    let service = lines.iter().fold(Service::tcp(80), |service, line| service.with(line));
    let director = Director::start(&lab, 0, &config::file(&lab, &[service.weighted(&lab, &weights)]));
    Scene { director, _servers: servers, lab }
}

/// Who answers `count` connections, one after the other: 1 for `rs1`.
#[track_caller]
fn sequence(client: &Client, count: usize) -> Vec<usize> {
    let answers = client.get_many(VIP, count);
    expect::answered(&answers).unwrap();
    let number = |name: &str| name.strip_prefix("rs").and_then(|number| number.parse().ok());
    answers.iter().filter_map(|answer| number(answer.server.as_deref()?)).collect()
}

#[test]
fn rr_gives_each_its_turn() {
    let scene = scene(1, &[1, 1, 1], &["scheduler = \"rr\""]);
    let turns = sequence(scene.lab.client(0), 30);
    assert_eq!(turns.len(), 30);
    let mut first = turns[..3].to_vec();
    first.sort_unstable();
    assert_eq!(first, [1, 2, 3], "{turns:?}");
    assert!(turns.chunks(3).all(|round| round == &turns[..3]), "{turns:?}");
}

#[test]
fn wrr_with_weights_1_2_3_gives_the_sequence_of_ipvs() {
    let scene = scene(1, &[1, 2, 3], &["scheduler = \"wrr\""]);
    assert_eq!(sequence(scene.lab.client(0), 12), [3, 2, 1, 3, 3, 2, 3, 2, 1, 3, 3, 2]);
}

/// Opens `count` connections and keeps them; how many each real server has.
fn held(scene: &Scene, count: usize) -> (Vec<Session>, Vec<usize>) {
    let mut counts = vec![0; scene.lab.real_servers().count()];
    let sessions = (0..count)
        .map(|_| {
            let mut session = Session::open(scene.lab.client(0), (VIP, 80).into());
            let name = session.ask();
            let place = scene.lab.real_servers().position(|server| server.role() == name);
            counts[place.expect("a real server")] += 1;
            session
        })
        .collect();
    (sessions, counts)
}

#[test]
fn wlc_gives_connections_that_stay_by_weight() {
    let scene = scene(1, &[1, 2, 3], &["scheduler = \"wlc\""]);
    let (_sessions, counts) = held(&scene, 12);
    assert_eq!(counts, [2, 4, 6]);
}

#[test]
fn lc_evens_out_what_has_gone() {
    let scene = scene(1, &[1, 1], &["scheduler = \"lc\""]);
    let (sessions, counts) = held(&scene, 10);
    assert_eq!(counts, [5, 5]);
    // Closed on the client's side: inactive from its FIN on, which counts next to nothing.
    drop(sessions);
    wait::until(SOON, "no active flow", || {
        (shown::sum(&scene.director.show("reals"), &["active"]) == 0).then_some(())
    });
    let (_sessions, counts) = held(&scene, 4);
    assert_eq!(counts, [2, 2]);
}

#[test]
fn sh_gives_a_client_the_same_real_server_again_and_again() {
    let scene = scene(4, &[1, 1, 1], &["scheduler = \"sh\""]);
    for client in scene.lab.clients() {
        let mut servers = sequence(client, 10);
        servers.dedup();
        assert_eq!(servers.len(), 1, "{}: {servers:?}", client.role());
    }
}

#[test]
fn sh_with_the_port_gives_a_client_several() {
    let scene = scene(1, &[1, 1, 1], &["scheduler = \"sh\"", "scheduler_flags = [\"sh-port\"]"]);
    let mut servers = sequence(scene.lab.client(0), 60);
    servers.sort_unstable();
    servers.dedup();
    assert_eq!(servers, [1, 2, 3]);
}

#[test]
fn a_client_of_a_persistent_service_stays_with_its_real_server() {
    let scene = scene(2, &[1, 1], &["scheduler = \"rr\"", "persistence = \"300s\""]);
    let mut chosen = Vec::new();
    for client in scene.lab.clients() {
        let mut servers = sequence(client, 10);
        servers.dedup();
        assert_eq!(servers.len(), 1, "{}: {servers:?}", client.role());
        chosen.extend(servers);
    }
    assert_ne!(chosen[0], chosen[1], "the scheduler was asked once for each client");
    let is_template =
        |flow: &Value| flow["state"].as_str().is_some_and(|state| state.starts_with("template"));
    for (client, server) in scene.lab.clients().iter().zip(chosen) {
        let flows = shown::flows_of(&scene.director, client.address());
        let templates: Vec<&Value> = flows.iter().filter(|flow| is_template(flow)).collect();
        let [template] = templates[..] else { panic!("not one template of {}: {flows:#?}", client.role()) };
        assert_eq!(template["real"], scene.lab.real_server(server - 1).address().to_string());
    }
}

#[test]
fn clients_of_one_network_are_persistent_together_where_the_service_says_so() {
    let scene =
        scene(3, &[1, 1], &["scheduler = \"rr\"", "persistence = \"300s\"", "persistence_prefix = 24"]);
    let mut servers: Vec<usize> = scene.lab.clients().iter().flat_map(|client| sequence(client, 5)).collect();
    assert_eq!(servers.len(), 15);
    servers.dedup();
    assert_eq!(servers.len(), 1, "{servers:?}");
}
