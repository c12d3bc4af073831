//! A name is no model.

use abyme_core::Rlm;

fn main() {
    let _ = Rlm::builder("docs -> answer").model("gpt-5-mini");
}
