//! Functions that cannot be tools, and arguments of the attribute that say nothing.
#![allow(unused_variables)]

extern crate abyme_core as abyme;

use abyme::{tool, tools};

#[tool]
fn generic<T>(item: T) {}

#[tool]
fn opaque(item: impl Into<String>) {}

#[tool]
fn lives<'a>(text: &'a str) {}

#[tool]
fn names_a_lifetime(text: &'static str) {}

#[tool]
fn changes(list: &mut Vec<u32>) {}

#[tool]
unsafe fn dangerous() {}

#[tool]
fn returns() -> impl ToString {
    1
}

#[tool]
fn destructured((a, b): (u32, u32), #[serde(default)] c: u32) {}

#[tool(time_out = "3s")]
fn misspelt() {}

#[tool(timeout = "3 days")]
fn too_long() {}

#[tool]
fn twice(#[arg(name = "b")] a: u32, b: u32) {}

#[tool]
struct NoFunction;

#[tools]
fn no_block() {}

struct Shop;

impl Shop {
    #[tool]
    fn outside(&self) {}
}

#[tools]
impl Shop {
    fn none(&self) {}
}

#[tools]
impl Shop {
    #[tool]
    fn by_value(self) {}

    #[tool]
    fn exclusive(&mut self) {}
}

#[tools]
impl Clone for Shop {
    fn clone(&self) -> Self {
        Shop
    }
}

fn main() {
    changes(&mut Vec::new());
}
