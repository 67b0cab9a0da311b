//! How long a release of 4,000 objects takes: `cargo bench --bench release`.
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[path = "../../tests/it/harness/mod.rs"]
mod harness;

#[path = "../shared/figures.rs"]
mod figures;

mod compile;

fn main() {
    let mut figures = figures::Figures::default();
    compile::measure(&mut figures);
    figures.print();
}
