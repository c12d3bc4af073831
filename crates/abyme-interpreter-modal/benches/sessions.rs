//! How fast sessions at Modal are, against the server of the tests on loopback, beside the bare calls that
//! they are made of: `cargo bench -p abyme-interpreter-modal`. Modal's own servers add their round trips.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a benchmark may panic")]

#[path = "../tests/common/mod.rs"]
mod common;
#[allow(dead_code, reason = "no more than some messages are sent here")]
#[path = "../src/api/messages.rs"]
mod messages;

use std::time::{Duration, Instant};

use abyme_core::{
    Cell, CodeInterpreter, InterpreterFactory, InterpreterFactoryExt, NoHostFunctions, Session,
};
use common::FakeModal;
use messages::*;
use prost::Message;
use serde_json::json;
use tonic::{Request, Streaming, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let fake = FakeModal::start();
        let bare = Bare::connect(&fake).await;
        let modal = fake.modal().max_message_bytes(1 << 30);
        modal.prepare().await.unwrap();
        drop(modal.session().await.unwrap());

        let mut sessions = Vec::new();
        let (calls, start) = in_turns(
            30,
            async || drop(bare.start().await),
            async || {
                let mut session = modal.create().await.unwrap();
                session.start().await.unwrap();
                sessions.push(session);
            },
        )
        .await;
        say("the calls of a start, and Python until it prints", calls);
        say("start of a session", start);
        say_over("start over its calls", start, calls);
        // The driver loads most of its files after it has said `ready`: the first cell waits for them.
        let (calls, start) = in_turns(
            30,
            async || bare.echo(&mut bare.start().await).await,
            async || {
                let mut session = modal.create().await.unwrap();
                session.execute(Cell::new("1"), &NoHostFunctions).await.unwrap().check().unwrap();
                sessions.push(session);
            },
        )
        .await;
        say("the calls of a start and of a cell", calls);
        say("start of a session with a first cell", start);
        say_over("start and first cell over their calls", start, calls);
        drop(sessions);
        let began = Instant::now();
        let many = (0..50).map(|_| modal.session());
        let many = futures_util::future::join_all(many).await;
        say("50 sessions at once", began.elapsed());
        drop(many);
        modal.shutdown().await;

        let mut exec = bare.start().await;
        let mut session = modal.session().await.unwrap();
        let (echo, own) =
            in_turns(1000, async || bare.echo(&mut exec).await, async || cell(&mut session).await).await;
        say("bare write and read", echo);
        say("cell", own);
        say_over("cell over a bare write and read", own, echo);
        let text = "x".repeat(100_000_000);
        let whole = Cell::new("").variable("text", text);
        say("bare writes of 100 MB to a program that reads", bare.writes(100_000_000).await);
        let began = Instant::now();
        session.execute(whole, &NoHostFunctions).await.unwrap().check().unwrap();
        say("100 MB in", began.elapsed());
        let began = Instant::now();
        let whole = Cell::new("").read("text");
        session.execute(whole, &NoHostFunctions).await.unwrap().check().unwrap();
        say("100 MB out", began.elapsed());

        fake.set(json!({ "delay": 0.025 }));
        let (echo, own) =
            in_turns(10, async || bare.echo(&mut exec).await, async || cell(&mut session).await).await;
        say("bare write and read, 50 ms away", echo);
        say("cell, 50 ms away", own);
    });
}

async fn cell(session: &mut Session) {
    session.run_code("1").await.unwrap().check().unwrap();
}

/// The median times of two things that take turns, so that what else the machine does hits both alike.
async fn in_turns(
    rounds: usize,
    mut one: impl AsyncFnMut(),
    mut other: impl AsyncFnMut(),
) -> (Duration, Duration) {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let began = Instant::now();
        one().await;
        times[0].push(began.elapsed());
        let began = Instant::now();
        other().await;
        times[1].push(began.elapsed());
    }
    let [one, other] = times.map(|mut times| {
        times.sort();
        times[rounds / 2]
    });
    (one, other)
}

fn say(what: &str, time: Duration) {
    println!("{what:<50} {:>10.3} ms", time.as_secs_f64() * 1e3);
}

fn say_over(what: &str, time: Duration, bare: Duration) {
    println!("{what:<50} {:>+10.3} ms", (time.as_secs_f64() - bare.as_secs_f64()) * 1e3);
}

/// The calls without the backend.
struct Bare {
    control: Channel,
    auth: String,
    app_id: String,
    image_id: String,
}

/// A program that echoes.
struct Exec {
    router: Channel,
    jwt: String,
    task_id: String,
    exec_id: String,
    offset: u64,
    output: Streaming<TaskExecStdioReadResponse>,
}

const CONTROL: &str = "/modal.client.ModalClient/";
const ROUTER: &str = "/modal.task_command_router.TaskCommandRouter/";
/// Prints once it is there, then echoes.
const ECHO: &str = "import os\nos.write(1, b'!')\nwhile (line := os.read(0, 1 << 16)): os.write(1, line)";
/// Prints once it is there, and again when it has so many bytes. Its pipe is as large as a driver's.
const SINK: &str = "import os\nfrom fcntl import fcntl\nfcntl(0, 1031, 1 << 20)\nos.write(1, b'!')";
const SINK_LOOP: &str = "while left > 0: left -= len(os.read(0, 1 << 20))\nos.write(1, b'!')";

impl Bare {
    async fn connect(fake: &FakeModal) -> Self {
        let control = Channel::from_shared(fake.url.clone()).unwrap().connect().await.unwrap();
        let auth: AuthTokenGetResponse =
            control_call(&control, "", "AuthTokenGet", AuthTokenGetRequest {}).await;
        let auth = auth.token;
        let app = AppGetOrCreateRequest {
            app_name: "bare".to_owned(),
            object_creation_type: 1,
            ..Default::default()
        };
        let app: AppGetOrCreateResponse = control_call(&control, &auth, "AppGetOrCreate", app).await;
        let lines = vec!["FROM python".to_owned()];
        let image = Image { dockerfile_commands: lines, ..Default::default() };
        let (app_id, builder_version) = (app.app_id.clone(), "2025.06".to_owned());
        let image = ImageGetOrCreateRequest { image: Some(image), app_id, builder_version };
        let image: ImageGetOrCreateResponse = control_call(&control, &auth, "ImageGetOrCreate", image).await;
        Self { control, auth, app_id: app.app_id, image_id: image.image_id }
    }

    /// A sandbox, a connection, and a Python that prints: what a session cannot do without.
    async fn start(&self) -> Exec {
        self.run(ECHO).await
    }

    async fn run(&self, program: &str) -> Exec {
        // Without a network, like a session's.
        let blocked = NetworkAccessType::Blocked.into();
        let network = NetworkAccess { network_access_type: blocked, ..Default::default() };
        let definition = Sandbox {
            image_id: self.image_id.clone(),
            timeout_secs: 600,
            network_access: Some(network),
            ..Default::default()
        };
        let app_id = self.app_id.clone();
        // Of the second kind, as sessions make them: one call.
        let request = SandboxCreateV2Request { app_id, definition: Some(definition), ..Default::default() };
        let made: SandboxCreateV2Response =
            control_call(&self.control, &self.auth, "SandboxCreateV2", request).await;
        let (task_id, access) = (made.task_id, made.command_router_access.unwrap());
        let router = Channel::from_shared(access.url).unwrap().tcp_nodelay(true).connect().await.unwrap();
        let exec_id = "echo".to_owned();
        let command = ["python3", "-I", "-c", program].map(str::to_owned).to_vec();
        let request = TaskExecStartRequest {
            task_id: task_id.clone(),
            exec_id: exec_id.clone(),
            command_args: command,
            stdout_config: 1,
            ..Default::default()
        };
        let _: TaskExecStartResponse =
            call(&router, ROUTER, "TaskExecStart", bearer(request, &access.jwt)).await;
        let request = TaskExecStdioReadRequest {
            task_id: task_id.clone(),
            exec_id: exec_id.clone(),
            ..Default::default()
        };
        let mut client = Grpc::new(router.clone());
        client.ready().await.unwrap();
        let uri: tonic::transport::Uri = format!("{ROUTER}TaskExecStdioRead").parse().unwrap();
        let path = uri.path_and_query().unwrap().clone();
        let codec = ProstCodec::default();
        let output =
            client.server_streaming(bearer(request, &access.jwt), path, codec).await.unwrap().into_inner();
        let mut exec = Exec { router, jwt: access.jwt, task_id, exec_id, offset: 0, output };
        exec.output.message().await.unwrap().unwrap();
        exec
    }

    /// How long it takes until a program has so many bytes, in writes as large as the backend's.
    async fn writes(&self, bytes: usize) -> Duration {
        let program = format!("{SINK}\nleft = {bytes}\n{SINK_LOOP}");
        let mut exec = self.run(&program).await;
        let piece = bytes::Bytes::from(vec![b'x'; 16 << 20]);
        let began = Instant::now();
        let mut offset = 0;
        while offset < bytes {
            let data = piece.slice(..piece.len().min(bytes - offset));
            let (task_id, exec_id) = (exec.task_id.clone(), exec.exec_id.clone());
            let request = TaskExecStdinWriteRequest {
                task_id,
                exec_id,
                offset: offset as u64,
                data: data.clone(),
                eof: false,
            };
            let _: TaskExecStdinWriteResponse =
                call(&exec.router, ROUTER, "TaskExecStdinWrite", bearer(request, &exec.jwt)).await;
            offset += data.len();
        }
        assert!(exec.output.message().await.unwrap().is_some());
        began.elapsed()
    }

    /// Writes some bytes and reads them back, without waiting for the answer to the write first.
    async fn echo(&self, exec: &mut Exec) {
        let data = bytes::Bytes::from_static(b"some bytes\n");
        let (task_id, exec_id, offset) = (exec.task_id.clone(), exec.exec_id.clone(), exec.offset);
        exec.offset += data.len() as u64;
        let request = TaskExecStdinWriteRequest { task_id, exec_id, offset, data, eof: false };
        let write = call(&exec.router, ROUTER, "TaskExecStdinWrite", bearer(request, &exec.jwt));
        let (_, read): (TaskExecStdinWriteResponse, _) = tokio::join!(write, exec.output.message());
        assert!(read.unwrap().is_some());
    }
}

fn bearer<Q>(message: Q, jwt: &str) -> Request<Q> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {jwt}").parse().unwrap());
    request
}

async fn control_call<Q, A>(channel: &Channel, auth: &str, method: &str, message: Q) -> A
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let mut request = Request::new(message);
    for (name, value) in [
        ("x-modal-token-id", "ak-test"),
        ("x-modal-token-secret", "as-test"),
        ("x-modal-client-type", "9"),
        ("x-modal-client-version", "1.0.0"),
        ("x-modal-auth-token", auth),
    ] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    call(channel, CONTROL, method, request).await
}

async fn call<Q, A>(channel: &Channel, service: &str, method: &str, request: Request<Q>) -> A
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let uri: tonic::transport::Uri = format!("{service}{method}").parse().unwrap();
    let path = uri.path_and_query().unwrap().clone();
    client.unary(request, path, ProstCodec::<Q, A>::default()).await.unwrap().into_inner()
}
