//! A trajectory as a person reads it: turn by turn.

use std::fmt;

use super::event::{Event, Purpose};
use crate::interpreter::{Observation, render_observation};

/// One turn of a run: what the model thought, the cell it wrote, and what the cell produced.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Turn {
    /// Its number, from 1.
    pub number: u32,
    /// What the model wrote around the code.
    pub reasoning: String,
    /// The cell; empty if the reply had none.
    pub code: String,
    /// What the cell produced, if it ran.
    pub observation: Option<Observation>,
    /// Model calls made from the cell.
    pub sub_calls: usize,
    /// Tool calls made from the cell.
    pub tool_calls: usize,
}

/// Folds events into turns. A repaired cell replaces the one that did not compile.
pub(super) fn turns<'a>(events: impl Iterator<Item = &'a Event>) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    for event in events {
        match event {
            Event::ModelReplied { turn, text, purpose: Purpose::Act, .. } => turns.push(Turn {
                number: *turn,
                reasoning: text.clone(),
                code: String::new(),
                observation: None,
                sub_calls: 0,
                tool_calls: 0,
            }),
            Event::CellStarted { reasoning, code, .. } => {
                if let Some(turn) = turns.last_mut() {
                    turn.reasoning = reasoning.clone();
                    turn.code = code.clone();
                    turn.observation = None;
                }
            }
            Event::SubCall { .. } => turns.last_mut().into_iter().for_each(|turn| turn.sub_calls += 1),
            Event::ToolCall { .. } => turns.last_mut().into_iter().for_each(|turn| turn.tool_calls += 1),
            Event::CellFinished { observation, .. } => {
                if let Some(turn) = turns.last_mut() {
                    turn.observation = Some(observation.clone());
                }
            }
            _ => {}
        }
    }
    turns
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "── turn {} ", self.number)?;
        writeln!(f, "{}", "─".repeat(60))?;
        if !self.reasoning.trim().is_empty() {
            writeln!(f, "{}", self.reasoning.trim())?;
        }
        for line in self.code.lines() {
            writeln!(f, "  │ {line}")?;
        }
        if self.sub_calls > 0 {
            writeln!(f, "  ({} sub-calls)", self.sub_calls)?;
        }
        match &self.observation {
            Some(observation) => write!(f, "{}", render_observation(observation, 2_000)),
            None => Ok(()),
        }
    }
}
