//! What a client may ask: the tools, the records, and the tasks.

use std::{sync::Arc, time::Duration};

use abyme_core::interpreter::render_observation;
use rmcp::{
    ErrorData, Peer, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams, CreateTaskResult,
        GetTaskParams, GetTaskResult, Implementation, JsonObject, ListResourcesResult, ListToolsResult,
        PaginatedRequestParams, ProgressToken, ReadResourceRequestParams, ReadResourceResponse,
        ServerCapabilities, ServerConfig, Tool, UpdateTaskParams,
    },
    service::RequestContext,
};

use crate::{
    ask::ask,
    call::{CallEnd, arguments, failed, result},
    clients::{ClientMark, Clients, session_of},
    connection::Connection,
    files,
    progress::{Reporter, Steps},
    sessions::Sessions,
    shared::Shared,
    tasks,
    tools::{
        ASK, AskArguments, CloseArguments, CloseReply, Exception, OpenArguments, OpenReply, RunArguments,
        RunReply, SESSION_CLOSE, SESSION_OPEN, SESSION_RUN,
    },
};

/// Serves one client, or one request of a client that does not stay connected.
pub(crate) struct Handler {
    shared: Arc<Shared>,
    connection: Connection,
    /// The clients over HTTP.
    clients: Option<Arc<Clients>>,
}

impl Handler {
    pub(crate) fn new(shared: Arc<Shared>, connection: Connection, clients: Option<Arc<Clients>>) -> Self {
        Self { shared, connection, clients }
    }

    async fn ask(
        &self,
        arguments: AskArguments,
        context: &RequestContext<RoleServer>,
        cancelled: impl Future<Output = ()>,
    ) -> Result<CallToolResponse, ErrorData> {
        let client = progress_of(context);
        // A task that is refused would be kept as long as one that has an answer.
        let admission = match self.shared.runs.admit() {
            Ok(admission) => admission,
            Err(problem) => return Ok(failed(problem).into()),
        };
        if context.client_capabilities().is_some_and(|client| client.supports_tasks()) {
            // A client that does not stay connected hears nothing after the answer to this request.
            let stays = self.connection.stays(context);
            let gone = if stays { &self.connection.gone } else { &self.shared.stop };
            let client = client.filter(|_| stays);
            let task = tasks::begin(&self.shared, admission, gone.clone(), arguments, client);
            return Ok(CallToolResponse::Task(CreateTaskResult::new(task)));
        }
        let steps = Arc::new(Steps::default());
        let reporter = Reporter { client, task: None };
        let ended = tokio::select! {
            ended = ask(&self.shared, admission, arguments, cancelled, &steps) => ended,
            never = reporter.report(&steps) => match never {},
        };
        match ended {
            CallEnd::Answered(result) => Ok(result.into()),
            CallEnd::Cancelled => Err(was_cancelled()),
        }
    }

    async fn session(
        &self,
        sessions: &Sessions,
        tool: &str,
        given: Option<JsonObject>,
        context: &RequestContext<RoleServer>,
    ) -> CallToolResult {
        let ended = match tool {
            SESSION_OPEN => self.open(sessions, given, context).await,
            SESSION_RUN => run(sessions, given).await,
            _ => close(sessions, given).await,
        };
        ended.unwrap_or_else(|error| failed(error.to_string()))
    }

    async fn open(
        &self,
        sessions: &Sessions,
        given: Option<JsonObject>,
        context: &RequestContext<RoleServer>,
    ) -> abyme_core::Result<CallToolResult> {
        let OpenArguments { inputs, paths } = arguments(SESSION_OPEN, given)?;
        // Files may be large, and are not read for a session that is refused.
        let slot = sessions.slot()?;
        let inputs = files::inputs(inputs, paths, self.shared.files.as_ref()).await?;
        let owner = self.connection.stays(context).then_some(self.connection.id);
        let session = sessions.open(slot, owner, &inputs).await?;
        let opened = OpenReply {
            session,
            variables: inputs.names().map(str::to_owned).collect(),
            interpreter: sessions.interpreter().to_owned(),
            idle_seconds: sessions.idle_timeout.as_secs_f64(),
        };
        let variables = match &opened.variables[..] {
            [] => String::new(),
            names => format!(" with {}", names.join(", ")),
        };
        Ok(result(format!("session {} is open{variables}", opened.session), &opened))
    }

    /// Notes a call of a client that stays connected over HTTP, as long as it is at work.
    fn note(&self, context: &RequestContext<RoleServer>) -> Option<ClientMark> {
        let (clients, session) = self.clients.as_ref().zip(session_of(context))?;
        Some(clients.call(session))
    }
}

async fn run(sessions: &Sessions, given: Option<JsonObject>) -> abyme_core::Result<CallToolResult> {
    let RunArguments { session, code, timeout_seconds } = arguments(SESSION_RUN, given)?;
    let timeout = match timeout_seconds {
        None => None,
        Some(seconds) => match Duration::try_from_secs_f64(seconds) {
            Ok(timeout) if !timeout.is_zero() => Some(timeout),
            _ => return Ok(failed(format!("`timeout_seconds` is {seconds}, which is no time"))),
        },
    };
    let (observation, is_open) = sessions.run(&session, &code, timeout).await?;
    let text = render_observation(&observation, usize::MAX);
    let is_error = !observation.is_ok();
    let ran = RunReply {
        value: observation.value.map(|value| value.to_string()),
        stdout: observation.stdout.to_string(),
        stderr: observation.stderr.to_string(),
        error: observation.error.map(|error| Exception {
            type_name: error.type_name,
            message: error.message,
            traceback: error.traceback,
        }),
        is_open,
    };
    let mut result = result(text, &ran);
    result.is_error = Some(is_error);
    Ok(result)
}

async fn close(sessions: &Sessions, given: Option<JsonObject>) -> abyme_core::Result<CallToolResult> {
    let CloseArguments { session } = arguments(SESSION_CLOSE, given)?;
    sessions.close(&session).await?;
    Ok(result(format!("session {session} is closed"), &CloseReply { session }))
}

/// Where to tell the progress of a request, if its client wants to hear of it.
fn progress_of(context: &RequestContext<RoleServer>) -> Option<(Peer<RoleServer>, ProgressToken)> {
    context.meta.get_progress_token().map(|token| (context.peer.clone(), token))
}

fn was_cancelled() -> ErrorData {
    ErrorData::invalid_request("the request was cancelled", None)
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let capabilities = match &self.shared.rlm {
            Some(_) => ServerCapabilities::builder().enable_tools().enable_resources().enable_tasks().build(),
            None => ServerCapabilities::builder().enable_tools().build(),
        };
        let mut instructions = Vec::new();
        if self.shared.rlm.is_some() {
            instructions.push(
                "`ask` answers a question over texts and files that are too long to read yourself. The \
                 record of each run is a resource.",
            );
        }
        if self.shared.sessions.is_some() {
            instructions.push(
                "`session_open`, `session_run` and `session_close` give you Python that keeps its variables.",
            );
        }
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("abyme", env!("CARGO_PKG_VERSION")).with_title("Abyme"))
            .with_instructions(instructions.join(" "))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult { tools: self.shared.tools.clone(), ..ListToolsResult::default() })
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.shared.tools.iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let noted = self.note(&context);
        // The client wants no answer any more, or is gone, or the server closes.
        let cancelled = async {
            let gone = noted.as_ref().map_or(&context.ct, |noted| &noted.gone);
            tokio::select! {
                () = context.ct.cancelled() => {}
                () = gone.cancelled() => {}
                () = self.connection.left() => {}
                () = self.shared.stop.cancelled() => {}
            }
        };
        match (&*request.name, &self.shared.sessions) {
            (ASK, _) if self.shared.rlm.is_some() => match arguments(ASK, request.arguments) {
                Ok(arguments) => self.ask(arguments, &context, cancelled).await,
                Err(error) => Ok(failed(error.to_string()).into()),
            },
            (tool @ (SESSION_OPEN | SESSION_RUN | SESSION_CLOSE), Some(sessions)) => tokio::select! {
                result = self.session(sessions, tool, request.arguments, &context) => Ok(result.into()),
                () = cancelled => Err(was_cancelled()),
            },
            (other, _) => {
                let name: String = other.chars().take(64).collect();
                Err(ErrorData::invalid_params(format!("there is no tool `{name}`"), None))
            }
        }
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult { resources: self.shared.records.list(), ..ListResourcesResult::default() })
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        match self.shared.records.read(&request.uri) {
            Some(record) => Ok(record.into()),
            None => {
                let uri: String = request.uri.chars().take(128).collect();
                let message = format!("there is no record `{uri}`: older ones give way to newer ones");
                Err(ErrorData::resource_not_found(message, None))
            }
        }
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        self.shared.polls.note(&request.task_id);
        self.shared.tasks.get_task(&request.task_id).map(GetTaskResult::new)
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.shared.tasks.update_task(&request.task_id, request.input_responses)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.shared.tasks.cancel_task(&request.task_id)
    }
}
