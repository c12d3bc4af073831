//! Arguments without a schema.

use abyme_core::Tool;

struct Args {
    text: String,
}

fn main() {
    Tool::new("shout", "Writes in capitals.", |args: Args| args.text.to_uppercase());
}
