//! A guide in parts.
//!
//! | part | is about |
//! |---|---|
//! | [getting_started] | from nothing to a typed answer |
//! | [backends] | where the Python runs |
//! | [signatures] | what a task takes and gives, as a text or as a struct |
//! | [tools] | your functions, called from Python |
//! | [sub_calls] | model calls from a cell |
//! | [recursion] | runs that start runs |
//! | [conversations] | several questions over one session, kept for later |
//! | [budgets] | what a run may use, its children included |
//! | [resuming] | runs that outlive their process: resume, replay and fork |
//! | [writing_a_backend] | one of your own |
//! | [past_one_machine] | several Docker engines, Modal, Kubernetes and Ray |
//! | [production] | rate limits, a second model, kept replies, recorded calls |
//! | [profiles] | the prompts and conventions of other systems |
//! | [moving_over] | from `dspy.RLM`, `rlms` and OpenJarvis, side by side |

#[doc = include_str!("../guide/backends.md")]
pub mod backends {}

#[doc = include_str!("../guide/budgets.md")]
pub mod budgets {}

#[doc = include_str!("../guide/conversations.md")]
pub mod conversations {}

#[doc = include_str!("../guide/getting_started.md")]
pub mod getting_started {}

#[doc = include_str!("../guide/moving_over.md")]
pub mod moving_over {}

#[doc = include_str!("../guide/past_one_machine.md")]
pub mod past_one_machine {}

#[doc = include_str!("../guide/production.md")]
pub mod production {}

#[doc = include_str!("../guide/profiles.md")]
pub mod profiles {}

#[doc = include_str!("../guide/recursion.md")]
pub mod recursion {}

#[doc = include_str!("../guide/resuming.md")]
pub mod resuming {}

#[doc = include_str!("../guide/signatures.md")]
pub mod signatures {}

#[doc = include_str!("../guide/sub_calls.md")]
pub mod sub_calls {}

#[doc = include_str!("../guide/tools.md")]
pub mod tools {}

#[doc = include_str!("../guide/writing_a_backend.md")]
pub mod writing_a_backend {}
