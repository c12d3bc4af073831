//! A type that is no signature.

use abyme_core::Rlm;

struct Modules;

fn main() {
    let _ = Rlm::builder(Modules);
    let _ = Rlm::of::<Modules>();
}
