//! What is where: chat completions, models, health, metrics.

use std::sync::Arc;

use abyme_core::Rlm;
use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    http::{
        Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri, header, header::HeaderName,
        request::Parts,
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::{
    body::IncomingBody,
    job::{Admission, Job},
    keyring::KeyState,
    metrics,
    refusal::Refusal,
    request::ChatRequest,
    shared::Shared,
    stream,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The key that a request came with, or why it has none.
#[derive(Clone)]
struct GivenKey(Result<Arc<KeyState>, Refusal>);

/// All routes.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(model))
        .route("/healthz", get(health))
        .route("/metrics", get(figures))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(shared.clone(), count))
        .with_state(shared)
}

/// Finds the key of each request, and counts what it is answered with.
async fn count(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let key = shared.keys.authorize(request.headers());
    let name = key.as_ref().map_or_else(|_| String::new(), |key| key.name().to_owned());
    request.extensions_mut().insert(GivenKey(key));
    let response = next.run(request).await;
    shared.metrics.answered(&name, response.status());
    response
}

fn key_of(extensions: &Extensions) -> Result<Arc<KeyState>, Refusal> {
    extensions.get::<GivenKey>().map_or_else(|| Err(Refusal::wrong_token(true)), |GivenKey(key)| key.clone())
}

async fn chat(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let mut body = IncomingBody::new(body, &head.headers);
    match completion(&shared, &head, &mut body).await {
        Ok(response) => response,
        Err(refusal) => {
            body.drain(&shared.config).await;
            refusal.into_response()
        }
    }
}

async fn completion(
    shared: &Arc<Shared>,
    head: &Parts,
    body: &mut IncomingBody,
) -> Result<Response, Refusal> {
    // What costs least comes first, and the body last of all.
    let key = key_of(&head.extensions)?;
    if shared.is_closing() {
        return Err(Refusal::closing());
    }
    check_content(&head.headers)?;
    key.check_budget()?;
    let of_key = key.enter()?;
    let of_server = shared.queue.enter().ok_or_else(|| {
        let message = "as many requests wait as may; try again in a moment";
        Refusal::later("queue_full", message, shared.queue.retry_after())
    })?;
    key.count()?;
    let (bytes, held) = body.read(&shared.config, &shared.bodies).await?;
    // Megabytes take their time.
    let request = tokio::task::spawn_blocking(move || ChatRequest::read(&bytes)).await;
    let request = request.unwrap_or_else(|_| Err(Refusal::internal("the request could not be read")))?;
    let rlm = find(shared, &request.model)?;

    let admission = Admission { key, of_key, of_server, bytes: held };
    let (streams, include_usage) = (request.stream, request.include_usage);
    let mut job = Job::start(shared, admission, rlm, request);
    let id = HeaderValue::from_str(&job.head.run).map_err(|_| Refusal::internal("the run has no id"))?;
    let mut response = match streams {
        true => {
            let body = stream::body(job, include_usage, shared.config.keep_alive_interval);
            let mut response = of_kind("text/event-stream", body);
            // Proxies that collect an answer would hold a stream back.
            let headers = response.headers_mut();
            headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
            response
        }
        false => {
            let answer = job.ended().await?;
            object(&job.head.whole(&answer))
        }
    };
    response.headers_mut().insert(REQUEST_ID, id);
    Ok(response)
}

/// A page of another site can make a browser send any other type without asking first.
fn check_content(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind != "application/json" {
        let refusal = Refusal::invalid("send `Content-Type: application/json`");
        return Err(refusal.status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "wrong_content_type"));
    }
    if !matches!(text(header::CONTENT_ENCODING).trim(), "" | "identity") {
        let refusal = Refusal::invalid("a body that is compressed is not read: send it as it is");
        return Err(refusal.status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "wrong_content_encoding"));
    }
    Ok(())
}

fn find<'a>(shared: &'a Shared, name: &str) -> Result<&'a Rlm, Refusal> {
    shared.models.get(name).ok_or_else(|| {
        let names = shared.models.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let refusal = Refusal::invalid(format!("the model `{name}` is not here; there is {names}"));
        refusal.status(StatusCode::NOT_FOUND, "model_not_found").param("model")
    })
}

async fn models(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Refusal> {
    key_of(request.extensions())?;
    let data: Vec<_> = shared.models.keys().map(|name| about_model(&shared, name)).collect();
    Ok(object(&json!({"object": "list", "data": data})))
}

async fn model(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    key_of(request.extensions())?;
    find(&shared, &name)?;
    Ok(object(&about_model(&shared, &name)))
}

fn about_model(shared: &Shared, name: &str) -> Value {
    json!({"id": name, "object": "model", "created": shared.created, "owned_by": "abyme"})
}

/// Whether the server takes requests. It tells nothing else, and needs no token.
async fn health(State(shared): State<Arc<Shared>>) -> Response {
    match shared.is_closing() {
        false => object(&json!({"status": "ok"})),
        true => (StatusCode::SERVICE_UNAVAILABLE, object(&json!({"status": "closing"}))).into_response(),
    }
}

async fn figures(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Refusal> {
    let key = key_of(request.extensions())?;
    if !key.reads_metrics() {
        let message = "the token may not read metrics, which tell of all keys";
        return Err(Refusal::invalid(message).status(StatusCode::FORBIDDEN, "no_permission"));
    }
    let text = shared.metrics.text(shared.queue.running(), shared.queue.waiting());
    let text = text.map_err(|_| Refusal::internal("the metrics cannot be written"))?;
    Ok(of_kind(metrics::CONTENT_TYPE, Body::from(text)))
}

async fn unknown(uri: Uri) -> Refusal {
    let message = format!("nothing is at `{}`; the base URL of this server ends in /v1", uri.path());
    Refusal::invalid(message).status(StatusCode::NOT_FOUND, "unknown_url")
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    let message = format!("{method} is not what `{}` is for", uri.path());
    Refusal::invalid(message).status(StatusCode::METHOD_NOT_ALLOWED, "wrong_method")
}

fn object(value: &Value) -> Response {
    of_kind("application/json", Body::from(value.to_string()))
}

fn of_kind(kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
