//! The beginning of a connection to the agent. Both sides prove that they know the secret, and the host says
//! what the connection is for.

use std::{io, time::Duration};

use abyme_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use socket2::{SockRef, TcpKeepalive};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{config::Config, lines::Lines, secret};

/// The version of the protocol with the agent, which is specified at the top of `agent.py`.
const VERSION: u32 = 1;

/// What a connection is for.
#[derive(Serialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub(crate) enum Request<'a> {
    /// Makes a session and controls it.
    Control,
    /// Starts the session's process.
    Stream { session: &'a str, boot: &'a str, limits: Limits },
}

/// What the process may use; what is absent is not limited.
#[derive(Serialize)]
pub(crate) struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    processes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_files: Option<u64>,
}

impl Limits {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            memory: config.memory_limit_bytes,
            cpu_seconds: config.cpu_timeout.map(|limit| limit.as_secs().max(1)),
            file_size: config.max_file_bytes,
            processes: config.max_processes,
            open_files: config.max_open_files,
        }
    }
}

#[derive(Deserialize)]
struct Greeting {
    agent: String,
    version: u32,
    nonce: String,
}

#[derive(Serialize)]
struct Hello<'a> {
    version: u32,
    nonce: &'a str,
    proof: String,
    #[serde(flatten)]
    request: Request<'a>,
}

/// The agent's answer: what it granted, or why it refused.
#[derive(Deserialize)]
struct Answer {
    ok: bool,
    #[serde(default)]
    proof: String,
    #[serde(default)]
    session: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    message: String,
}

/// A connection that the agent accepted, and the name of the session that it made for a control connection.
pub(crate) async fn connect(config: &Config, request: Request<'_>) -> Result<(TcpStream, String)> {
    let (address, limit) = (&config.address, config.connect_timeout);
    match tokio::time::timeout(limit, try_to_connect(config, request)).await {
        Ok(connected) => connected.map_err(|error| error.with("agent", address)),
        Err(_) => Err(unavailable(format!(
            "the agent at {address} did not answer within {:.1} s: check the address, and the firewall or \
             tunnel in between",
            limit.as_secs_f64()
        ))
        .with("agent", address)),
    }
}

async fn try_to_connect(config: &Config, request: Request<'_>) -> Result<(TcpStream, String)> {
    let address = &config.address;
    let stream = TcpStream::connect(address).await.map_err(|error| cannot_connect(address, error))?;
    tune(&stream).map_err(|error| cannot_connect(address, error))?;
    let mut lines = Lines::new(stream);
    let stranger =
        || unavailable(format!("what listens at {address} is not a Abyme agent: check the address"));
    let greeting = lines.next_line().await.map_err(|error| stranger().with_source(error))?;
    let greeting: Greeting =
        serde_json::from_str(&greeting).map_err(|error| stranger().with_source(error))?;
    if greeting.agent != "abyme" {
        return Err(stranger());
    }
    if greeting.version != VERSION {
        return Err(unavailable(format!(
            "the agent at {address} speaks version {}, and this program version {VERSION}: start the \
             agent.py there that belongs to this program",
            greeting.version
        )));
    }

    let nonce = secret::nonce()
        .map_err(|error| unavailable(format!("this machine gives no random numbers: {error}")))?;
    let nonces = format!("{}:{nonce}", greeting.nonce);
    let hello =
        Hello { version: VERSION, nonce: &nonce, proof: config.secret.proof("host", &nonces), request };
    let mut hello = serde_json::to_vec(&hello)
        .map_err(|error| Error::new(ErrorKind::Internal, "a request cannot be written").with_source(error))?;
    hello.push(b'\n');
    let broke = |error: io::Error| {
        unavailable(format!("the connection to the agent at {address} broke: {error}")).with_source(error)
    };
    lines.connection().write_all(&hello).await.map_err(broke)?;
    let answer = lines.next_line().await.map_err(broke)?;
    let answer: Answer = serde_json::from_str(&answer).map_err(|error| stranger().with_source(error))?;
    if !answer.ok {
        return Err(refused(address, &answer));
    }
    // Without this check, a program in the agent's place would get the inputs of the run.
    if !config.secret.proves(&answer.proof, "agent", &nonces) {
        return Err(Error::new(
            ErrorKind::Config,
            format!(
                "what listens at {address} does not know the secret: it is not the agent that was asked for"
            ),
        ));
    }
    let stream = lines.into_inner().ok_or_else(stranger)?;
    Ok((stream, answer.session))
}

/// Small messages go out at once, and a machine that vanished is noticed within a minute.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let often = TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10));
    SockRef::from(stream).set_tcp_keepalive(&often)
}

fn unavailable(message: String) -> Error {
    Error::new(ErrorKind::Unavailable, message)
}

fn cannot_connect(address: &str, error: io::Error) -> Error {
    let message = match error.kind() {
        io::ErrorKind::ConnectionRefused => format!(
            "nothing listens at {address}: start the agent there with `python3 agent.py --listen {address}`, \
             or the tunnel to it"
        ),
        _ => format!("cannot connect to the agent at {address}: {error}"),
    };
    unavailable(message).with_source(error)
}

fn refused(address: &str, answer: &Answer) -> Error {
    let why = answer.message.escape_debug();
    match answer.error.as_str() {
        "secret" => Error::new(
            ErrorKind::Config,
            format!(
                "the agent at {address} has another secret: give this program the one in the agent's \
                 ABYME_AGENT_SECRET"
            ),
        ),
        _ => unavailable(format!("the agent at {address} refused: {why}")),
    }
}
