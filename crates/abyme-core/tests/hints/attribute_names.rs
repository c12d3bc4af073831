//! Names that a tool and its parameters cannot have.
#![allow(unused_variables)]

extern crate abyme_core as abyme;

use abyme::tool;

#[tool]
fn print(text: String) {}

#[tool(name = "llm_query")]
fn query(text: String) {}

#[tool]
fn copy(from: String, to: String) {}

fn main() {}
