//! Types that a tool cannot take or return.
#![allow(unused_variables)]

extern crate abyme_core as abyme;

use abyme::tool;

struct Filter {
    text: String,
}

struct Row {
    id: u32,
}

#[tool]
fn find(text: String, filter: Filter) -> u32 {
    0
}

#[tool]
async fn row(id: u32) -> Row {
    Row { id }
}

#[tool]
fn try_row(id: u32) -> Result<Row, String> {
    Ok(Row { id })
}

#[tool]
fn with_default(#[arg(default = 7)] text: String) {}

fn main() {}
