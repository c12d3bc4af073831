//! A server on this machine that shows a run as it goes on: the page, and events with what is new in its
//! file.
//!
//! The address holds a token, so that other users of the machine and other pages of the browser see nothing.

use std::{
    convert::Infallible,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use abyme_core::{Error, ErrorKind, Result, Trajectory};
use abyme_listen::{Listener, Timeouts, Token, http_connection, random_token};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{self, HeaderValue},
    service::service_fn,
};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    data,
    load::{load, read_bounded},
    page::{FollowFrom, Page},
};

/// How often the file is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Reading the file takes at most one part in so many of the time.
const READ_SHARE: u32 = 5;
/// Further connections wait.
const MAX_CONNECTIONS: usize = 64;
/// Records that go out in one piece.
const MAX_BATCH: usize = 500;
/// A sign of life on a stream without news.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Shows the record of a run while its file grows, to the browsers of this machine.
///
/// ```no_run
/// # async fn example() -> abyme_core::Result<()> {
/// let follow = abyme_view::Follow::bind("run.jsonl", 0).await?;
/// println!("{}", follow.url());
/// follow.serve().await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Follow {
    listener: Listener,
    /// What the address of the page has, and no other page of the browser knows.
    token: String,
    shared: Shared,
}

/// What all connections need.
#[derive(Clone, Debug)]
struct Shared {
    path: Arc<Path>,
    token: Token,
}

/// What is known of the file.
#[derive(Clone, Debug, Default)]
struct FileState {
    trajectory: Trajectory,
    /// How often it began anew: another run was written to the file.
    generation: u64,
    /// Why it cannot be read, if it cannot.
    problem: Option<String>,
}

impl Follow {
    /// Listens on a port of the loopback interface; 0 is one that is free. The file may come later.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the port cannot be had; [`ErrorKind::InvalidInput`] if the file is there and is
    /// no record.
    pub async fn bind(path: impl AsRef<Path>, port: u16) -> Result<Self> {
        let path = path.as_ref();
        if read(path, &FileState::default()).problem.is_some() {
            load(path)?;
        }
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, port).into(), MAX_CONNECTIONS).await;
        let listener = listener.map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot listen on port {port} of this machine: {error}"))
                .with_source(error)
        })?;
        let token = random_token()
            .map_err(|error| Error::new(ErrorKind::Internal, format!("no random numbers: {error}")))?;
        let shared = Shared { path: path.into(), token: Token::of(&token) };
        Ok(Self { listener, token, shared })
    }

    /// The address of the page. Anybody who knows it can read the record.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/{}/", self.listener.address(), self.token)
    }

    /// Serves the page until this future is dropped, which ends the connections. One that cannot be taken is
    /// left out.
    ///
    /// # Errors
    /// None today.
    pub async fn serve(self) -> Result<()> {
        let Self { listener, shared, .. } = self;
        let (sender, known) = watch::channel(FileState::default());
        let mut connections = JoinSet::new();
        let accept = async {
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (shared, known) = (shared.clone(), known.clone());
                        connections.spawn(async move {
                            let service = service_fn(|request| {
                                let answer = answer(&request, &shared, &known);
                                async { Ok::<_, Infallible>(answer) }
                            });
                            // A browser that goes away is no error.
                            http_connection(accepted.stream, Timeouts::default(), service).await.ok();
                            drop(accepted.place);
                        });
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        };
        tokio::select! {
            () = accept => Ok(()),
            () = watch_file(&shared.path, &sender) => Ok(()),
        }
    }
}

/// Reads the file whenever it changed.
async fn watch_file(path: &Path, sender: &watch::Sender<FileState>) {
    let mut seen = None;
    loop {
        let began = Instant::now();
        let state = state(path);
        if seen != Some(state) {
            let (path, known) = (PathBuf::from(path), sender.borrow().clone());
            if let Ok(next) = tokio::task::spawn_blocking(move || read(&path, &known)).await {
                sender.send_replace(next);
            }
            seen = Some(state);
        }
        tokio::time::sleep(POLL_INTERVAL.max(began.elapsed() * (READ_SHARE - 1))).await;
    }
}

/// What changes when the file does.
fn state(path: &Path) -> Option<(u64, Option<SystemTime>)> {
    std::fs::metadata(path).ok().map(|file| (file.len(), file.modified().ok()))
}

fn read(path: &Path, known: &FileState) -> FileState {
    // A run that begins makes its file, and writes to it a moment later.
    if state(path).is_none_or(|(len, _)| len == 0) {
        return FileState { problem: None, ..known.clone() };
    }
    let trajectory = match read_bounded(path) {
        Ok(trajectory) => trajectory,
        Err(error) => return FileState { problem: Some(error.to_string()), ..known.clone() },
    };
    let is_other = trajectory.run() != known.trajectory.run()
        || trajectory.records().count() < known.trajectory.records().count();
    let was_empty = known.trajectory.records().next().is_none();
    let generation = known.generation + u64::from(is_other && !was_empty);
    FileState { trajectory, generation, problem: None }
}

fn answer(
    request: &Request<Incoming>,
    shared: &Shared,
    known: &watch::Receiver<FileState>,
) -> Response<Body> {
    if request.method() != Method::GET {
        return refused(StatusCode::METHOD_NOT_ALLOWED, "only GET");
    }
    // A page of another site that had its name point here would send that name.
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if !matches!(name, "127.0.0.1" | "localhost") {
        return refused(StatusCode::FORBIDDEN, "this server is for the machine that it runs on");
    }
    let mut parts = request.uri().path().trim_start_matches('/').splitn(2, '/');
    if !shared.token.is(parts.next().unwrap_or_default()) {
        return refused(StatusCode::FORBIDDEN, "the token of the address is missing or wrong");
    }
    match parts.next() {
        Some("") => page(shared, known),
        Some("events") => events(request, known.clone()),
        _ => refused(StatusCode::NOT_FOUND, "nothing is here"),
    }
}

fn page(shared: &Shared, known: &watch::Receiver<FileState>) -> Response<Body> {
    let FileState { trajectory, generation, problem } = known.borrow().clone();
    if let Some(problem) = problem {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, &problem);
    }
    let name = shared.path.file_name().unwrap_or(shared.path.as_os_str()).to_string_lossy();
    let from = FollowFrom { records: trajectory.records().count(), generation };
    let page = Page::new().record(name, &trajectory).following(from).render();
    respond(StatusCode::OK, "text/html; charset=utf-8", full(page.html))
}

/// The records from a number on, as they come; or that the file began anew since the page was made.
fn events(request: &Request<Incoming>, known: watch::Receiver<FileState>) -> Response<Body> {
    // A browser that connects again says what it had.
    let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok()?.parse::<usize>().ok());
    let query = request.uri().query().unwrap_or_default();
    let asked = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let from = asked("from").and_then(|from| from.parse().ok());
    let records = last.map(|last| last.saturating_add(1)).or(from).unwrap_or(0);
    let generation = asked("generation").and_then(|generation| generation.parse().ok());
    let generation = generation.unwrap_or(known.borrow().generation);
    let sent = Sent { records, generation, problem: None };
    let pieces = stream::unfold((known, sent), |(mut known, mut sent)| async move {
        let piece = loop {
            if let Some(piece) = sent.next(&known.borrow_and_update()) {
                break piece;
            }
            match tokio::time::timeout(KEEP_ALIVE, known.changed()).await {
                Ok(Ok(())) => {}
                // The file is watched no more: the server ends.
                Ok(Err(_)) => return None,
                Err(_) => break ": still here\n\n".to_owned(),
            }
        };
        Some((Ok(Frame::data(Bytes::from(piece))), (known, sent)))
    });
    respond(StatusCode::OK, "text/event-stream", StreamBody::new(Box::pin(pieces)).boxed_unsync())
}

/// What a stream has said.
struct Sent {
    records: usize,
    /// That of the file that its page is of.
    generation: u64,
    problem: Option<String>,
}

impl Sent {
    /// What it says next, if there is anything.
    fn next(&mut self, known: &FileState) -> Option<String> {
        if known.generation != self.generation {
            self.generation = known.generation;
            return Some("event: restart\ndata: {}\n\n".to_owned());
        }
        let mut piece = String::new();
        if known.problem != self.problem {
            self.problem.clone_from(&known.problem);
            let notes = serde_json::json!(known.problem.iter().collect::<Vec<_>>());
            piece.push_str(&format!("event: notes\ndata: {notes}\n\n"));
        }
        for record in known.trajectory.records().skip(self.records).take(MAX_BATCH) {
            piece.push_str(&format!("id: {}\ndata: {}\n\n", self.records, data::event(record)));
            self.records += 1;
        }
        (!piece.is_empty()).then_some(piece)
    }
}

fn refused(status: StatusCode, why: &str) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", full(format!("{why}\n")))
}

fn full(text: String) -> Body {
    Full::new(Bytes::from(text)).boxed_unsync()
}

fn respond(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
