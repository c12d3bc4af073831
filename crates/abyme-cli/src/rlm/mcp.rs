//! The tools of MCP servers, for `--mcp`.

use abyme::{McpServer, Tool};

use crate::exit::Failure;

/// Connects to a server: a URL, or a command line as a shell reads it. The server ends with its tools.
pub(super) async fn tools(server: &str) -> Result<Vec<Tool>, Failure> {
    let server = match server.starts_with("http://") || server.starts_with("https://") {
        true => McpServer::url(server),
        false => {
            let mut words = shlex::split(server).unwrap_or_default().into_iter();
            let Some(program) = words.next() else {
                let failure = Failure::usage("--mcp: neither a URL nor a command line");
                return Err(failure.hint("quote it as for a shell: --mcp 'npx -y some-server \"a folder\"'"));
            };
            McpServer::command(program).args(words)
        }
    };
    match server.connect().await {
        Ok(client) => Ok(client.tools()),
        Err(error) => Err(Failure::usage(error.message()).context("--mcp")),
    }
}
