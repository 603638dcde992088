//! What is measured side by side.

use crate::memory::{Row, pass, stage};
use crate::traffic::{FRAME, Family, IPV6_FRAME, Shape, TAGGED_FRAME};
use shunt_dataplane::forwarding::Options;

/// Rows that are compared with each other. The first writes frames, the second is the floor.
pub struct Set {
    /// Its name.
    pub name: &'static str,
    /// Makes them.
    pub rows: fn() -> Vec<Row>,
}

/// All of them.
pub const SETS: [Set; 3] = [
    Set { name: "stage", rows: stages },
    Set { name: "flows", rows: flows },
    Set { name: "family", rows: family },
];

fn floor(flows: usize) -> Vec<Row> {
    vec![stage::write::<FRAME>(Shape::of(flows), 0), stage::floor::<FRAME>(Shape::of(flows), 0)]
}

fn stages() -> Vec<Row> {
    let mut rows = floor(1_000);
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
