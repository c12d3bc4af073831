//! One line after the other: cells run in order, answers go to the calls they belong to.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use abyme::{Cell, CodeInterpreter, Error, ErrorKind, FunctionSpec, Observation, Result, Scope, Session};
use tokio::time::{Instant, sleep_until};

use super::{
    answer,
    calls::Calls,
    lines::{CellLine, Line, ToolReply},
    stdio::{Reader, Writer},
};
use crate::{args::InterpreterArgs, exit::Exit};

/// How long a running cell may go on after stdin ended.
const END_GRACE: Duration = Duration::from_secs(2);
/// An end of stdin this soon after a cell's start was sent together with the cell.
const TOGETHER: Duration = Duration::from_millis(50);
/// Stands for "not at all".
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Serves the lines of stdin.
#[derive(Debug)]
pub(super) struct Server {
    reader: Reader,
    writer: Arc<Writer>,
    calls: Arc<Calls>,
    /// Lines that were read and wait for their turn.
    queue: VecDeque<Line>,
    stdin_ended: bool,
    scope: Arc<Scope>,
    tools: Vec<String>,
    timeout: Duration,
    max_output_chars: usize,
}

impl Server {
    pub(super) fn new(args: &InterpreterArgs, reader: Reader, writer: Arc<Writer>) -> Self {
        Self {
            reader,
            calls: Arc::new(Calls::new(writer.clone())),
            writer,
            queue: VecDeque::new(),
            stdin_ended: false,
            scope: Arc::default(),
            tools: Vec::new(),
            timeout: args.cell_timeout,
            max_output_chars: args.max_output_chars,
        }
    }

    /// Serves until stdin ends or the session is lost.
    pub(super) async fn serve(mut self, session: &mut Session) -> Exit {
        loop {
            let Some(line) = self.next_line().await else { return Exit::Ok };
            match line {
                Line::Bad(problem) => self.bad(&problem),
                Line::Answer(answer) => self.answer(answer),
                Line::Cell(cell) => {
                    if let Some(exit) = self.cell(session, *cell).await {
                        return exit;
                    }
                }
            }
        }
    }

    async fn next_line(&mut self) -> Option<Line> {
        if self.queue.is_empty() && !self.stdin_ended {
            match self.reader.next().await {
                Some(line) => self.queue.push_back(line),
                None => self.stdin_ended = true,
            }
        }
        self.queue.pop_front()
    }

    /// Runs a cell and writes its end; how the process exits, if the session is over.
    async fn cell(&mut self, session: &mut Session, line: CellLine) -> Option<Exit> {
        let outputs = line.outputs;
        self.offer(line.tools, &outputs);
        let cell = Cell::new(line.code)
            .variables(line.variables)
            .scope(self.scope.clone())
            .timeout(self.timeout)
            .max_output_chars(self.max_output_chars);
        let ended = {
            let calls = self.calls.clone();
            let execute = session.execute(cell, &*calls);
            self.while_running(execute).await
        };
        let (line, exit) = match ended {
            Some(Ok(observation)) => {
                let exit = observation.session_ended.is_some().then_some(Exit::SessionEnded);
                (answer::cell(observation, &outputs, self.timeout), exit)
            }
            Some(Err(error)) => {
                let exit = error.is_session_lost().then_some(Exit::SessionEnded);
                (answer::problem(type_of(&error), error.message()), exit)
            }
            None => {
                (answer::problem("SessionEnded", "stdin ended while the cell was running"), Some(Exit::Ok))
            }
        };
        self.writer.line(line);
        exit
    }

    /// Waits for a cell, and takes the lines that come meanwhile. `None` if stdin ended and the cell did not.
    async fn while_running(
        &mut self,
        execute: impl Future<Output = Result<Observation>>,
    ) -> Option<Result<Observation>> {
        // A host that sent lines, or the end of stdin, together with the cell waits for all results: these
        // lines do not start the grace.
        while !self.stdin_ended {
            match self.reader.ready() {
                Ok(Some(line)) => self.queue.push_back(line),
                Ok(None) => self.stdin_ended = true,
                Err(()) => break,
            }
        }
        let began = Instant::now();
        let calls = self.calls.clone();
        let mut execute = Box::pin(execute);
        let mut deadline = Box::pin(sleep_until(Instant::now() + NEVER));
        loop {
            tokio::select! {
                observed = &mut execute => return Some(observed),
                () = calls.opened() => self.answer_from_queue(),
                line = self.reader.next(), if !self.stdin_ended => match line {
                    Some(line) => self.meanwhile(line),
                    None => {
                        self.stdin_ended = true;
                        if self.queue.is_empty() && began.elapsed() > TOGETHER {
                            deadline.as_mut().reset(Instant::now() + END_GRACE);
                        }
                        self.answer_from_queue();
                    }
                },
                () = &mut deadline => return None,
            }
        }
    }

    /// A line that came while a cell is running. What cannot be meant for this cell waits.
    fn meanwhile(&mut self, line: Line) {
        // Answers that were sent before this line belong to calls before it.
        self.answer_from_queue();
        match line {
            Line::Bad(problem) if self.calls.waiting() => self.bad(&problem),
            Line::Answer(answer) if self.calls.waiting() => self.answer(answer),
            line => self.queue.push_back(line),
        }
    }

    /// Gives open calls the answers that were sent ahead of them. Once stdin has ended there are no others.
    fn answer_from_queue(&mut self) {
        while self.calls.waiting() {
            match self.queue.pop_front() {
                Some(Line::Answer(answer)) => self.answer(answer),
                Some(Line::Bad(problem)) => self.bad(&problem),
                Some(cell) => {
                    self.queue.push_front(cell);
                    break;
                }
                None => break,
            }
        }
        if self.stdin_ended {
            self.calls.fail_all();
        }
    }

    fn answer(&self, answer: ToolReply) {
        if let Err(problem) = self.calls.answer(answer) {
            self.bad(&problem);
        }
    }

    fn bad(&self, problem: &str) {
        self.writer.line(answer::problem("BadInput", problem));
    }

    /// Sets what the session offers. An unchanged scope stays the same one, which is not sent again.
    fn offer(&mut self, tools: Option<Vec<String>>, outputs: &[String]) {
        let same = self.scope.outputs.iter().map(|output| &output.name).eq(outputs);
        if tools.as_ref().is_none_or(|tools| *tools == self.tools) && same {
            return;
        }
        if let Some(tools) = tools {
            self.tools = tools;
        }
        let mut scope = Scope::new();
        for tool in &self.tools {
            scope = scope.function(FunctionSpec::variadic(tool, "Runs on the host."));
        }
        for output in outputs {
            scope = scope.output(output, "Any");
        }
        self.scope = Arc::new(scope);
    }
}

fn type_of(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::InvalidInput => "BadInput",
        _ if error.is_session_lost() => "SessionEnded",
        _ => "HostError",
    }
}
