//! Names that a session needs for itself.

extern crate abyme_core as abyme;

use abyme::{Signature, signature};

#[derive(Signature)]
struct Task {
    #[input]
    lambda: u32,
    #[input]
    json: u32,
    #[allow(non_snake_case)]
    #[output]
    SUBMIT: u32,
    #[output]
    list: Vec<u32>,
    #[output]
    answer: u32,
}

fn main() {
    let _ = signature!("docs -> FINAL");
    let _ = signature!("docs -> total: inte");
    let _ = signature!("docs, docs -> total");
    let _ = signature!("docs");
    let _ = signature!(docs -> total);
}
