//! A text is no event sink.

use abyme_core::Rlm;

fn main() {
    let _ = Rlm::builder("docs -> answer").on_event("events.jsonl");
}
