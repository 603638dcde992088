//! Namespaces with nothing in them, for those who lay their own cables. They go as a lab goes.

use crate::namespace::{Namespace, feed};
use crate::privilege::SYSTEM_PATH;
use crate::sweep;

/// Some namespaces. Dropping it ends what runs in them and takes them away.
pub struct Bare {
    names: Vec<String>,
    namespaces: Vec<Namespace>,
}

impl Bare {
    /// A namespace for each of `roles`. Panics if that fails, and leaves nothing behind.
    #[track_caller]
    pub fn new(roles: &[&str]) -> Bare {
        sweep::leftovers();
        let lab = sweep::number();
        let names = roles.iter().map(|role| sweep::name(lab, role)).collect();
        // Made before the first namespace: if anything below panics, dropping it takes away what is there by then.
        let mut bare = Bare { names, namespaces: Vec::new() };
        let mut ip = std::process::Command::new("ip");
        ip.args(["-batch", "-"]).env("PATH", SYSTEM_PATH);
        let script: String = bare.names.iter().map(|name| format!("netns add {name}\n")).collect();
        if let Err(complaint) = feed(ip, &script) {
            panic!("no namespaces: {complaint} (are you root?)");
        }
        let open = |name: &String| Namespace::open(name).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        bare.namespaces = bare.names.iter().map(open).collect();
        bare
    }

    /// The namespace of the role number `n`.
    pub fn namespace(&self, n: usize) -> &Namespace {
        &self.namespaces[n]
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        sweep::remove(&self.names);
    }
}
