//! Scenarios `model-cpu`, `model-first-piece`, `model-batch`, `model-batch-memory` and `model-cap`: calls of
//! a model over HTTP, by the OpenAI client, against a server on the loopback interface.
//!
//! - `model-cpu`: 500 calls one after the other. The time is what the client's thread was on a CPU for each
//!   call; the server has threads of its own.
//! - `model-first-piece`: from the call to the first piece of a streamed text, the mean of 100.
//! - `model-batch`: 1 000 calls at once, each answered after 50 ms, until the last answer is there. As
//!   `model-batch-memory`: the most memory meanwhile, over what there was before, server included.
//! - `model-cap`: an answer of 100 MB, of which 8 MiB are read, until the call is over. That the server could
//!   not send more than the cap and what sockets hold is checked.
//!
//! Every answer is checked. Floor: the same by bare reqwest, which reads the JSON and takes the text out of
//! it; for the cap it reads everything.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use abyme::{Delta, LanguageModel, OpenAi, Request};
use async_trait::async_trait;
use futures_util::{StreamExt, future::try_join_all};

use super::{
    loopback::{Answer, FIRST_PIECE, Loopback, TEXT},
    measured::Measured,
    memory,
    work::{PreparedTrial, check, made, seconds, words},
};
use crate::{floors::because, goal::Goal, scenario::Scenario, systems::System, trial::Trial, units::Unit};

const REQWEST: &str = "bare reqwest";
const CALLS: u32 = 500;
const STREAMS: u32 = 100;
const AT_ONCE: usize = 1000;
const LARGE: u64 = 100_000_000;
/// What may be on its way in the sockets of both sides when the client stops.
const IN_SOCKETS: u64 = 16 << 20;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Cpu,
    FirstPiece,
    Batch,
    BatchMemory,
    Cap,
}

/// The scenario, for one of its parts.
#[derive(Debug)]
pub(crate) struct ModelCall {
    part: Part,
    floor: Measured,
}

impl ModelCall {
    /// All of them.
    pub(crate) fn all() -> Vec<Box<dyn Scenario>> {
        let parts = [Part::Cpu, Part::FirstPiece, Part::Batch, Part::BatchMemory, Part::Cap];
        let boxed = |part| Box::new(Self { part, floor: Measured::default() }) as Box<dyn Scenario>;
        parts.map(boxed).into_iter().collect()
    }
}

#[async_trait]
impl Scenario for ModelCall {
    fn name(&self) -> &'static str {
        match self.part {
            Part::Cpu => "model-cpu",
            Part::FirstPiece => "model-first-piece",
            Part::Batch => "model-batch",
            Part::BatchMemory => "model-batch-memory",
            Part::Cap => "model-cap",
        }
    }

    fn title(&self) -> &'static str {
        match self.part {
            Part::Cpu => "CPU of a model call over HTTP",
            Part::FirstPiece => "time to the first piece of a streamed reply",
            Part::Batch => "1 000 model calls at once over HTTP",
            Part::BatchMemory => "peak memory of 1 000 model calls at once",
            Part::Cap => "a reply of 100 MB, stopped at 8 MiB",
        }
    }

    fn workload(&self) -> &'static str {
        match self.part {
            Part::Cpu => "a completion is asked for and read; the server answers at once",
            Part::FirstPiece => "a streamed completion is asked for, until the first piece of its text",
            Part::Batch | Part::BatchMemory => {
                "1 000 completions are asked for at once, and the server answers each after 50 ms"
            }
            Part::Cap => "a completion is asked for, and the server sends 100 MB",
        }
    }

    fn unit(&self) -> Unit {
        if self.part == Part::BatchMemory { Unit::Bytes } else { Unit::Seconds }
    }

    fn goal(&self, system: &str, _at: Option<u64>) -> Option<Goal> {
        let over_floor = |more: f64| self.floor.median().map(|floor| Goal::Value(floor + more));
        match self.part {
            _ if system != "loop" => None,
            Part::Cpu => over_floor(50e-6),
            Part::FirstPiece => over_floor(1e-3),
            Part::Batch => Some(Goal::Value(0.15)),
            Part::BatchMemory | Part::Cap => None,
        }
    }

    fn floors(&self) -> Vec<&'static str> {
        vec![REQWEST]
    }

    async fn prepare(&self, system: &System, _at: Option<u64>) -> PreparedTrial {
        let is_bare = match system {
            System::Loop => false,
            System::Floor(REQWEST) => true,
            _ => return Ok(None),
        };
        let server = Loopback::start(match self.part {
            Part::Cpu => Answer::Completion(Duration::ZERO),
            Part::FirstPiece => Answer::Pieces,
            Part::Batch | Part::BatchMemory => Answer::Completion(Duration::from_millis(50)),
            Part::Cap => Answer::Large(LARGE),
        });
        let server = server.await?;
        let client = Client::new(&server.url, is_bare)?;
        let mut calls = Calls { part: self.part, server, client };
        calls.sample().await?;
        if is_bare { made(self.floor.note(calls)) } else { made(calls) }
    }
}

/// What calls the model.
#[derive(Clone)]
enum Client {
    Ours(OpenAi),
    Bare(Arc<Bare>),
}

struct Bare {
    client: reqwest::Client,
    url: String,
}

struct Calls {
    part: Part,
    server: Loopback,
    client: Client,
}

#[async_trait]
impl Trial for Calls {
    async fn sample(&mut self) -> Result<f64, String> {
        match self.part {
            Part::Cpu => {
                let (url, is_bare) = (self.server.url.clone(), matches!(self.client, Client::Bare(_)));
                let on_a_thread = tokio::task::spawn_blocking(move || cpu_of_a_call(&url, is_bare));
                on_a_thread.await.map_err(because("the thread"))?
            }
            Part::FirstPiece => {
                let mut taken = 0.0;
                for _ in 0..STREAMS {
                    taken += self.client.first_piece().await?;
                }
                Ok(taken / f64::from(STREAMS))
            }
            Part::Batch => {
                let started = Instant::now();
                self.all_at_once().await?;
                Ok(seconds(started))
            }
            Part::BatchMemory => {
                let before = memory::resident()?;
                memory::forget_peak()?;
                self.all_at_once().await?;
                Ok(memory::peak()?.saturating_sub(before) as f64)
            }
            Part::Cap => {
                let (before, started) = (self.server.sent(), Instant::now());
                match &self.client {
                    Client::Ours(model) => {
                        let refused = model.complete(&request()).await.err().map(words).unwrap_or_default();
                        check("that it is too large", refused.contains("larger than 8 MiB"), true)?;
                        let taken = seconds(started);
                        let sent = self.server.sent() - before;
                        let most = (8 << 20) + IN_SOCKETS;
                        return if sent <= most { Ok(taken) } else { Err(format!("{sent} bytes were sent")) };
                    }
                    Client::Bare(bare) => check("the size", bare.send(false).await?.len() as u64, LARGE)?,
                }
                Ok(seconds(started))
            }
        }
    }
}

impl Calls {
    async fn all_at_once(&self) -> Result<(), String> {
        let calls = (0..AT_ONCE).map(|_| {
            let client = self.client.clone();
            tokio::spawn(async move { client.complete().await })
        });
        for ended in try_join_all(calls).await.map_err(because("a call"))? {
            check("the text", ended?.as_str(), TEXT)?;
        }
        Ok(())
    }
}

impl Client {
    fn new(url: &str, is_bare: bool) -> Result<Self, String> {
        if !is_bare {
            return Ok(Self::Ours(OpenAi::new("openai/bench").base_url(url)));
        }
        let encryption =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let encryption = encryption.with_safe_default_protocol_versions().map_err(because("TLS"))?;
        let encryption = encryption.with_root_certificates(rustls::RootCertStore::empty());
        let client = reqwest::Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            .tls_backend_preconfigured(encryption.with_no_client_auth())
            .build();
        let client = client.map_err(because("reqwest"))?;
        Ok(Self::Bare(Arc::new(Bare { client, url: format!("{url}/chat/completions") })))
    }

    async fn complete(&self) -> Result<String, String> {
        match self {
            Self::Ours(model) => Ok(model.complete(&request()).await.map_err(words)?.text),
            Self::Bare(bare) => {
                let body = bare.send(false).await?;
                let answer: serde_json::Value =
                    serde_json::from_slice(&body).map_err(because("the answer"))?;
                Ok(answer["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned())
            }
        }
    }

    /// The time to the first piece of a text, which is read to its end.
    async fn first_piece(&self) -> Result<f64, String> {
        let started = Instant::now();
        match self {
            Self::Ours(model) => {
                let request = request();
                let mut stream = model.stream(&request);
                let first = stream.next().await.ok_or("the stream is empty")?.map_err(words)?;
                let taken = seconds(started);
                check("the first piece", first, Delta::Text(FIRST_PIECE.to_owned()))?;
                while let Some(delta) = stream.next().await {
                    delta.map_err(words)?;
                }
                Ok(taken)
            }
            Self::Bare(bare) => {
                let mut response = bare.request(true).send().await.map_err(because("the request"))?;
                let first = response.chunk().await.map_err(because("the answer"))?.unwrap_or_default();
                let taken = seconds(started);
                check("the first event", first.starts_with(b"data: {"), true)?;
                while response.chunk().await.map_err(because("the answer"))?.is_some() {}
                Ok(taken)
            }
        }
    }
}

impl Bare {
    fn request(&self, is_streamed: bool) -> reqwest::RequestBuilder {
        let body = serde_json::json!({
            "model": "bench", "messages": [{"role": "user", "content": "a question"}], "stream": is_streamed,
        });
        self.client.post(&self.url).header("content-type", "application/json").body(body.to_string())
    }

    async fn send(&self, is_streamed: bool) -> Result<Vec<u8>, String> {
        let response = self.request(is_streamed).send().await.map_err(because("the request"))?;
        Ok(response.bytes().await.map_err(because("the answer"))?.into())
    }
}

fn request() -> Request {
    Request::prompt("a question")
}

/// What a call costs the thread that makes it, the connection's part included.
fn cpu_of_a_call(url: &str, is_bare: bool) -> Result<f64, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(because("a runtime"))?.block_on(async {
        let client = Client::new(url, is_bare)?;
        for _ in 0..20 {
            client.complete().await?;
        }
        let before = on_cpu()?;
        for _ in 0..CALLS {
            check("the text", client.complete().await?.as_str(), TEXT)?;
        }
        Ok((on_cpu()? - before) / f64::from(CALLS))
    })
}

/// The seconds that this thread has been on a CPU.
fn on_cpu() -> Result<f64, String> {
    let path = "/proc/thread-self/schedstat";
    let text = fs::read_to_string(path).map_err(because("the time on a CPU, which only Linux tells"))?;
    let nanoseconds = text.split_whitespace().next().and_then(|number| number.parse::<f64>().ok());
    nanoseconds.map(|nanoseconds| nanoseconds / 1e9).ok_or_else(|| format!("{path} holds no number"))
}
