//! Each of keepalived's checkers against a real program: it notices what it should, in the time that keepalived's timing
//! promises.

use std::time::Duration;

use shunt_tests::detection;

/// What a busy machine may add.
const SLACK: Duration = Duration::from_millis(1500);

#[test]
fn every_checker_notices_in_the_promised_time() {
    let rows = detection::measure();
    println!("{}", detection::table(&rows));
    assert!(rows.len() >= 20, "{rows:#?}");
    for row in &rows {
        for (promised, took) in [row.down, row.up] {
            assert!(took <= promised + SLACK, "{row:#?}");
        }
    }
}
