//! Structs that cannot be signatures.

extern crate abyme_core as abyme;

use abyme::Signature;

#[derive(Signature)]
enum NoStruct {}

#[derive(Signature)]
struct NoNames(#[output] u32);

#[derive(Signature)]
struct NoOutput {
    #[input]
    docs: String,
}

#[derive(Signature)]
struct Borrowed<'a> {
    #[input]
    docs: &'a str,
    #[output]
    total: u32,
}

#[derive(Signature)]
#[signature(krate = abyme)]
struct Several {
    docs: String,
    #[input]
    #[output]
    both: u32,
    #[input(range = 1..2)]
    limited: u32,
    #[input]
    #[check(is_even)]
    checked: u32,
    #[output(maximum = 3)]
    unknown: u32,
    #[output(range = 5)]
    no_range: u32,
    #[output(range = 5..=1)]
    empty: u32,
    #[output(pattern = "(")]
    pattern: String,
    #[output]
    #[check(|total: &u32| Ok::<(), String>(()))]
    no_words: u32,
}

fn main() {}
