//! Measures how long each checker takes to notice, and prints the table of `control/README.md`.

fn main() {
    print!("{}", shunt_tests::detection::table(&shunt_tests::detection::measure()));
}
