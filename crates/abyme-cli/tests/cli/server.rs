//! An OpenAI-compatible server on the loopback interface, as small as can be.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

/// What is answered: a status and a body.
pub(crate) type Answer = (u16, Value);

/// A server that answers each request with what a closure makes of its body.
pub(crate) struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<Value>>>,
    began: Arc<Mutex<Vec<Value>>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Value) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let began = Arc::new(Mutex::new(Vec::new()));
        let (seen, noted) = (requests.clone(), began.clone());
        let answer = move |request: &Value| {
            noted.lock().unwrap().push(request.clone());
            answer(request)
        };
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (seen.clone(), answer.clone());
                thread::spawn(move || serve(stream, &seen, &*answer));
            }
        });
        Self { port, requests, began }
    }

    /// A server whose root model gives these replies in turn, and whose sub-model repeats its prompt in
    /// capitals.
    pub(crate) fn scripted(replies: &'static [&'static str]) -> Self {
        Self::start(move |request| (200, completion(&reply(replies, request))))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// The requests that came, answered or not.
    pub(crate) fn began(&self) -> Vec<Value> {
        self.began.lock().unwrap().clone()
    }

    /// The requests that were answered.
    pub(crate) fn requests(&self) -> Vec<Value> {
        self.requests.lock().unwrap().clone()
    }
}

/// The reply of the root model to a request, by its turn, or that of the sub-model.
pub(crate) fn reply(replies: &[&str], request: &Value) -> String {
    let messages = request["messages"].as_array().unwrap();
    if messages[0]["role"] != "system" {
        return messages[0]["content"].as_str().unwrap().to_uppercase();
    }
    let turn = messages.iter().filter(|message| message["role"] == "assistant").count();
    replies[turn.min(replies.len() - 1)].to_owned()
}

/// A completion that comes in pieces, each with the field of the delta that it is.
pub(crate) fn streamed(pieces: &[(&str, &str)]) -> Value {
    let chunk = |delta: Value, finish: Value, usage: Value| {
        json!({
            "id": "c1", "object": "chat.completion.chunk", "model": "test-model",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": usage,
        })
    };
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15});
    let pieces = pieces.iter().map(|(field, text)| chunk(json!({(*field): text}), Value::Null, Value::Null));
    pieces.chain([chunk(json!({}), "stop".into(), usage)]).collect()
}

/// A completion of this text.
pub(crate) fn completion(text: &str) -> Value {
    json!({
        "id": "c1", "object": "chat.completion", "model": "test-model",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    })
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Value>>, answer: &dyn Fn(&Value) -> Answer) {
    let mut reader = BufReader::new(&stream);
    let (mut length, mut line, mut began) = (0, String::new(), false);
    while reader.read_line(&mut line).is_ok_and(|read| read > 0) && line != "\r\n" {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        began = true;
        line.clear();
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() || !began {
        return;
    }
    // A request for a list has no body.
    let request: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    let (status, body) = answer(&request);
    seen.lock().unwrap().push(request);
    let (kind, body) = match body {
        Value::Array(chunks) => {
            let events: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
            ("text/event-stream", format!("{events}data: [DONE]\n\n"))
        }
        body => ("application/json", body.to_string()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n"
    );
    // The write fails if the client has closed the connection.
    let _ = (&stream).write_all(format!("{head}{body}").as_bytes());
}
