//! A bare pipe: one line to `cat` and back.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use async_trait::async_trait;

use super::because;
use crate::trial::Trial;

/// About as long as the frame of a small cell.
const LINE: &str = "a line about as long as the frame of a small cell, and no longer\n";
const ROUND_TRIPS: u32 = 1000;

/// A running `cat`, ended when dropped.
#[derive(Debug)]
pub(crate) struct Pipe {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Pipe {
    /// Starts `cat` and sends one line through it.
    ///
    /// # Errors
    /// `cat` does not start here.
    pub(crate) fn start() -> Result<Self, String> {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(because("cannot start `cat`"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("`cat` has no streams".to_owned());
        };
        let mut pipe = Self { child, input, output: BufReader::new(output) };
        pipe.round_trip()?;
        Ok(pipe)
    }

    fn round_trip(&mut self) -> Result<(), String> {
        let mut line = String::with_capacity(LINE.len());
        self.input.write_all(LINE.as_bytes()).map_err(because("cannot write to `cat`"))?;
        self.output.read_line(&mut line).map_err(because("cannot read from `cat`"))?;
        if line == LINE { Ok(()) } else { Err(format!("`cat` answered {line:?}")) }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The mean of a thousand round trips.
#[async_trait]
impl Trial for Pipe {
    async fn sample(&mut self) -> Result<f64, String> {
        let started = Instant::now();
        for _ in 0..ROUND_TRIPS {
            self.round_trip()?;
        }
        Ok(started.elapsed().as_secs_f64() / f64::from(ROUND_TRIPS))
    }
}
