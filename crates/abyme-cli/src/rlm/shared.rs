//! What several `Rlm`s of one command share, each made once: what stands before models, sessions, tools,
//! prices.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use abyme::{InterpreterFactory, PriceTable};

use super::wrapped::Wrapped;
use crate::{
    args::{ModelArgs, WrapArgs},
    backend::{self, Settings},
    exit::Failure,
    files, models,
};

/// Parts of `Rlm`s, by what the command line says of them.
pub(crate) struct Shared {
    /// Has to be finished at the end.
    pub(crate) wrapped: Wrapped,
    factories: HashMap<String, Arc<dyn InterpreterFactory>>,
    prices: HashMap<Option<PathBuf>, Option<PriceTable>>,
    #[cfg(feature = "mcp")]
    tools: HashMap<String, Vec<abyme::Tool>>,
}

impl Shared {
    /// Opens what the flags put around models.
    pub(crate) fn new(args: &WrapArgs, models: &ModelArgs) -> Result<Self, Failure> {
        args.replay.iter().try_for_each(|path| files::check_read(path))?;
        Ok(Self {
            wrapped: Wrapped::new(args, models).map_err(|error| Failure::before_run(&error))?,
            factories: HashMap::new(),
            prices: HashMap::new(),
            #[cfg(feature = "mcp")]
            tools: HashMap::new(),
        })
    }

    /// Where sessions come from.
    pub(super) fn factory(
        &mut self,
        name: &str,
        settings: &Settings,
    ) -> Result<Arc<dyn InterpreterFactory>, Failure> {
        let described = format!("{name} {settings:?}");
        if let Some(factory) = self.factories.get(&described) {
            return Ok(factory.clone());
        }
        let factory = backend::factory(name, settings)?;
        self.factories.insert(described, factory.clone());
        Ok(factory)
    }

    /// The user's own prices.
    pub(super) fn prices(&mut self, flag: Option<&Path>) -> Result<Option<PriceTable>, Failure> {
        let flag = flag.map(Path::to_path_buf);
        if let Some(prices) = self.prices.get(&flag) {
            return Ok(prices.clone());
        }
        flag.iter().try_for_each(|path| files::check_read(path))?;
        let prices = models::prices(flag.as_deref()).map_err(|error| Failure::before_run(&error))?;
        self.prices.insert(flag, prices.clone());
        Ok(prices)
    }

    /// The tools of an MCP server. Its connection is open as long as one of them is there.
    #[cfg(feature = "mcp")]
    pub(super) async fn tools(&mut self, server: &str) -> Result<Vec<abyme::Tool>, Failure> {
        if let Some(tools) = self.tools.get(server) {
            return Ok(tools.clone());
        }
        let tools = tools(server).await?;
        self.tools.insert(server.to_owned(), tools.clone());
        Ok(tools)
    }
}

/// Connects to a server: a URL, or a command line as a shell reads it. The server ends with its tools.
#[cfg(feature = "mcp")]
async fn tools(server: &str) -> Result<Vec<abyme::Tool>, Failure> {
    let server = match server.starts_with("http://") || server.starts_with("https://") {
        true => abyme::McpServer::url(server),
        false => {
            let mut words = shlex::split(server).unwrap_or_default().into_iter();
            let Some(program) = words.next() else {
                let failure = Failure::usage("--mcp: neither a URL nor a command line");
                return Err(failure.hint("quote it as for a shell: --mcp 'npx -y some-server \"a folder\"'"));
            };
            abyme::McpServer::command(program).args(words)
        }
    };
    match server.connect().await {
        Ok(client) => Ok(client.tools()),
        Err(error) => Err(Failure::usage(error.message()).context("--mcp")),
    }
}
