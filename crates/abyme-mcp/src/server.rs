//! What there is to say about a server before anything is connected.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use abyme_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// A Model Context Protocol server: a command to start, or a URL.
///
/// ```no_run
/// # async fn example(builder: abyme_core::RlmBuilder) -> abyme_core::Result<()> {
/// use abyme_mcp::McpServer;
///
/// let files = McpServer::command("npx")
///     .args(["-y", "@modelcontextprotocol/server-filesystem", "/srv/docs"])
///     .connect()
///     .await?;
/// let search = McpServer::url("https://example.com/mcp").bearer("a token").prefix("web").connect().await?;
/// let rlm = builder.tools(files.tools()).tools(search.tools()).build()?;
/// # Ok(()) }
/// ```
///
/// `serde` reads the form that other clients have, `{"command": "npx", "args": ["-y", "..."], "env": {..}}`
/// or `{"url": "https://...", "headers": {..}}`, with these fields. It does not write `env` and `headers`,
/// which hold secrets, and `Debug` shows their names only.
///
/// | field, and setter | default |
/// |---|---|
/// | `prefix` | none |
/// | `only` | all tools |
/// | `connect_timeout` | 30 s |
/// | `call_timeout` | 60 s |
/// | `max_response_bytes` | 16 MiB |
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct McpServer {
    pub(crate) command: Option<String>,
    pub(crate) args: Vec<String>,
    #[serde(skip_serializing)]
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) working_dir: Option<PathBuf>,
    pub(crate) url: Option<String>,
    #[serde(skip_serializing)]
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) prefix: Option<String>,
    pub(crate) only: Option<Vec<String>>,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) connect_timeout: Duration,
    #[serde(with = "abyme_core::seconds::option")]
    pub(crate) call_timeout: Option<Duration>,
    pub(crate) max_response_bytes: usize,
}

impl Default for McpServer {
    fn default() -> Self {
        Self {
            command: None,
            args: Vec::new(),
            env: BTreeMap::new(),
            working_dir: None,
            url: None,
            headers: BTreeMap::new(),
            prefix: None,
            only: None,
            connect_timeout: Duration::from_secs(30),
            call_timeout: Some(Duration::from_secs(60)),
            max_response_bytes: 16 << 20,
        }
    }
}

impl McpServer {
    /// A server that is a program on this machine, which is started and spoken to over its stdin and stdout.
    ///
    /// It gets an environment of its own: `PATH`, `HOME`, `USER`, `LOGNAME`, `SHELL`, `TERM`, `LANG`,
    /// `LC_ALL` and `TMPDIR` (on Windows `PATH`, `SYSTEMROOT`, `TEMP` and those of the user's folders), and
    /// what [`env`](Self::env) sets. Keys of the host's environment do not reach it.
    pub fn command(program: impl Into<String>) -> Self {
        Self { command: Some(program.into()), ..Self::default() }
    }

    /// A server that is asked over HTTP, by the streamable HTTP transport.
    pub fn url(url: impl Into<String>) -> Self {
        Self { url: Some(url.into()), ..Self::default() }
    }

    /// Adds arguments of the command.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable of the command.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets the working directory of the command. Default: the host's.
    pub fn working_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.working_dir = Some(path.into());
        self
    }

    /// Sets a header of each HTTP request.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Sets the token of the header `Authorization: Bearer`.
    pub fn bearer(self, token: impl fmt::Display) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    /// Begins the Python names of all tools with `prefix` and `_`, so that those of two servers differ.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Takes these tools only, by the server's names.
    pub fn only(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.only = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Sets how long the start may take, the list of the tools included. Default 30 s.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Sets how long a call of a tool may take; then it raises `TimeoutError`. Default 60 s; `None` is no
    /// limit.
    pub fn call_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.call_timeout = limit.into();
        self
    }

    /// Sets how large an answer over HTTP may be. Default 16 MiB. Over stdio it is 16 MiB always.
    pub fn max_response_bytes(mut self, bytes: usize) -> Self {
        self.max_response_bytes = bytes;
        self
    }

    /// How messages name it: without arguments, paths and queries, which may hold secrets.
    pub(crate) fn name(&self) -> String {
        match (&self.command, &self.url) {
            (Some(command), _) => command.clone(),
            (None, Some(url)) => {
                let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
                let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
                host.rsplit('@').next().unwrap_or_default().to_owned()
            }
            (None, None) => "(none)".to_owned(),
        }
    }

    /// An error and what is behind it, in one line and without the URL, which may hold a secret.
    pub(crate) fn causes(&self, error: &(dyn std::error::Error + 'static)) -> String {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        let Some(url) = &self.url else { return text };
        // Errors have it as it is sent.
        let sent = reqwest::Url::parse(url).map(String::from);
        [Some(url.clone()), sent.ok()]
            .into_iter()
            .flatten()
            .fold(text, |text, url| text.replace(&url, &self.name()))
    }

    /// Refuses what cannot be connected to.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |message: &str| Err(Error::new(ErrorKind::Config, message.to_owned()));
        match self {
            Self { command: None, url: None, .. } => wrong(
                "an MCP server needs a command or a URL: `McpServer::command(..)` or `McpServer::url(..)`",
            ),
            Self { command: Some(_), url: Some(_), .. } => {
                wrong("an MCP server has a command and a URL: leave one of them out")
            }
            Self { command: Some(command), .. } if command.trim().is_empty() => {
                wrong("the command of an MCP server is empty")
            }
            Self { url: Some(_), args, env, .. } if !args.is_empty() || !env.is_empty() => wrong(
                "an MCP server with a URL has arguments or an environment, which are those of a command",
            ),
            Self { command: Some(_), headers, .. } if !headers.is_empty() => {
                wrong("an MCP server with a command has headers, which are those of a URL")
            }
            Self { connect_timeout, .. } if connect_timeout.is_zero() => {
                wrong("the `connect_timeout` of an MCP server is 0: none could answer")
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for McpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpServer")
            .field("name", &self.name())
            .field("args", &self.args.len())
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("working_dir", &self.working_dir)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("prefix", &self.prefix)
            .field("only", &self.only)
            .field("connect_timeout", &self.connect_timeout)
            .field("call_timeout", &self.call_timeout)
            .field("max_response_bytes", &self.max_response_bytes)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let expected = serde_json::json!({
            "command": null, "args": [], "working_dir": null, "url": null, "prefix": null, "only": null,
            "connect_timeout": 30.0, "call_timeout": 60.0, "max_response_bytes": 16 << 20,
        });
        assert_eq!(serde_json::to_value(McpServer::default()).unwrap(), expected);
    }

    #[test]
    fn it_is_read_in_the_form_of_other_clients_and_shows_no_secret() {
        let text = r#"{"command": "npx", "args": ["-y", "--key=s3cret"], "env": {"TOKEN": "s3cret"}}"#;
        let read: McpServer = serde_json::from_str(text).unwrap();
        let built = McpServer::command("npx").args(["-y", "--key=s3cret"]).env("TOKEN", "s3cret");
        assert_eq!(read, built);
        let remote = McpServer::url("https://user:s3cret@example.com/mcp?key=s3cret").bearer("s3cret");
        assert_eq!(remote.name(), "example.com");
        for shown in [format!("{read:?}"), format!("{remote:?}")] {
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }

    #[test]
    fn what_cannot_be_connected_to_is_refused() {
        for (server, expected) in [
            (McpServer::default(), "needs a command or a URL"),
            (McpServer { url: Some("http://a".into()), ..McpServer::command("b") }, "leave one of them out"),
            (McpServer::command(" "), "is empty"),
            (McpServer::url("http://a").args(["b"]), "has arguments"),
            (McpServer::command("a").bearer("b"), "has headers"),
            (McpServer::command("a").connect_timeout(Duration::ZERO), "`connect_timeout`"),
        ] {
            let error = server.check().unwrap_err();
            assert!(error.message().contains(expected), "{error}");
        }
    }
}
