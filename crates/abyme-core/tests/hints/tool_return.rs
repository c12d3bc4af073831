//! A type that is returned as it is.

use abyme_core::Tool;

#[derive(serde::Serialize)]
struct Size {
    width: u32,
}

fn main() {
    Tool::new("size", "The size of the page.", || async { Size { width: 210 } });
}
