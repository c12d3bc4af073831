//! Arguments without a schema.

use abyme_core::Tool;

struct Args {
    text: String,
}

fn shout(args: Args) -> String {
    args.text.to_uppercase()
}

fn main() {
    Tool::new("shout", "Writes in capitals.", shout);
}
