#![doc = include_str!("../README.md")]

mod evaluation;
mod generate;
mod intervals;
mod job;
mod judge;
mod plain;
mod report;
mod result;
mod results;
mod scorer;
mod setting;
mod spending;
mod task;
mod tasks;

pub use self::{
    evaluation::{Evaluation, EvaluationConfig, EvaluationEnd, Stop},
    generate::{Generator, Kind, haystack::Haystack},
    intervals::{Interval, Method, sign_test},
    report::{Comparison, Report, Row},
    result::{Outcome, TaskResult},
    scorer::{NumberScorer, Scorer},
    setting::{PlainConfig, Setting, TooLong},
    task::{Task, TaskInput, TextFile},
    tasks::{TaskEntry, Tasks},
};
