//! All scenarios, in the order of the report, each in a file of its own, and what several of them share.

mod asleep;
mod batch;
mod budget;
mod cell;
mod cell_beside;
mod cell_inputs;
mod children;
mod faults;
mod flood_memory;
mod fork;
mod hand_over;
mod haystack;
mod history;
mod host_call;
mod idle_memory;
mod in_flight;
mod journal;
mod limiter;
mod loop_overhead;
mod loopback;
mod measured;
mod memory;
mod model_call;
mod planner;
mod pool_start;
mod python_speed;
mod recorded_runs;
mod requests;
mod runs;
mod start;
mod text_in;
mod variables;
mod work;

#[cfg(test)]
mod tests;

use crate::scenario::Scenario;

/// All scenarios.
pub(crate) fn all() -> Vec<Box<dyn Scenario>> {
    let mut all: Vec<Box<dyn Scenario>> = vec![
        Box::new(start::Start),
        Box::new(pool_start::PoolStart),
        Box::new(cell::CellRoundTrip),
        Box::new(host_call::HostCalls),
        Box::new(text_in::TextIn::ascii()),
        Box::new(text_in::TextIn::cyrillic()),
        Box::new(batch::Batch),
        Box::new(loop_overhead::LoopOverhead),
        Box::new(runs::Runs),
        Box::new(in_flight::InFlight::time()),
        Box::new(in_flight::InFlight::memory()),
        Box::new(children::Children::one_by_one()),
        Box::new(children::Children::tree()),
        Box::new(budget::Bookkeeping),
        Box::new(journal::Journal),
        Box::new(hand_over::HandOver::default()),
        Box::new(history::History),
        Box::new(variables::Variables),
        Box::new(cell_inputs::CellInputs::default()),
        Box::new(cell_beside::CellBeside),
        Box::new(haystack::Haystack::default()),
        Box::new(idle_memory::IdleMemory::bare()),
        Box::new(idle_memory::IdleMemory::after_10mb()),
        Box::new(flood_memory::FloodMemory),
        Box::new(fork::Fork),
        Box::new(asleep::Asleep),
        Box::new(recorded_runs::RecordedRuns::Resume),
        Box::new(recorded_runs::RecordedRuns::Replay),
        Box::new(recorded_runs::RecordedRuns::Fork),
        Box::new(requests::Requests::bytes()),
        Box::new(requests::Requests::prefix()),
        Box::new(requests::Requests::prefix_messages()),
    ];
    all.extend(faults::Faults::all());
    all.extend(model_call::ModelCall::all());
    all.push(Box::new(limiter::Limiter));
    all.extend(python_speed::all());
    all
}
