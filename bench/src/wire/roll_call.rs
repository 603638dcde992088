//! Who can be measured here: a machine may lack a peer's package, or its kernel a peer's feature. Then the others are compared
//! all the same, and nobody overlooks who is missing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::wire::subject::Kind;

/// Those of `kinds` that stand and forward here.
///
/// # Panics
/// Shunt itself does not: then there is nothing to compare.
#[track_caller]
pub fn present(kinds: Vec<Kind>) -> Vec<Kind> {
    let (present, absent): (Vec<Kind>, Vec<Kind>) = kinds.into_iter().partition(|kind| stands(*kind));
    if !absent.is_empty() {
        let names: Vec<&str> = absent.iter().map(|kind| kind.name()).collect();
        let names = names.join(", ");
        eprintln!(
            "\n== NOT MEASURED HERE: {names}. Why, is said above; `sh tests/install-packages.sh bench` installs what they need.\n"
        );
    }
    present
}

fn stands(kind: Kind) -> bool {
    if kind == Kind::Shunt {
        drop(kind.stand());
        return true;
    }
    // What it had set up by then is taken away as its panic unwinds.
    catch_unwind(AssertUnwindSafe(|| drop(kind.stand()))).is_ok()
}
