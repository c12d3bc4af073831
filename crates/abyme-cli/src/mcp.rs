//! `abyme mcp`: serves MCP clients, over stdin and stdout or over HTTP.

use std::{path::PathBuf, sync::Arc};

use abyme::{CodePolicy, Error, ErrorKind, Inputs, InterpreterFactory, Limits, TaskSignature};
use abyme_mcp_server::{HttpConfig, RlmServer, RlmServerConfig};
use tokio::fs::File;

use crate::{
    args::McpArgs,
    backend::{self, Settings},
    chat::names,
    exit::{Exit, Failure},
    files::check_written,
    rlm::{self, Described},
    signals::{ORDERLY_TIMEOUT, Stop},
    standard::Standard,
    terminal, token,
};

/// The environment variable with the token of clients over HTTP.
const TOKEN: &str = "ABYME_MCP_TOKEN";
/// What the inputs of a question may take. Sessions reserve memory for them, and use what they need.
const ABOUT_INPUT_BYTES: u64 = 512 << 20;
/// What the files of one question may have together, as text.
const MAX_FILES_BYTES: u64 = 1 << 30;

pub(crate) async fn run(args: McpArgs, standard: &Standard) -> Result<Exit, Failure> {
    let before = |error: Error| Failure::before_run(&error);
    if let (true, Some(flag)) = (args.server.sessions_only, of_runs_alone(&args)) {
        let message = format!("--sessions-only answers no questions, and {flag} is for the cells of these");
        return Err(Failure::usage(message).hint("leave one of the two out"));
    }
    check_written([("--record", args.rlm.wrap.record.as_deref())], args.rlm.read_files())?;
    let backend = backend(&args)?;
    let mut builder = RlmServer::builder(config(&args)).sessions(backend.clone());
    if let Some(policy) = args.rlm.policy {
        builder = builder.session_policy(CodePolicy::from(policy));
    }
    if !args.server.root.is_empty() {
        builder = builder.files(&args.server.root, files);
    }
    let mut wrapped = None;
    if !args.server.sessions_only {
        let task: TaskSignature = "question: str -> answer".parse().map_err(before)?;
        let described =
            rlm::described(&args.rlm, &task, ABOUT_INPUT_BYTES, args.server.max_runs as usize).await?;
        let Described { builder: mut rlm, factory: _, wrapped: of_models } = described;
        if let Some(text) = &args.server.instructions {
            rlm = rlm.instructions(text);
        }
        builder = builder.rlm(rlm.interpreter(backend).build().map_err(before)?);
        wrapped = Some(of_models);
    }
    let server = builder.build().map_err(before)?;
    let mut stop = Stop::listen()?;
    let ended = tokio::select! {
        ended = serve(&server, &args, standard) => Ok(ended),
        exit = stop.received() => Err(exit),
    };
    match ended {
        Ok(ended) => {
            server.close().await;
            ended?;
        }
        Err(exit) => {
            // A second signal does not wait.
            tokio::select! {
                _ = tokio::time::timeout(ORDERLY_TIMEOUT, server.close()) => {}
                _ = stop.received() => {}
            }
            // A server over HTTP has no other end. A client that started this command closes its stdin.
            if args.server.http.is_none() {
                return Err(Failure::quiet(exit));
            }
        }
    }
    if let Some(wrapped) = wrapped {
        wrapped.finish_replay()?;
        wrapped.finish_recording()?;
    }
    Ok(Exit::Ok)
}

/// Serves the client of stdin and stdout until it ends, or those over HTTP for good.
async fn serve(server: &RlmServer, args: &McpArgs, standard: &Standard) -> Result<(), Failure> {
    let Some(address) = args.server.http else {
        let (input, output) = standard
            .files()
            .map_err(|error| Failure::new(Exit::Failed, format!("cannot use stdin and stdout: {error}")))?;
        let served = server.serve_stream(File::from_std(input), File::from_std(output)).await;
        return served.map_err(|error| match error.kind() {
            ErrorKind::Protocol => Failure::usage(error.message())
                .hint("an MCP client starts this command by itself; for HTTP there is --http"),
            ErrorKind::Io => Failure::new(Exit::Output, error.message()),
            _ => Failure::from(error),
        });
    };
    let mut config = HttpConfig::default().address(address);
    config = args.server.allow_host.iter().fold(config, HttpConfig::allow_host);
    config = args.server.allow_origin.iter().fold(config, HttpConfig::allow_origin);
    let given = token::given(TOKEN)?;
    if let Some(token) = &given {
        config = config.token(token);
    }
    let http = server.listen(config).await.map_err(|error| Failure::before_run(&error))?;
    if !address.ip().is_loopback() {
        terminal::say(
            "abyme: warning: requests from other machines come over the network as they are, tokens too; put \
             a proxy with TLS before this server",
        );
    }
    let token = match given {
        Some(_) => String::new(),
        None => format!("Authorization: Bearer {}\n", http.token()),
    };
    standard.write(&format!("{}\n{token}", http.url()))?;
    Ok(http.serve().await?)
}

/// A flag that only questions have a use for.
fn of_runs_alone(args: &McpArgs) -> Option<&'static str> {
    if !args.rlm.tool.is_empty() {
        return Some("--tool");
    }
    #[cfg(feature = "mcp")]
    if !args.rlm.mcp.is_empty() {
        return Some("--mcp");
    }
    None
}

fn config(args: &McpArgs) -> RlmServerConfig {
    let limits = rlm::limited(Limits::default(), &args.rlm.limits);
    let mut config = RlmServerConfig::default()
        .max_runs(args.server.max_runs as usize)
        .max_sessions(args.server.max_sessions as usize)
        .session_idle_timeout(args.server.session_idle_timeout)
        .max_output_chars(limits.max_output_chars);
    if let Some(limit) = limits.cell_timeout {
        config = config.cell_timeout(limit);
    }
    match &args.server.traces {
        Some(directory) => config.trace_dir(directory),
        None => config,
    }
}

/// What makes the sessions of clients, of runs and of their children.
fn backend(args: &McpArgs) -> Result<Arc<dyn InterpreterFactory>, Failure> {
    let name = &args.rlm.backend.interpreter;
    let of_runs = rlm::sessions_of(&args.rlm, args.server.max_runs as usize);
    let sessions = of_runs.saturating_add(args.server.max_sessions);
    let settings = args.rlm.backend.settings(backend::memory_for(name, ABOUT_INPUT_BYTES));
    backend::factory(name, &Settings { sessions: Some(sessions.min(1000)), ..settings })
}

/// The files and directories that a client named, each as the variable of its name.
fn files(paths: &[PathBuf]) -> abyme::Result<Inputs> {
    let wrong = |message: String| Error::new(ErrorKind::InvalidInput, message);
    let name = |path: &PathBuf| match path.to_str() {
        Some(path) => Ok(path.to_owned()),
        None => Err(wrong(format!("the name of `{}` is no UTF-8", path.display()))),
    };
    let names = paths.iter().map(name).collect::<abyme::Result<Vec<_>>>()?;
    let loaded = names::inputs(&names).and_then(|given| names::load(&given, MAX_FILES_BYTES));
    Ok(loaded.map_err(|failure| wrong(failure.message().to_owned()))?.inputs)
}
