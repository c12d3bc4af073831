//! The command line.

mod ask;
#[cfg(feature = "mcp-server")]
mod mcp;
mod models;
mod parse;
mod records;
#[cfg(feature = "serve")]
mod serve;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use abyme::Price;
use clap::{
    ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, error::ErrorKind,
    parser::ValueSource,
};

#[cfg(feature = "mcp-server")]
pub(crate) use self::mcp::McpServerArgs;
use self::parse::{duration, fields, named, price, seconds_over_zero, share, size, tokens};
#[cfg(feature = "serve")]
pub(crate) use self::serve::ServerArgs;
pub(crate) use self::{
    ask::{LoadArgs, QuestionArgs},
    models::ModelMatrix,
    parse::{Fields, Named},
    records::{By, StatsArgs, ViewArgs},
};
use crate::{
    backend::{COMPILED, Isolation, Settings, megabytes},
    exit::{Failure, TABLE},
    standard::Standard,
    terminal,
};

/// Recursive Language Models: answer questions over inputs far larger than a context window.
#[derive(Debug, Parser)]
#[command(name = "abyme", version, after_help = TABLE, disable_help_subcommand = true)]
#[command(override_usage = "abyme \"QUESTION\" FILES...\n       abyme <COMMAND>")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer a question about files: abyme "which plan has the most refunds?" shop.db reports/
    #[command(after_help = TABLE, override_usage = ask::USAGE)]
    Ask(Box<AskArgs>),
    /// Run a task: a model writes Python over your inputs until it submits the outputs
    #[command(after_help = TABLE)]
    Run(Box<RunArgs>),
    /// Go on with a run that ended before its end: no recorded call of a model or a tool is made again
    #[command(after_help = TABLE)]
    Resume(Box<ResumeArgs>),
    /// Do a run again from its record, without a model, and find the first difference
    #[command(after_help = TABLE)]
    Replay(Box<ReplayArgs>),
    /// Go on from the end of a turn of a recorded run, as a run of its own
    #[command(after_help = TABLE)]
    Fork(Box<ForkArgs>),
    /// Ask several questions about files: what was found before stays in the session
    #[command(after_help = TABLE)]
    Chat(Box<ChatArgs>),
    /// A real run with no key and no network: find one line in 10 MB of text
    #[command(after_help = TABLE)]
    Demo(DemoArgs),
    /// One Python session on stdin and stdout, JSON lines, for any language to drive
    #[command(after_help = TABLE)]
    Interpreter(InterpreterArgs),
    /// Which interpreters and models work on this machine, and how to get the others
    #[command(after_help = TABLE)]
    Doctor(DoctorArgs),
    /// Prepare the embedded Python now, instead of at its first use on this machine: for images
    #[command(after_help = TABLE)]
    Prepare,
    /// Serve MCP clients, such as editors and agents: questions over long inputs, and Python sessions
    #[cfg(feature = "mcp-server")]
    #[command(after_help = TABLE)]
    Mcp(Box<McpArgs>),
    /// Show recorded runs as one HTML page, afterwards or while they go on
    #[command(after_help = TABLE)]
    View(ViewArgs),
    /// What recorded runs used: a table and a chart over many of them
    #[command(after_help = TABLE)]
    Stats(StatsArgs),
    /// Answer the clients of OpenAI's API: the messages of a request, however long, are a run's inputs
    #[cfg(feature = "serve")]
    #[command(after_help = TABLE)]
    Serve(Box<ServeArgs>),
    /// Try many questions with expected answers, by several models and settings, and report how they did
    #[command(after_help = TABLE)]
    Eval(Box<EvalArgs>),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct BackendArgs {
    /// Where the Python runs
    #[arg(long, value_name = "NAME", default_value = COMPILED[0])]
    pub(crate) interpreter: String,
    /// The Python to run: a name or a path, in the image for `docker` and `modal` [default: python3]; for
    /// `pyo3`, a virtual environment
    #[arg(long, value_name = "PATH")]
    pub(crate) python: Option<PathBuf>,
    /// The image of the `docker` and `modal` interpreters [default: python:3.13-slim]
    #[arg(long, value_name = "NAME")]
    pub(crate) image: Option<String>,
    /// What the `subprocess` interpreter does about a mechanism of its isolation that this machine does not
    /// have [default on Linux: required]
    #[arg(long, value_enum, value_name = "MODE")]
    pub(crate) isolation: Option<Isolation>,
    /// Most memory of this command that one message of the session may take, such as a submission, in MB of
    /// 1024 KB [default: 256]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub(crate) max_message_mb: Option<u64>,
}

impl BackendArgs {
    /// The settings of a run, whose sessions may take so many bytes of memory.
    pub(crate) fn settings(&self, memory: u64) -> Settings {
        let (python, image) = (self.python.clone(), self.image.clone());
        let (message, isolation) = (megabytes(self.max_message_mb), self.isolation);
        Settings { python, image, memory: Some(memory), message, isolation, ..Settings::default() }
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ModelArgs {
    /// The model that plans [default: ABYME_MODEL, from the environment or .env]
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// Base URL of an OpenAI-compatible API [default: ABYME_API_BASE, or the model's provider]
    #[arg(long, value_name = "URL")]
    pub(crate) api_base: Option<String>,
    /// Sampling temperature [default: the model's own]
    #[arg(long, value_name = "N")]
    pub(crate) temperature: Option<f64>,
    /// Seed of the sampling, for models that have one
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) seed: Option<i64>,
    /// Most tokens of a reply, thoughts included [default: DSPY_LM_MAX_TOKENS, or the model's own]
    #[arg(long, value_name = "N")]
    pub(crate) max_reply_tokens: Option<u32>,
    /// Fields added to each request: '{"top_p": 0.9}'; null leaves out one of ours
    #[arg(long, value_name = "JSON", value_parser = fields)]
    pub(crate) extra_body: Option<Fields>,
    /// Send the system's texts as the user's, for models without a system role
    #[arg(long)]
    pub(crate) no_system_role: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct WrapArgs {
    /// Most requests a minute to each model; further ones wait, which is not the model's time [default: what
    /// the provider says is left, and what its refusals teach]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rpm: Option<u32>,
    /// Most tokens a minute to each model, of requests and replies together [default: as --rpm]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) tpm: Option<u64>,
    /// The model that answers for a minute after another one failed, ran into a limit or was not reached
    #[arg(long, value_name = "MODEL")]
    pub(crate) fallback: Option<String>,
    /// Keep replies in this directory, 1 GB at most: a request that comes again, in any run, costs nothing
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// Record the calls of all models in a file, without keys, for --replay
    #[arg(long, value_name = "FILE.jsonl", conflicts_with = "replay")]
    pub(crate) record: Option<PathBuf>,
    /// Answer as recorded, and ask no model; a request that was not recorded, or a call that does not come,
    /// is an error
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) replay: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Inputs and outputs with types: "docs, query -> modules: list[str]"; with --schema the inputs alone
    #[arg(long, short, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) signature: String,
    /// A file with a JSON Schema, an object whose properties are the outputs
    #[arg(long, value_name = "FILE.json")]
    pub(crate) schema: Option<PathBuf>,
    /// An input: name=text (@@ for a text that begins with @, @@- for the text -), name=@file (a .json file
    /// is parsed, unless the declared type is str), or name=- for stdin; repeatable
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = named)]
    pub(crate) input: Vec<Named>,
    /// What the task is and how to go about it
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) instructions: Option<String>,
    /// Describe an input or output for the model; repeatable
    #[arg(long, value_name = "NAME=TEXT", value_parser = named)]
    pub(crate) describe: Vec<Named>,
    #[command(flatten)]
    pub(crate) rlm: RlmArgs,
    /// Print one JSON object instead of the outputs
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the run to a file as it happens, one event a line
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) trace: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    /// A file or directory to ask about: a variable with its name, or NAME with NAME=FILE
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<String>,
    /// What the questions are about, and how to answer them
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) instructions: Option<String>,
    /// Go on with the conversation in this file, if there is one, and write it there after each question
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
    /// Tokens of all questions together; --max-tokens is for each [default: no limit]
    #[arg(long, value_name = "N")]
    pub(crate) max_total_tokens: Option<u64>,
    /// US dollars of all questions together; --max-cost is for each [default: no limit]
    #[arg(long, value_name = "USD", allow_negative_numbers = true)]
    pub(crate) max_total_cost: Option<f64>,
    #[command(flatten)]
    pub(crate) rlm: RlmArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RecordedArgs {
    /// The record of a run, as `abyme run --trace` writes it. Its task, inputs, models, interpreter, profile,
    /// policy and limits are those of the run; flags may name other models and limits. --tool, --mcp and
    /// --sub-model NAME=MODEL have to be given as they were
    #[arg(value_name = "RUN.jsonl")]
    pub(crate) file: PathBuf,
    /// The files of a recorded question, named as they were: their tables can be queried then, and quotes
    /// are looked up in them
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<OsString>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) rlm: RlmArgs,
    /// Print one JSON object instead of the outputs
    #[arg(long)]
    pub(crate) json: bool,
    #[arg(skip)]
    pub(crate) given: GivenFlags,
}

/// Which flags with a default were given: a record has them too.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GivenFlags {
    pub(crate) interpreter: bool,
    pub(crate) profile: bool,
}

impl GivenFlags {
    fn of(matches: &ArgMatches) -> Self {
        let is_known = |id| matches.try_contains_id(id).is_ok();
        let is_given = |id| is_known(id) && matches.value_source(id) == Some(ValueSource::CommandLine);
        Self { interpreter: is_given("interpreter"), profile: is_given("profile") }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    pub(crate) recorded: RecordedArgs,
    /// Call tools again that change something outside, where the record does not say how their call ended,
    /// without asking
    #[arg(long)]
    pub(crate) repeat_effects: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    pub(crate) recorded: RecordedArgs,
    /// Write the run to a file of its own as it happens
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) trace: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ForkArgs {
    #[command(flatten)]
    pub(crate) recorded: RecordedArgs,
    /// The last turn that the two runs have in common; 0 is before the first
    #[arg(long, value_name = "N")]
    pub(crate) turn: u32,
    /// Write the run to a file of its own as it happens, the turns before included
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) trace: Option<PathBuf>,
    /// Call tools again that change something outside, where the record does not say how their call ended,
    /// without asking
    #[arg(long)]
    pub(crate) repeat_effects: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AskArgs {
    #[command(flatten)]
    pub(crate) question: QuestionArgs,
    #[command(flatten)]
    pub(crate) rlm: RlmArgs,
    /// Print one JSON object instead of the answer
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the run to a file as it happens, one event a line
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) trace: Option<PathBuf>,
}

#[cfg(feature = "serve")]
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) rlm: RlmArgs,
}

#[cfg(feature = "mcp-server")]
#[derive(Debug, Args)]
pub(crate) struct McpArgs {
    #[command(flatten)]
    pub(crate) server: McpServerArgs,
    #[command(flatten)]
    pub(crate) rlm: RlmArgs,
}

/// What an `Rlm` is made of beside its task.
#[derive(Clone, Debug, Args)]
pub(crate) struct RlmArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// US dollars for a million tokens of requests and of replies, such as 0.25,2, where the provider does
    /// not say what a call cost
    #[arg(long, value_name = "IN,OUT", value_parser = price)]
    pub(crate) price: Option<Price>,
    /// A table of prices, for all models of the run [default: ABYME_PRICES; those of well-known providers
    /// are known]
    #[arg(long, value_name = "FILE.json")]
    pub(crate) prices: Option<PathBuf>,
    /// The model that answers llm_query and runs children [default: the one that plans]; as NAME=MODEL a
    /// further one, which cells may choose by that name; repeatable
    #[arg(long, value_name = "MODEL or NAME=MODEL")]
    pub(crate) sub_model: Vec<String>,
    /// --price of the --sub-model
    #[arg(long, value_name = "IN,OUT", value_parser = price)]
    pub(crate) sub_price: Option<Price>,
    #[command(flatten)]
    pub(crate) wrap: WrapArgs,
    #[command(flatten)]
    pub(crate) backend: BackendArgs,
    /// A Python file whose public functions become tools; repeatable
    #[arg(long, value_name = "FILE.py")]
    pub(crate) tool: Vec<PathBuf>,
    /// An MCP server whose tools the cells may call: a command line or a URL; repeatable
    #[cfg(feature = "mcp")]
    #[arg(long, value_name = "COMMAND|URL")]
    pub(crate) mcp: Vec<String>,
    /// Ask on the terminal before a tool of an MCP server is called that changes something or sends something
    /// to others, as far as its server says what it does; where nobody can be asked, such calls are denied
    #[cfg(feature = "mcp")]
    #[arg(long)]
    pub(crate) ask_before_tools: bool,
    /// Check each cell before it runs, those of the sessions of `abyme mcp` too: a guard rail, not a wall
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<Policy>,
    /// The prompts and conventions of the run, and with them its limits
    #[arg(long, value_name = "NAME", default_value = "abyme")]
    pub(crate) profile: Profile,
    /// Let each reply come to its end, in place of stopping it once its cell is complete
    #[arg(long)]
    pub(crate) whole_replies: bool,
    /// What the random numbers of sessions begin with [default: a number made at random]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..1 << 53))]
    pub(crate) session_seed: Option<u64>,
    /// Have sessions see the same time and random bytes each time that the run is done again, where the
    /// interpreter can: wasm
    #[arg(long)]
    pub(crate) deterministic: bool,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    /// Show each turn on stderr as the model writes it, with all that its cell printed, those of children
    /// whole and indented, and at the end what the run used. A terminal shows turns anyway, with long output
    /// cut
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

impl RlmArgs {
    /// Whether a person is asked before tools with effects are called.
    pub(crate) fn asks_before_tools(&self) -> bool {
        #[cfg(feature = "mcp")]
        return self.ask_before_tools;
        #[cfg(not(feature = "mcp"))]
        false
    }

    /// The files among them that the command reads.
    pub(crate) fn read_files(&self) -> impl Iterator<Item = &Path> {
        self.tool.iter().chain(&self.prices).chain(&self.wrap.replay).map(AsRef::as_ref)
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct LimitArgs {
    /// Replies the model has [default: 20]
    #[arg(long, value_name = "N")]
    pub(crate) max_iterations: Option<u32>,
    /// Sub-calls of the run: prompts of its cells and turns of its children [default: 200]
    #[arg(long, value_name = "N")]
    pub(crate) max_llm_calls: Option<u32>,
    /// How deep child runs may be nested; 0 is no children [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) max_depth: Option<u32>,
    /// Sub-calls in flight at once, and child runs at work at once [default: 16]
    #[arg(long, value_name = "N")]
    pub(crate) max_concurrent_calls: Option<usize>,
    /// Tokens of the run, of requests and replies together, children included [default: no limit]
    #[arg(long, value_name = "N")]
    pub(crate) max_tokens: Option<u64>,
    /// US dollars of the run, as the provider reports them or prices say [default: no limit]
    #[arg(long, value_name = "USD", allow_negative_numbers = true)]
    pub(crate) max_cost: Option<f64>,
    /// Time of the run, everything included, such as 90s, 10m, 1h [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) run_timeout: Option<Duration>,
    /// Characters the model sees of what a cell produced [default: 10000]
    #[arg(long, value_name = "N")]
    pub(crate) max_output_chars: Option<usize>,
    /// The share of what the model can read at which earlier turns are summarised, such as 0.5; 0 is never
    /// [default: 0.8]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(crate) compact_at: Option<f64>,
    /// Tokens that the model can read [default: known of many models, or learnt when it refuses a request]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_input_tokens: Option<u64>,
    /// Time of one cell, such as 30 (seconds) or 5m [default: 120s]
    #[arg(long, value_name = "TIME", value_parser = seconds_over_zero)]
    pub(crate) cell_timeout: Option<Duration>,
    /// Time of one try of a model call, such as 90s [default: 300s]
    #[arg(long, value_name = "TIME", value_parser = seconds_over_zero)]
    pub(crate) model_timeout: Option<Duration>,
    /// Tries of a model call after one that failed for the moment
    #[arg(long, value_name = "N")]
    pub(crate) retries: Option<u32>,
}

/// Code policies by name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Policy {
    /// No processes, network, files or native code by mistake
    GuardRail,
}

impl From<Policy> for abyme::CodePolicy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::GuardRail => Self::guard_rail(),
        }
    }
}

/// Prompts by name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Profile {
    /// The standard ones; those for small models if the first replies hold no cell that could run
    Abyme,
    /// The rules in full
    Standard,
    /// For small models: short rules and a worked example
    Small,
    /// The same, and the server goes on from the line that opens the block, as llama.cpp's does
    SmallPrefilled,
    /// As dspy.RLM of DSPy 3.4
    Dspy,
    /// As rlms 0.1
    Rlms,
    /// As the paper "Recursive Language Models"
    Paper,
    /// As OpenJarvis' rlm agent
    Openjarvis,
}

impl From<Profile> for abyme::Profile {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Abyme => Self::Abyme,
            Profile::Standard => Self::Standard,
            Profile::Small => Self::Small,
            Profile::SmallPrefilled => Self::SmallPrefilled,
            Profile::Dspy => Self::Dspy,
            Profile::Rlms => Self::Rlms,
            Profile::Paper => Self::Paper,
            Profile::Openjarvis => Self::OpenJarvis,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// Tasks, one JSON object a line: {"id", "group", "question", "inputs", "expected", "scorer"}. Without
    /// --generate
    #[arg(value_name = "TASKS.jsonl", required_unless_present = "generate", conflicts_with = "generate")]
    pub(crate) tasks: Option<PathBuf>,
    /// Where results, records and the report are kept; what is there already is not done again [default: the
    /// name of the file of tasks, with .eval]
    #[arg(long, short, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// A setting by its flags, those of `abyme run`, which come after the others: 'deep=--max-depth 2', or
    /// just '--max-depth 2'; repeatable: each model is tried with each setting [default: one without flags]
    #[arg(long, value_name = "NAME=FLAGS", allow_hyphen_values = true)]
    pub(crate) setting: Vec<String>,
    /// Also ask each model plainly, with everything in one prompt. What is longer than it can read is
    /// refused, which counts as wrong; or, with `truncate`, its middle is left out
    #[arg(long, value_name = "IF TOO LONG", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "refuse")]
    pub(crate) plain: Option<TooLong>,
    /// Only ask plainly
    #[arg(long, conflicts_with = "setting")]
    pub(crate) no_rlm: bool,
    /// The model that decides about answers of tasks with the scorer `judge`
    #[arg(long, value_name = "MODEL")]
    pub(crate) judge: Option<String>,
    /// How often each setting answers each task
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) repetitions: u32,
    /// Tasks in progress at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) concurrency: u32,
    /// US dollars of all tasks, settings and starts together, the judge included; --max-cost is for each run
    /// [default: no limit]
    #[arg(long, value_name = "USD", allow_negative_numbers = true)]
    pub(crate) max_total_cost: Option<f64>,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print tasks, in place of trying any
    #[arg(long, value_name = "KIND")]
    pub(crate) generate: Option<Generated>,
    /// Generated tasks of each length
    #[arg(long, value_name = "N", requires = "generate", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: u32,
    /// Lengths of generated inputs in tokens of 4 bytes, such as 8k,64k,1m, in powers of 1024
    #[arg(long, value_name = "N,...", requires = "generate", default_value = "8k", value_delimiter = ',')]
    #[arg(value_parser = tokens)]
    pub(crate) tokens: Vec<u64>,
    // With `--generate`, its `--seed` is that of the tasks.
    #[command(flatten)]
    pub(crate) models: ModelMatrix<RlmArgs>,
}

/// What is done with inputs that a model cannot read in one prompt.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TooLong {
    Refuse,
    Truncate,
}

/// Generators by name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Generated {
    /// One line of a long text has the answer
    SNiah,
    /// Labels that follow from what lines mean are to be counted and compared
    Oolong,
    /// All pairs of users that meet a condition on such labels
    OolongPairs,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Which text and which number: the same seed gives the same ones
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How much text: 200KB, 10MB, 1.5GB
    #[arg(long, value_name = "SIZE", default_value = "10MB", value_parser = size)]
    pub(crate) size: u64,
    /// Print one JSON object and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the second part to a file, one event a line, to look at with `abyme view`
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) trace: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) backend: BackendArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InterpreterArgs {
    /// Where the Python runs
    #[arg(long, value_name = "NAME", default_value = COMPILED[0])]
    pub(crate) backend: String,
    /// Time of one cell in seconds, tool calls included
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds_over_zero)]
    pub(crate) cell_timeout: Duration,
    /// Most memory of the session, in MB of 1024 KB [default: 512 for wasm and docker, 1024
    /// for modal, 4096 for subprocess]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(16..=1 << 30))]
    pub(crate) memory_mb: Option<u64>,
    /// Most size of what the session writes, all files together [default: 64; 1024 for subprocess, where it
    /// is for each file if the session is not isolated], in MB of 1024 KB
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub(crate) disk_mb: Option<u64>,
    /// Most memory of this command that one message of the session may take, such as a submission or the
    /// arguments of a call, in MB of 1024 KB [default: 256]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub(crate) max_message_mb: Option<u64>,
    /// Characters kept of stdout, of stderr and of the value, each: the first and the last half
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) max_output_chars: usize,
    /// Longest line taken from stdin, in MB of 1024 KB
    #[arg(long, value_name = "N", default_value_t = 1024)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub(crate) max_line_mb: u64,
    /// The Python to run: a name or a path, in the image for `docker` and `modal` [default: python3]; for
    /// `pyo3`, a virtual environment
    #[arg(long, value_name = "PATH")]
    pub(crate) python: Option<PathBuf>,
    /// The image of the `docker` and `modal` backends [default: python:3.13-slim]
    #[arg(long, value_name = "NAME")]
    pub(crate) image: Option<String>,
    /// What the `subprocess` interpreter does about a mechanism of its isolation that this machine does not
    /// have [default on Linux: required]
    #[arg(long, value_enum, value_name = "MODE")]
    pub(crate) isolation: Option<Isolation>,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Try this interpreter alone. What costs money is tried only so: `modal` makes two small sandboxes for
    /// some seconds, less than 0.01 $
    #[arg(long, value_name = "NAME")]
    pub(crate) interpreter: Option<String>,
    /// The Python of the `subprocess` interpreter: a name or a path [default: python3]
    #[arg(long, value_name = "PATH")]
    pub(crate) python: Option<PathBuf>,
    /// The image of the `docker` and `modal` interpreters [default: python:3.13-slim]
    #[arg(long, value_name = "NAME")]
    pub(crate) image: Option<String>,
    /// What the `subprocess` interpreter does about a mechanism of its isolation that this machine does not
    /// have [default on Linux: required]
    #[arg(long, value_enum, value_name = "MODE")]
    pub(crate) isolation: Option<Isolation>,
    /// Ask the model one tiny question, to see that key and connection work, and say what to do if not
    #[arg(long)]
    pub(crate) check_model: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Reads the command line. Help and version are printed here.
pub(crate) fn parse() -> Result<Command, Failure> {
    let cli = Cli::command();
    let args = ask::with_command(std::env::args_os().collect(), &cli)?;
    let command = args.get(1).filter(|first| cli.find_subcommand(first).is_some());
    let command = command.map(|first| first.to_string_lossy().into_owned());
    read(cli, args).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            match Standard::default().write(&error.render().to_string()) {
                Ok(()) => Failure::quiet(crate::exit::Exit::Ok),
                Err(failure) => failure,
            }
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            terminal::say(error.render().to_string().trim_end());
            Failure::quiet(crate::exit::Exit::Usage)
        }
        _ => parse::in_one_line(&error.render().to_string(), command.as_deref()),
    })
}

fn read(mut cli: clap::Command, args: Vec<OsString>) -> clap::error::Result<Command> {
    let mut matches = cli.try_get_matches_from_mut(args)?;
    let given = matches.subcommand().map(|(_, matches)| GivenFlags::of(matches)).unwrap_or_default();
    let mut command =
        Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut cli))?.command;
    match &mut command {
        Command::Resume(args) => args.recorded.given = given,
        Command::Replay(args) => args.recorded.given = given,
        Command::Fork(args) => args.recorded.given = given,
        _ => {}
    }
    Ok(command)
}

/// Reads a command line on which a flag may come twice: the last one counts. `given` is what it is about.
pub(crate) fn parse_overridden(line: &[OsString], given: &str) -> Result<Command, Failure> {
    let command = Cli::command().mut_subcommands(|command| command.args_override_self(true));
    let matches = command.try_get_matches_from(line);
    let read = matches.and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    read.map(|cli| cli.command)
        .map_err(|error| parse::in_one_line(&error.render().to_string(), Some("eval")).context(given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
