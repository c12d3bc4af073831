//! A type that is returned as it is. (The type of a closure holds the path of its file, and the compiler
//! writes long ones differently.)

use abyme_core::Tool;

#[derive(serde::Serialize)]
struct Size {
    width: u32,
}

async fn size() -> Size {
    Size { width: 210 }
}

fn main() {
    Tool::new("size", "The size of the page.", size);
}
