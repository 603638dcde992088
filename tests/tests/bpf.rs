//! The test of the tests' own eye for BPF objects. Alone in its process: whoever lists the kernel's objects opens each for a
//! moment, and an object of another test would be taken for one of this.

use std::time::Duration;

use nix::net::if_::if_nametoindex;
use shunt_dataplane::packet::MacAddress;
use shunt_dataplane::xsk::program::Program;
use shunt_tests::bpf::Objects;
use shunt_tests::{Lab, wait};

#[test]
fn bpf_objects_are_found_while_a_process_has_them_and_missed_when_it_has_not() {
    let lab = Lab::builder().real_servers(0).build();
    let host = lab.director(0);
    let program = host.enter(|| {
        let index = if_nametoindex("eth0").expect("it is there");
        Program::attach("eth0", index, MacAddress(host.mac().0)).expect("nobody else has attached one")
    });
    let objects = Objects::of(std::process::id() as i32);
    assert!(
        !objects.programs.is_empty() && objects.maps.len() >= 4 && !objects.links.is_empty(),
        "{objects:?}"
    );
    assert_eq!(objects.left(), objects);
    drop(program);
    wait::until(Duration::from_secs(20), &format!("{objects:?} to be freed"), || {
        objects.left().is_empty().then_some(())
    });
}
