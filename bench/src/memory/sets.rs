//! What is measured side by side.

use shunt_dataplane::forwarding::Options;
use shunt_dataplane::schedule::{HashFlags, Policy};

use crate::memory::storm::Control;
use crate::memory::{Row, pass, stage, storm, sweep};
use crate::traffic::{FRAME, Family, IPV6_FRAME, Shape, TAGGED_FRAME};

/// Rows of one name.
pub struct Set {
    /// Its name.
    pub name: &'static str,
    /// Makes what takes turns, sitting by sitting: of each the first row writes frames, and the second is the floor. A large table
    /// has a sitting to itself, with the row of 1,000 flows that it is compared with: it shall find in the last cache what it left
    /// there, as it would on a machine of its own.
    pub sittings: fn() -> Vec<Vec<Row>>,
}

/// All of them.
pub const SETS: [Set; 11] = [
    Set { name: "stage", sittings: || vec![stages()] },
    Set { name: "flows", sittings: flows },
    Set { name: "zipf", sittings: zipf },
    Set { name: "length", sittings: || vec![lengths()] },
    Set { name: "fresh", sittings: || vec![fresh()] },
    Set { name: "family", sittings: || vec![family()] },
    Set { name: "services", sittings: || vec![services()] },
    Set { name: "scheduler", sittings: || vec![schedulers()] },
    Set { name: "cached", sittings: || vec![cached()] },
    Set { name: "publish", sittings: || vec![publish()] },
    Set { name: "flood", sittings: flood },
];

/// What all are compared with.
const FEW: usize = 1_000;

fn floor(flows: usize) -> Vec<Row> {
    vec![stage::write::<FRAME>(Shape::of(flows), 0), stage::floor::<FRAME>(Shape::of(flows), 0)]
}

/// Adds the writing of frames of this shape, and the decision about them; it is compared with the first that was added.
fn add<const N: usize>(rows: &mut Vec<Row>, name: &str, of: impl ToString, shape: Shape) {
    const FIRST: usize = 3;
    let at = rows.len();
    rows.push(stage::write::<N>(shape, at));
    let row = pass::director::<N>(name, of, shape, Options::default(), at);
    rows.push(if rows.len() == FIRST { row } else { row.against(FIRST) });
}

fn stages() -> Vec<Row> {
    let mut rows = floor(FEW);
    let here = rows.len();
    rows.push(stage::write_here(here));
    rows.push(stage::plain(here));
    let careful = rows.len();
    rows.push(stage::parsing::<FRAME>("stage/parse", Shape::of(FEW), here));
    rows.push(stage::parsing_with_pnet(here).against(careful));
    rows.push(stage::hashing(here));
    rows.extend([1, 100, 1_000, 10_000].map(|count| stage::lookup(count, here)));
    let find = rows.len();
    rows.push(stage::finding(FEW, here));
    rows.push(stage::finding_with_hashbrown(FEW, here).against(find));
    rows
}

fn flows() -> Vec<Vec<Row>> {
    let director =
        |flows, at| pass::director::<FRAME>("pass/director", flows, Shape::of(flows), Options::default(), at);
    let hashbrown = |flows, at| pass::hashbrown::<FRAME>("pass/hashbrown", Shape::of(flows), at);
    let worker = |flows, at| pass::worker::<FRAME>(Shape::of(flows), at);
    let subjects: [&dyn Fn(usize, usize) -> Row; 3] = [&director, &hashbrown, &worker];
    let mut sittings = Vec::new();
    for flows in [1, 100_000, 1_000_000, 10_000_000] {
        for subject in subjects {
            sittings.push(beside_few(flows, subject));
        }
    }
    for subject in [subjects[0], subjects[1]] {
        sittings.push(beside_few(10_000_000, &|flows, at| {
            let row = subject(flows, at);
            if flows == FEW { row } else { sweep::swept(row) }
        }));
    }
    sittings
}

/// A sitting of a subject with few flows, and with so many.
fn beside_few(flows: usize, subject: &dyn Fn(usize, usize) -> Row) -> Vec<Row> {
    let mut rows = floor(FEW);
    rows.push(subject(FEW, 0));
    rows.push(stage::write::<FRAME>(Shape::of(flows), 3));
    rows.push(subject(flows, 3).against(2));
    rows
}

/// The floor and the decision with frames that are in the first cache.
fn cached() -> Vec<Row> {
    vec![stage::write_here(0), stage::floor_here(0), pass::director_here(0)]
}

fn family() -> Vec<Row> {
    let mut rows = floor(FEW);
    let tagged = Shape { family: Family::Tagged, ..Shape::of(FEW) };
    let ipv6 = Shape { family: Family::Ipv6, ..Shape::of(FEW) };
    let options = Options::default();
    rows.push(pass::director::<FRAME>("family", "ipv4", Shape::of(FEW), options, 0));
    rows.push(stage::write::<TAGGED_FRAME>(tagged, 3));
    rows.push(pass::director::<TAGGED_FRAME>("family", "tagged", tagged, options, 3).against(2));
    rows.push(stage::write::<IPV6_FRAME>(ipv6, 5));
    rows.push(pass::director::<IPV6_FRAME>("family", "ipv6", ipv6, options, 5).against(2));
    rows
}

fn zipf() -> Vec<Vec<Row>> {
    let sitting = |flows| {
        let mut rows = floor(FEW);
        for flows in [FEW, flows] {
            add::<FRAME>(&mut rows, "zipf", flows, Shape { is_zipf: true, ..Shape::of(flows) });
        }
        rows
    };
    [1_000_000, 10_000_000].map(sitting).into()
}

fn lengths() -> Vec<Row> {
    fn of<const N: usize>(rows: &mut Vec<Row>) {
        add::<N>(rows, "length", N + 4, Shape::of(FEW));
    }
    let mut rows = floor(FEW);
    of::<FRAME>(&mut rows);
    of::<508>(&mut rows);
    of::<1_514>(&mut rows);
    rows
}

fn fresh() -> Vec<Row> {
    let mut rows = floor(FEW);
    for share in [0, 1, 100] {
        add::<FRAME>(&mut rows, "fresh", share, Shape { fresh: share, ..Shape::of(FEW) });
    }
    rows
}

fn services() -> Vec<Row> {
    let mut rows = floor(FEW);
    for count in [1, 1_000, 10_000] {
        add::<FRAME>(&mut rows, "services", count, Shape { services: count, ..Shape::of(100_000) });
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
    let shape = Shape { fresh: 100, ..Shape::of(FEW) };
    let mut rows = floor(FEW);
    rows.push(stage::write::<FRAME>(shape, 2));
    for policy in policies {
        let options = Options { policy, ..Options::default() };
        let name = format!("{policy:?}").to_lowercase();
        let name = name.split('(').next().unwrap_or_default();
        let row = pass::director::<FRAME>("scheduler", name, shape, options, 2);
        rows.push(if rows.len() == 3 { row } else { row.against(3) });
    }
    rows
}

fn publish() -> Vec<Row> {
    let mut rows = floor(FEW);
    rows.push(storm::published(Control::Rests, 0));
    rows.push(storm::published(Control::Builds, 0).against(2));
    rows.push(storm::published(Control::Publishes, 0).against(3));
    rows
}

fn flood() -> Vec<Vec<Row>> {
    let sitting = |flows| {
        let mut rows = floor(FEW);
        rows.push(stage::write::<FRAME>(Shape::of(flows), 2));
        rows.push(storm::flooded(flows, false, 2));
        rows.push(storm::flooded(flows, true, 2).against(3));
        rows
    };
    [FEW, 1_000_000].map(sitting).into()
}
