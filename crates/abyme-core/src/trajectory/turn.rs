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
    /// Child runs started from the cell.
    pub children: usize,
    /// Tool calls made from the cell.
    pub tool_calls: usize,
    /// Why the reply, or what the cell submitted, was refused.
    pub refused: Option<String>,
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
                children: 0,
                tool_calls: 0,
                refused: None,
            }),
            Event::ReplyRefused { problem, purpose: Purpose::Act | Purpose::Repair, .. }
            | Event::SubmissionRefused { problems: problem, .. } => {
                turns.last_mut().into_iter().for_each(|turn| turn.refused = Some(problem.clone()));
            }
            Event::CellStarted { reasoning, code, .. } => {
                if let Some(turn) = turns.last_mut() {
                    turn.refused = None;
                    turn.reasoning = reasoning.clone();
                    turn.code = code.clone();
                    turn.observation = None;
                }
            }
            Event::SubCallStarted { .. } => turns.last_mut().into_iter().for_each(|turn| turn.sub_calls += 1),
            Event::ChildStarted { .. } => turns.last_mut().into_iter().for_each(|turn| turn.children += 1),
            Event::ToolCallStarted { .. } => {
                turns.last_mut().into_iter().for_each(|turn| turn.tool_calls += 1)
            }
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
        if self.children > 0 {
            writeln!(f, "  ({} child runs)", self.children)?;
        }
        if let Some(observation) = &self.observation {
            let mut observation = observation.clone();
            if self.refused.is_some() {
                observation.submission = None;
            }
            write!(f, "{}", render_observation(&observation, 2_000))?;
        }
        match &self.refused {
            Some(problem) => write!(f, "\n[refused]\n{}", problem.trim_end()),
            None => Ok(()),
        }
    }
}
