//! A server on the loopback interface that answers as a model's would, and does little for it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// What a request is answered with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// A completion, after this time.
    Completion(Duration),
    /// A completion in two pieces, the second of which is long in coming.
    Pieces,
    /// A body of so many bytes.
    Large(u64),
    /// A completion, or a refusal (429) where any 60 s would hold more than so many.
    Limited(usize),
}

/// The text of each completion.
pub(crate) const TEXT: &str = "the answer to the question";

/// The first piece of it, in a completion of two.
pub(crate) const FIRST_PIECE: &str = "the answer ";

/// Serves until dropped.
pub(crate) struct Loopback {
    pub(crate) url: String,
    sent: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Loopback {
    pub(crate) async fn start(answer: Answer) -> Result<Self, String> {
        let words = |error: std::io::Error| format!("the server does not start: {error}");
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(words)?;
        let url = format!("http://{}/v1", listener.local_addr().map_err(words)?);
        let sent = Arc::new(AtomicU64::new(0));
        let counter = sent.clone();
        let taken = Taken::default();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                connections.spawn(serve(stream, answer, counter.clone(), taken.clone()));
            }
        });
        Ok(Self { url, sent, task })
    }

    /// How many bytes of bodies the client's side took.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// When requests were taken, of the last 60 s.
type Taken = Arc<Mutex<VecDeque<Instant>>>;

/// Whether one more may be taken.
fn takes(taken: &Taken, most: usize) -> bool {
    let (now, mut taken) = (Instant::now(), taken.lock().unwrap_or_else(PoisonError::into_inner));
    while taken.front().is_some_and(|first| now - *first >= Duration::from_secs(60)) {
        taken.pop_front();
    }
    let takes = taken.len() < most;
    if takes {
        taken.push_back(now);
    }
    takes
}

async fn serve(mut stream: TcpStream, answer: Answer, sent: Arc<AtomicU64>, taken: Taken) {
    let mut bytes = Vec::new();
    while read_request(&mut stream, &mut bytes).await.is_some() {
        let written = match answer {
            Answer::Completion(after) => {
                if !after.is_zero() {
                    tokio::time::sleep(after).await;
                }
                stream.write_all(completion().as_bytes()).await
            }
            Answer::Pieces => pieces(&mut stream).await,
            Answer::Limited(most) if !takes(&taken, most) => {
                stream.write_all(b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n").await
            }
            Answer::Limited(_) => stream.write_all(completion().as_bytes()).await,
            Answer::Large(size) => large(&mut stream, size, &sent).await,
        };
        if written.is_err() {
            return;
        }
    }
}

/// Reads one request; `None` at the end of the stream.
async fn read_request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    loop {
        if let Some(head) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
            let length =
                text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let whole = head + 4 + length.unwrap_or(0usize);
            if bytes.len() >= whole {
                bytes.drain(..whole);
                return Some(());
            }
        }
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn completion() -> String {
    let body = serde_json::json!({
        "id": "chatcmpl-1", "object": "chat.completion", "model": "bench",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14},
    });
    let body = body.to_string();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn pieces(stream: &mut TcpStream) -> std::io::Result<()> {
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let event = |choice: serde_json::Value| {
        chunk(&format!("data: {}\n\n", serde_json::json!({"model": "bench", "choices": [choice]})))
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let first = event(serde_json::json!({"index": 0, "delta": {"content": FIRST_PIECE}}));
    stream.write_all(format!("{head}{first}").as_bytes()).await?;
    tokio::time::sleep(Duration::from_millis(2)).await;
    let rest = event(serde_json::json!({
        "index": 0, "delta": {"content": &TEXT[FIRST_PIECE.len()..]}, "finish_reason": "stop",
    }));
    stream.write_all(format!("{rest}{}0\r\n\r\n", chunk("data: [DONE]\n\n")).as_bytes()).await
}

async fn large(stream: &mut TcpStream, size: u64, sent: &AtomicU64) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {size}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let piece = vec![b' '; 64 << 10];
    let mut left = size;
    while left > 0 {
        let part = left.min(piece.len() as u64);
        stream.write_all(&piece[..part as usize]).await?;
        sent.fetch_add(part, Ordering::Relaxed);
        left -= part;
    }
    Ok(())
}
