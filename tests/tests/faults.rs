//! Faults of models, interpreters and the host, and what is left of them: nothing.
//!
//! Each row is a fault. Where a test already tries it, its name stands here; the others are in `faults/`.
//! `conformance` stands for the suites of `abyme-conformance`, which every backend and every client runs.
//!
//! Each fault of a model, and what tries it:
//!
//! - 429 with and without a wait, a wait beyond the run, a quota: conformance `failures`,
//!   `bad_input::a_wait_that_makes_no_sense`, core `run::retries_keep_to_the_time_of_the_run`
//! - 5xx, 4xx, 401, a redirection elsewhere: conformance `failures`, `bad_input::a_redirection_elsewhere`
//! - a context that is too long: conformance `failures`, core `compaction`, `never_lost`
//! - refused, reset, cut in the answer: conformance `failures`
//! - silent, stalled, one byte at a time: conformance `time_limits`, `bad_input::a_reply_byte_by_byte`
//! - HTML, bytes that are no text, an endless body, a bomb: conformance `bad_input`
//! - null content, tool calls, an empty text, cut by length: conformance `cut_replies`, `requests`, core
//!   `run`
//! - usage that is missing, negative, absurd: conformance `usage`
//! - a thousand prompts at once, one of them failing: core
//!   `host::a_batch_runs_at_the_same_time_up_to_the_limit`, `a_batch_keeps_its_order_and_a_failure_its_place`
//! - more at once, in a batch and in several runs, than the provider takes: core `refusals`
//! - cancelled in the pause between two tries: `model::a_run_that_is_cancelled_between_two_tries_ends_then`
//! - fails for good at step k; replies that hold no code: core `never_lost`,
//!   `run::a_model_that_fails_for_good_keeps_the_trajectory`
//!
//! Each fault of an interpreter, and what tries it:
//!
//! - killed in a cell, exits, aborts, overflows its stack: conformance `crashes`, subprocess
//!   `process::a_kill_from_outside_is_named`
//! - killed at rest: conformance `crashes::a_crash_between_cells_is_noticed`,
//!   `host::killed_sessions_lose_no_event`
//! - hangs, ignores signals: conformance `time_limits`
//! - is stopped (SIGSTOP): `interpreter::a_process_that_is_stopped_ends_at_its_time_limit`
//! - memory runs out: conformance `capabilities`, docker `isolation::memory_is_limited_for_all`
//! - garbage, another version, frames over the cap, forged calls: driver `session`, subprocess and wasm
//!   `memory`, `fuzz`
//! - ends in the middle of a message: `interpreter::a_message_that_ends_in_its_middle_ends_the_session`
//! - a flood of output: conformance `floods`
//! - does not start, no engine, an old Python: subprocess `process`, docker `without_engine`, cli `backends`,
//!   `doctor`
//! - a tool that panics, blocks, is called after the end: core `tools`, driver
//!   `session::words_about_other_cells_are_left_out`
//! - its directory is gone, its disk is full:
//!   `interpreter::a_directory_that_is_gone_and_a_disk_that_is_full_are_errors_of_the_cell`
//! - its directories are thousands of levels deep, or closed to their owner: subprocess
//!   `process::directories_of_any_depth_and_mode_go_with_their_session`
//! - an import with addresses and lengths of any kind: wasi `preview1::tests::hostile`, wasm
//!   `guest::imports::tests`
//!
//! Each fault of the host, and what tries it:
//!
//! - a future is dropped: conformance `cancellation`, `host::dropped_runs_leave_nothing`
//! - the runtime is shut down: `host::a_runtime_that_ends_in_the_middle_of_runs_leaves_nothing`, subprocess
//!   `process::a_runtime_that_ends_while_python_is_looked_for_leaves_no_process`
//! - SIGTERM, SIGINT, SIGKILL: cli `run::signals_end_the_run_and_close_its_trace`,
//!   `host::killed_hosts_lose_no_event`
//! - a deadline, a cancelled batch, a tool that re-enters: core `run`, `cancel`,
//!   `conversations::questions_take_turns_and_waiting_ones_can_be_cancelled`
//! - a full disk, a read-only one, two writers: core `trajectory`, cli
//!   `run::a_disk_that_is_full_does_not_cost_the_answer`
//! - no descriptors: `host::descriptors_that_run_out_are_an_error_and_come_back`
//! - no memory: `host::a_host_without_memory_ends_and_its_sessions_too`
//! - the clock of the machine jumps: `host::a_clock_that_jumps_moves_no_limit`
//! - many sessions, one after the other and at once: `host::sessions_that_come_and_go_leave_nothing`,
//!   `host::many_sessions_never_mix_their_answers`
//! - secrets in what is written: `secrets`, cli `secrets`
//!
//! `ABYME_TEST_CYCLES` and `ABYME_TEST_KILLS` set how often sessions are opened and killed.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "faults/host.rs"]
mod host;
#[path = "faults/interpreter.rs"]
mod interpreter;
#[path = "faults/model.rs"]
mod model;
#[path = "faults/oracle.rs"]
mod oracle;
#[path = "faults/record.rs"]
mod record;
#[path = "faults/runs.rs"]
mod runs;
