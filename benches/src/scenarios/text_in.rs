//! Scenarios `text-in` and `text-in-cyrillic`. A text of so many megabytes (of UTF-8) is put into a session
//! as a variable, once, and its length asked for in the same cell. The session is new and has run one cell;
//! it is not timed. The text is in the host's memory already.
//!
//! Floor: the text's bytes are copied into new memory. A peer that sends its inputs with every cell pays this
//! time with every cell.

use std::{hint::black_box, sync::Arc, time::Instant};

use abyme::{Cell, InterpreterFactory, Text};
use async_trait::async_trait;

use super::{
    memory,
    work::{self, PreparedTrial, SharedText, check, made, of_peer, ready, seconds, value},
};
use crate::{goal::Goal, scenario::Scenario, systems::System, trial::Trial, units::Unit};

const MEMCPY: &str = "memcpy";

/// The scenario, for a kind of text.
#[derive(Debug)]
pub(crate) struct TextIn {
    name: &'static str,
    title: &'static str,
    make: fn(u64) -> String,
    text: SharedText,
}

impl TextIn {
    /// Text of ASCII: one byte for each character on both sides.
    pub(crate) fn ascii() -> Self {
        let (name, title) = ("text-in", "ASCII text into a session");
        Self { name, title, make: work::ascii, text: SharedText::default() }
    }

    /// Cyrillic text: Python's own form of it is not UTF-8.
    pub(crate) fn cyrillic() -> Self {
        let (name, title) = ("text-in-cyrillic", "Cyrillic text into a session");
        Self { name, title, make: work::cyrillic, text: SharedText::default() }
    }
}

#[async_trait]
impl Scenario for TextIn {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> &'static str {
        self.title
    }

    fn workload(&self) -> &'static str {
        "a text is put into a ready session as a variable, and `len(text)` comes back"
    }

    fn unit(&self) -> Unit {
        Unit::Seconds
    }

    fn axis(&self) -> Option<(&'static str, Vec<u64>)> {
        Some(("megabytes", vec![10, 100, 1000]))
    }

    fn goal(&self, system: &str, at: Option<u64>) -> Option<Goal> {
        match (system, at) {
            _ if self.name != "text-in" => None,
            ("wasm" | "pyo3", Some(100)) => Some(Goal::Times(1.2, &[MEMCPY])),
            ("subprocess" | "docker", Some(100)) => Some(Goal::Times(2.0, &[MEMCPY])),
            _ => None,
        }
    }

    fn samples(&self) -> usize {
        5
    }

    fn floors(&self) -> Vec<&'static str> {
        vec![MEMCPY]
    }

    async fn prepare(&self, system: &System, at: Option<u64>) -> PreparedTrial {
        let megabytes = at.unwrap_or(10);
        // The text, what is on its way, and Python's own copies.
        memory::need(megabytes * 4_000_000)?;
        let text = || self.text.get(megabytes, || (self.make)(megabytes));
        match system {
            System::Backend(factory) => {
                let text = text();
                // Counted once, and not on the clock.
                let chars = text.chars_len();
                made(Into { factory: factory.clone(), text, chars })
            }
            System::Floor(MEMCPY) => made(Memcpy(text())),
            System::Peer(peer) => of_peer(peer, self.name, at).await,
            System::Floor(_) | System::Loop => Ok(None),
        }
    }
}

struct Into {
    factory: Arc<dyn InterpreterFactory>,
    text: Arc<Text>,
    chars: usize,
}

#[async_trait]
impl Trial for Into {
    async fn sample(&mut self) -> Result<f64, String> {
        let mut session = ready(&*self.factory).await?;
        let cell = Cell::new("len(text)").variable("text", Text::clone(&self.text));
        let started = Instant::now();
        let seen = value(&mut *session, cell).await?;
        let taken = seconds(started);
        check("the length", seen, self.chars.to_string())?;
        Ok(taken)
    }
}

struct Memcpy(Arc<Text>);

#[async_trait]
impl Trial for Memcpy {
    async fn sample(&mut self) -> Result<f64, String> {
        let started = Instant::now();
        let copy = black_box(black_box(self.0.as_bytes()).to_vec());
        let taken = seconds(started);
        check("the length of the copy", copy.len(), self.0.len())?;
        Ok(taken)
    }
}
