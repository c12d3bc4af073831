//! The control plane: apps, images, secrets, and the life of sandboxes.

use std::{fmt, time::Duration};

use abyme_core::{Error, Result};
use prost::Message;
use tokio::sync::Mutex;
use tonic::{Code, Request, Status, Streaming, metadata::MetadataValue, transport::Channel};

use super::{
    channel,
    credentials::{self, Credentials, Overrides},
    failure,
    messages::*,
    retry::{self, Attempt, Tries},
    token::Token,
};
use crate::config::{Api, Config};

const SERVICE: &str = "modal.client.ModalClient";
/// The kind of client that Modal is told: the one of its Go library, whose calls these are. The version
/// beside it is the one that library sends.
const CLIENT_TYPE: &str = "9";
const CLIENT_VERSION: &str = "1.0.0";
const LIBRARY: &str = concat!("abyme/", env!("CARGO_PKG_VERSION"));

const TRIES: Tries = Tries {
    retries: 3,
    backoff: Duration::from_millis(100),
    timeout: Duration::from_secs(30),
    total_timeout: Duration::from_secs(120),
};

/// A connection to the control plane.
pub(crate) struct ControlPlane {
    channel: Channel,
    credentials: Credentials,
    auth: Mutex<Option<Token>>,
    start_timeout: Duration,
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlane").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

/// What a sandbox is made of.
#[derive(Clone)]
pub(crate) struct NewSandbox {
    pub(crate) app_id: String,
    pub(crate) definition: Sandbox,
    pub(crate) secret_ids: Vec<String>,
    pub(crate) tags: Vec<SandboxTag>,
}

/// A sandbox that was made.
#[derive(Clone)]
pub(crate) struct SandboxHandle {
    pub(crate) id: String,
    pub(crate) task_id: String,
    pub(crate) access: CommandRouterAccess,
    /// Whether it is one of the second kind, with calls of its own.
    pub(crate) is_v2: bool,
    /// What further calls about it have to show.
    token: Option<String>,
}

impl fmt::Debug for SandboxHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxHandle").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ControlPlane {
    /// Finds the token and connects.
    pub(crate) async fn connect(config: &Config) -> Result<Self> {
        let wanted = Overrides {
            profile: config.profile.as_deref(),
            environment: config.environment.as_deref(),
            url: config.server_url.as_deref(),
        };
        let credentials = credentials::find(&wanted, config.token.as_ref())?;
        let channel = channel::connect("Modal", &credentials.url).await?;
        Ok(Self { channel, credentials, auth: Mutex::default(), start_timeout: config.start_timeout })
    }

    pub(crate) fn url(&self) -> &str {
        &self.credentials.url
    }

    /// Where the token is from.
    pub(crate) fn token_origin(&self) -> &str {
        &self.credentials.origin
    }

    pub(crate) fn environment(&self) -> &str {
        &self.credentials.environment
    }

    /// A failure of a call, as one of Abyme's errors. `what` could not be done.
    pub(crate) fn failed(&self, what: &str, status: &Status) -> Error {
        failure::error(what, status, &self.credentials)
    }

    /// The id of an app.
    pub(crate) async fn app(&self, name: &str, create: bool) -> Result<String> {
        let request = AppGetOrCreateRequest {
            app_name: name.to_owned(),
            environment_name: self.credentials.environment.clone(),
            object_creation_type: if create { CREATE_IF_MISSING } else { 0 },
        };
        let app: Result<AppGetOrCreateResponse, _> = self.call("AppGetOrCreate", request).await;
        app.map(|app| app.app_id)
            .map_err(|status| self.failed(&format!("cannot use the app `{name}`"), &status))
    }

    /// The version of the image builder that the environment uses.
    pub(crate) async fn image_builder(&self) -> Result<String> {
        let request = EnvironmentGetOrCreateRequest { deployment_name: self.credentials.environment.clone() };
        let environment: EnvironmentGetOrCreateResponse =
            self.call("EnvironmentGetOrCreate", request).await.map_err(|status| {
                let name = &self.credentials.environment;
                let name = if name.is_empty() { "the default environment" } else { name };
                self.failed(&format!("cannot use the environment `{name}`"), &status)
            })?;
        let settings = environment.metadata.and_then(|metadata| metadata.settings);
        Ok(settings.map(|settings| settings.image_builder_version).unwrap_or_default())
    }

    /// The id of a secret.
    pub(crate) async fn secret(&self, name: &str) -> Result<String> {
        let request = SecretGetOrCreateRequest {
            deployment_name: name.to_owned(),
            environment_name: self.credentials.environment.clone(),
        };
        let secret: Result<SecretGetOrCreateResponse, _> = self.call("SecretGetOrCreate", request).await;
        secret.map(|secret| secret.secret_id).map_err(|status| {
            let error = self.failed(&format!("cannot use the secret `{name}`"), &status);
            match status.code() {
                Code::NotFound => {
                    let what =
                        format!("{}; make it with `modal secret create {name} KEY=value`", error.message());
                    Error::new(error.kind(), what)
                }
                _ => error,
            }
        })
    }

    /// Asks for an image. It may have to be built yet: see [`join_build`](Self::join_build).
    pub(crate) async fn image(
        &self,
        request: ImageGetOrCreateRequest,
    ) -> Result<ImageGetOrCreateResponse, Status> {
        self.call("ImageGetOrCreate", request).await
    }

    /// The log of an image's build, and its result.
    pub(crate) async fn join_build(
        &self,
        request: ImageJoinStreamingRequest,
    ) -> Result<Streaming<ImageJoinStreamingResponse>, Status> {
        let request = self.request(request, Attempt::default(), None, None).await?;
        channel::server_streaming(&self.channel, SERVICE, "ImageJoinStreaming", request).await
    }

    /// Makes a sandbox and waits until commands can run in it.
    pub(crate) async fn create(&self, sandbox: NewSandbox, api: Api) -> Result<SandboxHandle, Status> {
        let tries = Tries { timeout: self.start_timeout, total_timeout: self.start_timeout, ..TRIES };
        if api == Api::V2 {
            let request = SandboxCreateV2Request {
                app_id: sandbox.app_id,
                definition: Some(sandbox.definition),
                tags: sandbox.tags,
                secret_sources: sandbox.secret_ids.into_iter().map(SecretSource::secret).collect(),
            };
            let made: SandboxCreateV2Response =
                self.call_within(tries, None, "SandboxCreateV2", request).await?;
            let token = Some(made.sandbox_token).filter(|token| !token.is_empty());
            let mut handle = SandboxHandle {
                id: made.sandbox_id,
                task_id: made.task_id,
                access: made.command_router_access.clone().unwrap_or_default(),
                is_v2: true,
                token,
            };
            if made.command_router_access.is_none() {
                handle.access = self.access_or_end(&handle).await?;
            }
            return Ok(handle);
        }
        let definition = Sandbox { secret_ids: sandbox.secret_ids, ..sandbox.definition };
        let request = SandboxCreateRequest {
            app_id: sandbox.app_id,
            definition: Some(definition),
            environment_name: self.credentials.environment.clone(),
            tags: sandbox.tags,
        };
        let made: SandboxCreateResponse = self.call_within(tries, None, "SandboxCreate", request).await?;
        let access = CommandRouterAccess::default();
        let mut handle =
            SandboxHandle { id: made.sandbox_id, task_id: String::new(), access, is_v2: false, token: None };
        match self.task_of(&handle).await {
            Ok(task_id) => handle.task_id = task_id,
            Err(status) => {
                let _ = self.terminate(&handle).await;
                return Err(status);
            }
        }
        handle.access = self.access_or_end(&handle).await?;
        Ok(handle)
    }

    /// Makes a copy of a sandbox that was saved, with tags of its own.
    pub(crate) async fn restore(
        &self,
        snapshot_id: &str,
        tags: Vec<SandboxTag>,
    ) -> Result<SandboxHandle, Status> {
        let tries = Tries { timeout: self.start_timeout, total_timeout: self.start_timeout, ..TRIES };
        let request = SandboxRestoreV2Request { snapshot_id: snapshot_id.to_owned() };
        let made: SandboxRestoreV2Response =
            self.call_within(tries, None, "SandboxRestoreV2", request).await?;
        let mut handle = SandboxHandle {
            id: made.sandbox_id,
            task_id: made.task_id,
            access: made.command_router_access.clone().unwrap_or_default(),
            is_v2: true,
            token: None,
        };
        // It can only be tagged once it is there.
        let request = SandboxTagsSetRequest {
            environment_name: self.credentials.environment.clone(),
            sandbox_id: handle.id.clone(),
            tags,
        };
        let tagged: Result<(), Status> =
            self.call_within(TRIES, Some(&handle), "SandboxTagsSetV2", request).await;
        if let Err(status) = tagged {
            let _ = self.terminate(&handle).await;
            return Err(status);
        }
        if made.command_router_access.is_none() {
            handle.access = self.access_or_end(&handle).await?;
        }
        Ok(handle)
    }

    /// The task of a sandbox of the first kind, once it is placed on a machine.
    async fn task_of(&self, handle: &SandboxHandle) -> Result<String, Status> {
        const POLL: Duration = Duration::from_secs(25);
        let waiting = async {
            loop {
                let request = SandboxGetTaskIdRequest {
                    sandbox_id: handle.id.clone(),
                    timeout: Some(POLL.as_secs_f32()),
                };
                let answer: SandboxGetTaskIdResponse = self.call("SandboxGetTaskId", request).await?;
                if let Some(task_id) = answer.task_id.filter(|id| !id.is_empty()) {
                    return Ok(task_id);
                }
                if let Some(result) = answer.task_result.filter(|result| result.status != 0) {
                    let why = self.credentials.redact(&result.exception);
                    return Err(Status::failed_precondition(format!(
                        "the sandbox ended before it ran: {why}"
                    )));
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        let waited = tokio::time::timeout(self.start_timeout, waiting).await;
        waited.unwrap_or_else(|_| Err(Status::deadline_exceeded("no machine took the sandbox")))
    }

    async fn access_or_end(&self, handle: &SandboxHandle) -> Result<CommandRouterAccess, Status> {
        let access = self.router_access(handle).await;
        if access.is_err() {
            let _ = self.terminate(handle).await;
        }
        access
    }

    /// Access to a sandbox's command router.
    pub(crate) async fn router_access(&self, handle: &SandboxHandle) -> Result<CommandRouterAccess, Status> {
        if handle.is_v2 {
            let request = SandboxGetCommandRouterAccessRequest { sandbox_id: Some(handle.id.clone()) };
            return self.call_within(TRIES, Some(handle), "SandboxGetCommandRouterAccess", request).await;
        }
        let request = TaskGetCommandRouterAccessRequest { task_id: handle.task_id.clone() };
        self.call_within(TRIES, Some(handle), "TaskGetCommandRouterAccess", request).await
    }

    /// Ends a sandbox. One that has ended, or is not known any more, is no failure.
    pub(crate) async fn terminate(&self, handle: &SandboxHandle) -> Result<(), Status> {
        let method = if handle.is_v2 { "SandboxTerminateV2" } else { "SandboxTerminate" };
        let request = SandboxTerminateRequest { sandbox_id: handle.id.clone() };
        let ended: Result<SandboxTerminateResponse, _> =
            self.call_within(TRIES, Some(handle), method, request).await;
        match ended {
            Err(status) if status.code() != Code::NotFound => Err(status),
            _ => Ok(()),
        }
    }

    /// How a sandbox ended, if it has.
    pub(crate) async fn result(
        &self,
        handle: &SandboxHandle,
        wait: Duration,
    ) -> Result<Option<GenericResult>, Status> {
        let method = if handle.is_v2 { "SandboxWaitV2" } else { "SandboxWait" };
        let request = SandboxWaitRequest { sandbox_id: handle.id.clone(), timeout: wait.as_secs_f32() };
        let answer: SandboxWaitResponse = self.call_within(TRIES, Some(handle), method, request).await?;
        Ok(answer.result.filter(|result| result.status != 0))
    }

    /// The running sandboxes of an app with these tags, of both kinds.
    pub(crate) async fn list(
        &self,
        app_id: &str,
        tags: &[SandboxTag],
        api: Api,
    ) -> Result<Vec<SandboxInfo>, Status> {
        let method = if api == Api::V2 { "SandboxListV2" } else { "SandboxList" };
        let mut found: Vec<SandboxInfo> = Vec::new();
        let mut before_timestamp = 0.0;
        loop {
            let request = SandboxListRequest {
                app_id: app_id.to_owned(),
                before_timestamp,
                environment_name: self.credentials.environment.clone(),
                tags: tags.to_vec(),
            };
            let page: SandboxListResponse = self.call(method, request).await?;
            let Some(last) = page.sandboxes.last() else { return Ok(found) };
            before_timestamp = last.created_at;
            let known = |info: &SandboxInfo| found.iter().any(|other| other.id == info.id);
            let new: Vec<_> = page.sandboxes.into_iter().filter(|info| !known(info)).collect();
            if new.is_empty() {
                return Ok(found);
            }
            found.extend(new);
        }
    }

    /// What a sandbox is called by that a list named.
    pub(crate) fn listed(id: &str) -> SandboxHandle {
        // Ids of the first kind are `sb-` and 22 letters or digits.
        let is_v1 = id
            .strip_prefix("sb-")
            .is_some_and(|rest| rest.len() == 22 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let (task_id, access) = (String::new(), CommandRouterAccess::default());
        SandboxHandle { id: id.to_owned(), task_id, access, is_v2: !is_v1, token: None }
    }

    async fn call<Q, A>(&self, method: &'static str, request: Q) -> Result<A, Status>
    where
        Q: Message + Default + Clone + 'static,
        A: Message + Default + 'static,
    {
        self.call_within(TRIES, None, method, request).await
    }

    /// Calls a method, with one idempotency key for all tries. A token that is refused is fetched again once.
    async fn call_within<Q, A>(
        &self,
        tries: Tries,
        sandbox: Option<&SandboxHandle>,
        method: &'static str,
        request: Q,
    ) -> Result<A, Status>
    where
        Q: Message + Default + Clone + 'static,
        A: Message + Default + 'static,
    {
        let key = random_id();
        let one_try = |attempt: Attempt| {
            let (request, key) = (request.clone(), key.as_str());
            async move {
                let mut renewed = false;
                loop {
                    let message = self.request(request.clone(), attempt, Some(key), sandbox).await?;
                    match channel::unary(&self.channel, SERVICE, method, message).await {
                        Err(status) if status.code() == Code::Unauthenticated && !renewed => {
                            renewed = true;
                            *self.auth.lock().await = None;
                        }
                        answer => return answer,
                    }
                }
            }
        };
        let answer = retry::call(tries, one_try).await;
        if let Err(status) = &answer {
            let said = self.credentials.redact(status.message());
            tracing::debug!(method, code = ?status.code(), said, "a call to Modal failed");
        }
        answer
    }

    /// A request with the metadata of every call.
    async fn request<Q>(
        &self,
        message: Q,
        attempt: Attempt,
        key: Option<&str>,
        sandbox: Option<&SandboxHandle>,
    ) -> Result<Request<Q>, Status> {
        let auth = self.auth_token().await?;
        let mut request = self.plain_request(message, attempt, key)?;
        insert(&mut request, "x-modal-auth-token", &auth, true)?;
        if let Some(token) = sandbox.and_then(|sandbox| sandbox.token.as_deref()) {
            insert(&mut request, "x-modal-sandbox-token", token, true)?;
        }
        Ok(request)
    }

    /// The same without the token that one call of its own fetches.
    fn plain_request<Q>(
        &self,
        message: Q,
        attempt: Attempt,
        key: Option<&str>,
    ) -> Result<Request<Q>, Status> {
        let mut request = Request::new(message);
        insert(&mut request, "x-modal-token-id", &self.credentials.id, true)?;
        insert(&mut request, "x-modal-token-secret", &self.credentials.secret, true)?;
        insert(&mut request, "x-modal-client-type", CLIENT_TYPE, false)?;
        insert(&mut request, "x-modal-client-version", CLIENT_VERSION, false)?;
        insert(&mut request, "x-modal-libmodal-version", LIBRARY, false)?;
        if let Some(key) = key {
            insert(&mut request, "x-idempotency-key", key, false)?;
            insert(&mut request, "x-retry-attempt", &attempt.retries.to_string(), false)?;
            insert(&mut request, "x-throttle-retry-attempt", &attempt.throttled.to_string(), false)?;
        }
        Ok(request)
    }

    /// The token that calls show beside the account's, fetched anew when half of its validity is over.
    async fn auth_token(&self) -> Result<String, Status> {
        let mut auth = self.auth.lock().await;
        if let Some(token) = auth.as_ref().filter(|token| !token.is_used_up()) {
            return Ok(token.text.clone());
        }
        let request = self.plain_request(AuthTokenGetRequest {}, Attempt::default(), None)?;
        let fetching = channel::unary(&self.channel, SERVICE, "AuthTokenGet", request);
        let fetched = tokio::time::timeout(TRIES.timeout, fetching).await;
        let fetched = fetched.unwrap_or_else(|_| Err(Status::deadline_exceeded("no auth token in time")));
        let fetched: AuthTokenGetResponse = fetched?;
        let token = Token::new(fetched.token);
        Ok(auth.insert(token).text.clone())
    }
}

impl SecretSource {
    fn secret(id: String) -> Self {
        Self { secret_id: Some(id), env: None }
    }
}

pub(super) fn insert<Q>(
    request: &mut Request<Q>,
    name: &'static str,
    value: &str,
    is_secret: bool,
) -> Result<(), Status> {
    let mut value = MetadataValue::try_from(value).map_err(|_| {
        Status::invalid_argument(format!("`{name}` cannot be sent: it is no printable ASCII"))
    })?;
    value.set_sensitive(is_secret);
    request.metadata_mut().insert(name, value);
    Ok(())
}

/// An id that is used only once.
pub(crate) fn random_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}
