//! A server of runs that answer with a word of their question, and a client that writes bytes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use abyme_core::{
    Error, ErrorKind, Event, LanguageModel, Observation, Record, Request, Response, RetryPolicy, Rlm,
    Submission, Usage, Via, testing::ScriptedInterpreter,
};
use abyme_serve::{Key, ServeConfig, Server, signature};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Semaphore, oneshot},
    task::JoinHandle,
};

/// A key of these tests is made of this and its name.
const TOKEN: &str = "token-of-the-tests-";
/// Longer than anything takes.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A model that does what words of the question say: `please_wait` until it is released, `fail_...`, and
/// otherwise submit the first word that begins with `echo_`.
#[derive(Clone, Debug, Default)]
pub(crate) struct WordModel {
    /// How many calls began.
    begun: Arc<AtomicUsize>,
    /// How many may end that wait.
    released: Arc<Shut>,
}

#[derive(Debug)]
struct Shut(Semaphore);

impl Default for Shut {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

#[async_trait::async_trait]
impl LanguageModel for WordModel {
    fn name(&self) -> &str {
        "words"
    }

    fn reports_cost(&self) -> bool {
        true
    }

    async fn complete(&self, request: &Request) -> abyme_core::Result<Response> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let text: Vec<_> = request.messages.iter().map(|message| message.content.as_str()).collect();
        let text = text.join("\n");
        if text.contains("please_wait") {
            self.released.0.acquire().await.unwrap().forget();
        }
        for (word, kind) in [
            ("fail_auth", ErrorKind::Auth),
            ("fail_limited", ErrorKind::RateLimited { retry_after: Some(Duration::from_secs(7)) }),
            ("fail_timeout", ErrorKind::ModelTimeout),
            ("fail_refused", ErrorKind::ContentRefused),
        ] {
            if text.contains(word) {
                return Err(Error::new(kind, format!("the model says {word}")));
            }
        }
        let mut words = text.split(|char: char| !char.is_alphanumeric() && char != '_');
        let word = words.find(|word| word.starts_with("echo_")).unwrap_or("echo_nothing").to_owned();
        let reply = Response::new(format!("Let me see.\n```python\n{word}\n```"));
        Ok(reply.usage(Usage::tokens(100, 20).cost(0.25)))
    }
}

/// A server, which ends with the test.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) model: WordModel,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<abyme_core::Result<()>>,
    /// How runs ended, in that order.
    ended: Arc<std::sync::Mutex<Vec<String>>>,
}

/// The key of this name.
pub(crate) fn key(name: &str) -> Key {
    Key::new(name, &format!("{TOKEN}{name}")).unwrap()
}

/// The task, models and backend of the tests.
pub(crate) fn rlm(model: WordModel, ended: Arc<std::sync::Mutex<Vec<String>>>) -> Rlm {
    let interpreter = ScriptedInterpreter::from_fn(|cell| {
        let mut observation = Observation::default();
        if !cell.code.is_empty() {
            let word = cell.code.trim();
            // `echo_many_5` is a long answer.
            let answer = match word.strip_prefix("echo_many_").map(|count| count.parse().unwrap()) {
                Some(count) => "漢 abc ".repeat(count),
                None => word.to_owned(),
            };
            observation.submission = Some(Submission::value(Via::Final, answer));
        }
        Ok(observation)
    });
    let rlm = Rlm::builder(signature()).model(model).interpreter(interpreter.factory());
    let rlm = rlm.retry(RetryPolicy::default().max_retries(0)).on_event(move |record: &Arc<Record>| {
        let end = match &record.event {
            Event::RunFinished { status, .. } => status.to_string(),
            Event::RunFailed { kind, .. } => format!("{kind:?}"),
            _ => return,
        };
        ended.lock().unwrap().push(end);
    });
    rlm.build().unwrap()
}

impl TestServer {
    /// A server with one key, `a`.
    pub(crate) async fn start(config: ServeConfig) -> Self {
        Self::with_keys(config, [key("a")]).await
    }

    pub(crate) async fn with_keys(config: ServeConfig, keys: impl IntoIterator<Item = Key>) -> Self {
        let (model, ended) = (WordModel::default(), Arc::default());
        let server = Server::new("abyme", rlm(model.clone(), Arc::clone(&ended))).keys(keys).config(config);
        Self::serve(server, model, ended).await
    }

    pub(crate) async fn serve(
        server: Server,
        model: WordModel,
        ended: Arc<std::sync::Mutex<Vec<String>>>,
    ) -> Self {
        let bound = server.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        // Runs that bind checked the task with are none of the test's.
        ended.lock().unwrap().clear();
        let address = bound.address();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(bound.serve(async { drop(stopped.await) }));
        Self { address, model, stop: Some(stop), served, ended }
    }

    /// Asks the server to end.
    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn stopped(self) {
        tokio::time::timeout(LONG, self.served).await.unwrap().unwrap().unwrap();
    }

    /// Lets calls of the model that wait go on.
    pub(crate) fn release(&self, count: usize) {
        self.model.released.0.add_permits(count);
    }

    /// Waits until so many calls of the model began, since the server started.
    pub(crate) async fn begun(&self, count: usize) {
        eventually("calls began", || self.model.begun.load(Ordering::SeqCst) >= count).await;
    }

    /// Waits until so many runs ended; how.
    pub(crate) async fn ended(&self, count: usize) -> Vec<String> {
        eventually("runs ended", || self.ended.lock().unwrap().len() >= count).await;
        self.ended.lock().unwrap().clone()
    }

    /// Asks a question with the token of key `a`.
    pub(crate) async fn ask(&self, question: &str) -> Reply {
        self.send(&post("a", &asked(question))).await
    }

    /// Sends a request that the server closes the connection after.
    pub(crate) async fn send(&self, request: &str) -> Reply {
        let mut wire = Wire::open(self.address).await;
        wire.write(request.as_bytes()).await;
        wire.reply().await
    }

    /// A figure of the server.
    pub(crate) async fn figure(&self, line: &str) -> Option<f64> {
        let reply = self.send(&get("metrics", "/metrics")).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(reply.body.ends_with("# EOF\n"), "{reply:?}");
        let rest = reply.body.lines().find_map(|found| found.strip_prefix(line))?.trim().to_owned();
        Some(rest.parse().unwrap())
    }
}

pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, wait).await.is_ok(), "never came true: {what}");
}

/// The body of a request with one message.
pub(crate) fn asked(question: &str) -> Value {
    json!({"model": "abyme", "messages": [{"role": "user", "content": question}]})
}

/// A request of a chat completion with the token of a key.
pub(crate) fn post(key: &str, body: &Value) -> String {
    post_text(key, &body.to_string())
}

pub(crate) fn post_text(key: &str, body: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}{key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) fn get(key: &str, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}{key}\r\n\
         Connection: close\r\n\r\n"
    )
}

/// A connection.
pub(crate) struct Wire(pub(crate) TcpStream);

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    /// 0 if the connection was closed without an answer.
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Wire {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Everything until the server closes the connection.
    pub(crate) async fn reply(&mut self) -> Reply {
        let mut bytes = Vec::new();
        let read =
            tokio::time::timeout(LONG, self.0.read_to_end(&mut bytes)).await.expect("no end of an answer");
        // A connection that was reset has nothing more to say.
        let _ = read;
        Reply::of(&bytes)
    }

    /// What comes until it holds a text.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        let mut bytes = Vec::new();
        let read = async {
            let mut piece = [0; 4096];
            while !String::from_utf8_lossy(&bytes).contains(text) {
                match self.0.read(&mut piece).await.unwrap() {
                    0 => panic!("closed before {text:?}: {}", String::from_utf8_lossy(&bytes)),
                    count => bytes.extend_from_slice(&piece[..count]),
                }
            }
        };
        tokio::time::timeout(LONG, read).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

impl Reply {
    fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert_eq!(text, "", "half an answer");
            return Self { status: 0, head: String::new(), body: String::new() };
        };
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let head = head.to_ascii_lowercase();
        let body =
            if head.contains("transfer-encoding: chunked") { unchunked(body) } else { body.to_owned() };
        Self { status, head, body }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The answer of a run.
    pub(crate) fn content(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    }

    /// Fails unless this is a refusal of OpenAI's form.
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        let error = &self.json()["error"];
        assert_eq!(error["code"], code, "{self:?}");
        assert!(error["message"].is_string() && error["type"].is_string(), "{self:?}");
        let fields: Vec<_> = error.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["message", "type", "param", "code"], "{self:?}");
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The data of the events of a stream.
    pub(crate) fn events(&self) -> Vec<&str> {
        assert_eq!(self.header("content-type"), Some("text/event-stream"), "{self:?}");
        self.body.split_terminator("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect()
    }
}

/// The body that came in pieces.
fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        let Some(piece) = rest.get(..size) else { break };
        whole.push_str(piece);
        body = &rest[(size + 2).min(rest.len())..];
    }
    whole
}
