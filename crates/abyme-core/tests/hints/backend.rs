//! A text is no backend.

use abyme_core::Rlm;

fn main() {
    let _ = Rlm::builder("docs -> answer").interpreter("wasm");
}
