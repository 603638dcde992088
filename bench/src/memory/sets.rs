//! What is measured side by side.

use shunt_dataplane::forwarding::Options;
use shunt_dataplane::schedule::{HashFlags, Policy};

use crate::memory::{Row, pass, stage, storm};
use crate::traffic::{FRAME, Family, IPV6_FRAME, Shape, TAGGED_FRAME};

/// Rows that are compared with each other. The first writes frames, the second is the floor.
pub struct Set {
    /// Its name.
    pub name: &'static str,
    /// Makes them.
    pub rows: fn() -> Vec<Row>,
}

/// All of them.
pub const SETS: [Set; 10] = [
    Set { name: "stage", rows: stages },
    Set { name: "flows", rows: flows },
    Set { name: "zipf", rows: zipf },
    Set { name: "length", rows: lengths },
    Set { name: "fresh", rows: fresh },
    Set { name: "family", rows: family },
    Set { name: "services", rows: services },
    Set { name: "scheduler", rows: schedulers },
    Set { name: "publish", rows: publish },
    Set { name: "flood", rows: flood },
];

fn floor(flows: usize) -> Vec<Row> {
    vec![stage::write::<FRAME>(Shape::of(flows), 0), stage::floor::<FRAME>(Shape::of(flows), 0)]
}

fn stages() -> Vec<Row> {
    let mut rows = floor(1_000);
    rows.push(stage::plain(0));
    rows.push(stage::parsing::<FRAME>("stage/parse", Shape::of(1_000), 0));
    rows.push(stage::parsing_with_pnet(0));
    rows.push(stage::hashing(0));
    rows.extend([1, 100, 1_000, 10_000].map(|count| stage::lookup(count, 0)));
    rows.push(stage::finding(1_000, 0));
    rows.push(stage::finding_with_hashbrown(1_000, 0));
    rows
}

fn flows() -> Vec<Row> {
    let mut rows = floor(1_000);
    for flows in [1, 1_000, 100_000, 1_000_000, 10_000_000] {
        let at = rows.len();
        rows.push(stage::write::<FRAME>(Shape::of(flows), at));
        rows.push(pass::director::<FRAME>("pass/director", flows, Shape::of(flows), Options::default(), at));
        rows.push(pass::hashbrown::<FRAME>("pass/hashbrown", Shape::of(flows), at));
        rows.push(pass::worker::<FRAME>(Shape::of(flows), at));
    }
    rows
}

fn family() -> Vec<Row> {
    let mut rows = floor(1_000);
    let tagged = Shape { family: Family::Tagged, ..Shape::of(1_000) };
    let ipv6 = Shape { family: Family::Ipv6, ..Shape::of(1_000) };
    let options = Options::default();
    rows.push(pass::director::<FRAME>("family", "ipv4", Shape::of(1_000), options, 0));
    rows.push(stage::write::<TAGGED_FRAME>(tagged, 3));
    rows.push(pass::director::<TAGGED_FRAME>("family", "tagged", tagged, options, 3));
    rows.push(stage::write::<IPV6_FRAME>(ipv6, 5));
    rows.push(pass::director::<IPV6_FRAME>("family", "ipv6", ipv6, options, 5));
    rows
}

fn zipf() -> Vec<Row> {
    let mut rows = floor(1_000);
    for flows in [1_000, 1_000_000, 10_000_000] {
        let at = rows.len();
        let shape = Shape { is_zipf: true, ..Shape::of(flows) };
        rows.push(stage::write::<FRAME>(shape, at));
        rows.push(pass::director::<FRAME>("zipf", flows, shape, Options::default(), at));
    }
    rows
}

fn lengths() -> Vec<Row> {
    fn of<const N: usize>(rows: &mut Vec<Row>) {
        let at = rows.len();
        rows.push(stage::write::<N>(Shape::of(1_000), at));
        rows.push(pass::director::<N>("length", N + 4, Shape::of(1_000), Options::default(), at));
    }
    let mut rows = floor(1_000);
    of::<FRAME>(&mut rows);
    of::<508>(&mut rows);
    of::<1_514>(&mut rows);
    rows
}

fn fresh() -> Vec<Row> {
    let mut rows = floor(1_000);
    for share in [0, 1, 100] {
        let at = rows.len();
        let shape = Shape { fresh: share, ..Shape::of(1_000) };
        rows.push(stage::write::<FRAME>(shape, at));
        rows.push(pass::director::<FRAME>("fresh", share, shape, Options::default(), at));
    }
    rows
}

fn services() -> Vec<Row> {
    let mut rows = floor(1_000);
    for count in [1, 1_000, 10_000] {
        let at = rows.len();
        let shape = Shape { services: count, ..Shape::of(100_000) };
        rows.push(stage::write::<FRAME>(shape, at));
        rows.push(pass::director::<FRAME>("services", count, shape, Options::default(), at));
    }
    rows
}

/// All packets are the first of their flows, so that the policy has something to say.
fn schedulers() -> Vec<Row> {
    let policies = [
        Policy::default(),
        Policy::Rr,
        Policy::Wrr,
        Policy::Lc,
        Policy::Wlc,
        Policy::Sed,
        Policy::Nq,
        Policy::Sh(HashFlags::default()),
        Policy::Dh,
        Policy::Mh(HashFlags::default()),
        Policy::Fo,
        Policy::Ovf,
        Policy::Lblc,
        Policy::Lblcr,
        Policy::Twos,
    ];
    let shape = Shape { fresh: 100, ..Shape::of(1_000) };
    let mut rows = floor(1_000);
    rows.push(stage::write::<FRAME>(shape, 2));
    for policy in policies {
        let options = Options { policy, ..Options::default() };
        let name = format!("{policy:?}").to_lowercase();
        let name = name.split('(').next().unwrap_or_default();
        rows.push(pass::director::<FRAME>("scheduler", name, shape, options, 2));
    }
    rows
}

fn publish() -> Vec<Row> {
    let mut rows = floor(1_000);
    rows.extend([0, 1_000].map(|rate| storm::published(rate, 0)));
    rows
}

fn flood() -> Vec<Row> {
    let mut rows = floor(1_000);
    for flows in [1_000, 1_000_000] {
        let at = rows.len();
        rows.push(stage::write::<FRAME>(Shape::of(flows), at));
        rows.extend([false, true].map(|is_flooded| storm::flooded(flows, is_flooded, at)));
    }
    rows
}
