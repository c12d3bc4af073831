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

#[derive(Signature)]
struct Generic<T> {
    #[output]
    total: Vec<T>,
}

fn of_what_cannot_be_shown() -> abyme::RlmBuilder<Generic<Opaque>> {
    abyme::Rlm::of()
}

fn is_even(total: &u64) -> Result<(), String> {
    if *total % 2 == 0 { Ok(()) } else { Err("odd".to_owned()) }
}

fn run(task: abyme::Rlm<Checked>) {
    let _ = task.run(abyme::inputs! {});
}

fn main() {}
