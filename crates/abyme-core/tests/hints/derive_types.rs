//! Types that cannot cross.

extern crate abyme_core as abyme;

use abyme::Signature;

struct Opaque;

#[derive(Signature)]
struct Output {
    #[output]
    total: Opaque,
}

#[derive(Signature)]
struct Input {
    #[input]
    docs: Opaque,
    #[output]
    total: u32,
}

#[derive(Signature)]
struct Checked {
    #[output]
    #[check(is_even)]
    total: u32,
}

fn is_even(total: &u64) -> Result<(), String> {
    if *total % 2 == 0 { Ok(()) } else { Err("odd".to_owned()) }
}

fn run(task: abyme::Rlm<Checked>) {
    let _ = task.run(abyme::inputs! {});
}

fn main() {}
