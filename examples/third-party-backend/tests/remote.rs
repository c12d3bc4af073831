//! What only this backend promises: who may connect, what is said when the other side is missing or goes
//! away, and that nothing is left on the agent's machine.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::{
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use abyme_core::{
    Cell, CodeInterpreter, Error, ErrorKind, FunctionSpec, HostCall, HostError, HostFunctions,
    InterpreterFactoryExt, Interruption, NoHostFunctions, Result, Scope, Session, Value,
};
use abyme_third_party_backend::{LocalAgent, Remote};
use async_trait::async_trait;
use libtest_mimic::{Arguments, Completion, Trial};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
};

/// One trial for each function: run against an agent of its own, and ignored with the reason where there can
/// be none.
macro_rules! trials {
    ($($name:ident),+ $(,)?) => { vec![$(trial(stringify!($name), |agent| Box::pin($name(agent)))),+] };
}

type Test = fn(LocalAgent) -> std::pin::Pin<Box<dyn Future<Output = ()>>>;

fn main() -> ExitCode {
    let trials = trials![
        a_wrong_secret_is_named,
        a_missing_secret_is_named,
        no_agent_is_named,
        another_program_is_no_agent,
        an_agent_of_another_version_is_named,
        an_impostor_gets_nothing,
        a_silent_address_is_given_up,
        an_agent_killed_in_mid_cell_ends_the_session,
        two_hosts_share_an_agent,
        a_dropped_session_leaves_nothing,
        a_shut_down_session_leaves_no_group,
        an_ended_agent_leaves_nothing,
        a_dead_session_is_known_between_cells,
        the_limits_are_set,
        the_secret_is_out_of_sight,
        interrupts_stay_with_their_cell,
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(name: &str, test: Test) -> Trial {
    Trial::ignorable_test(name, move || {
        let agent = match LocalAgent::start() {
            Ok(agent) => agent,
            Err(error) => return Ok(Completion::ignored_with(error.to_string())),
        };
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
            .block_on(test(agent));
        Ok(Completion::Completed)
    })
}

async fn try_session(remote: Remote) -> Result<Session> {
    remote.session().await
}

async fn session(agent: &LocalAgent) -> Session {
    try_session(agent.remote()).await.unwrap()
}

async fn error(remote: Remote) -> Error {
    try_session(remote).await.unwrap_err()
}

async fn value(session: &mut Session, code: &str) -> String {
    let seen = session.run_code(code).await.unwrap();
    assert!(seen.is_ok(), "{seen:?}");
    seen.value.unwrap().to_string().trim_matches('\'').to_owned()
}

/// The session's process, a child of it in the same group, and its directory.
async fn processes(session: &mut Session) -> (String, String, String) {
    let code = "import os, subprocess\n\
                f\"{os.getpid()} {subprocess.Popen(['sleep', '1000']).pid} {os.getcwd()}\"";
    let seen = value(session, code).await;
    let mut parts = seen.split(' ').map(str::to_owned);
    (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap())
}

fn is_running(process: &str) -> bool {
    // A zombie has no command line any more.
    std::fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| !line.is_empty())
}

fn eventually(what: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !what() {
        if start.elapsed() > Duration::from_secs(5) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// What a session says of its end, once it has heard of it.
async fn end_of(session: &mut Session) -> Error {
    let start = Instant::now();
    while session.start().await.is_ok() {
        assert!(start.elapsed() < Duration::from_secs(10), "the session does not hear of its end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    session.run_code("1").await.unwrap_err()
}

/// Hears `begun()`, by which a cell tells how far it is. What it printed before has arrived then.
#[derive(Debug, Default)]
struct BeginSignal(Notify);

#[async_trait]
impl HostFunctions for BeginSignal {
    async fn call(&self, _: HostCall) -> Result<Value, HostError> {
        self.0.notify_one();
        Ok(Value::None)
    }
}

/// Something that listens, says one thing to each of two connections, and answers whatever it hears with
/// another.
fn listen(first: &'static str, then: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(2) {
            let mut stream = stream.unwrap();
            let _ = stream.write_all(first.as_bytes());
            let _ = stream.read(&mut [0; 10_000]);
            let _ = stream.write_all(then.as_bytes());
        }
    });
    address
}

async fn a_wrong_secret_is_named(agent: LocalAgent) {
    let error = error(Remote::new(agent.address(), "not the secret at all")).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("another secret"), "{error}");
    assert!(!format!("{error:?}").contains("not the secret"), "{error:?}");
}

async fn a_missing_secret_is_named(agent: LocalAgent) {
    let error = error(Remote::new(agent.address(), "")).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("no secret"), "{error}");
}

async fn no_agent_is_named(agent: LocalAgent) {
    let remote = agent.remote();
    drop(agent);
    let error = error(remote).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("nothing listens") && error.message().contains("agent.py"), "{error}");
}

async fn another_program_is_no_agent(_: LocalAgent) {
    for greeting in ["SSH-2.0-OpenSSH_9.2\r\n", "{\"agent\": \"other\"}\n"] {
        let error = error(Remote::new(listen(greeting, "HTTP/1.1 400 Bad Request\r\n\r\n"), "secret")).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("not a Abyme agent"), "{error}");
    }
}

async fn an_agent_of_another_version_is_named(_: LocalAgent) {
    let newer = listen("{\"agent\": \"abyme\", \"version\": 2, \"nonce\": \"x\"}\n", "");
    let error = error(Remote::new(newer, "secret")).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("speaks version 2"), "{error}");
}

/// A program in the agent's place agrees to everything, but cannot prove that it knows the secret.
async fn an_impostor_gets_nothing(_: LocalAgent) {
    let impostor = listen(
        "{\"agent\": \"abyme\", \"version\": 1, \"nonce\": \"x\"}\n",
        "{\"ok\": true, \"proof\": \"00\", \"session\": \"x\"}\n",
    );
    let error = error(Remote::new(impostor, "secret")).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("does not know the secret"), "{error}");
}

async fn a_silent_address_is_given_up(_: LocalAgent) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let remote = Remote::new(silent.local_addr().unwrap().to_string(), "secret");
    let error = error(remote.connect_timeout(Duration::from_millis(200))).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("did not answer within 0.2 s"), "{error}");
}

async fn an_agent_killed_in_mid_cell_ends_the_session(mut agent: LocalAgent) {
    let mut session = session(&agent).await;
    let (process, child, directory) = processes(&mut session).await;
    let begun = BeginSignal::default();
    let killer = async {
        tokio::time::timeout(Duration::from_secs(10), begun.0.notified()).await.unwrap();
        agent.kill();
    };
    let scope = Scope::new().function(FunctionSpec::new("begun", "Tells that the cell has come so far."));
    let cell = Cell::new("print('so far', flush=True)\nbegun()\nwhile True: pass").scope(scope.into());
    let (seen, ()) = tokio::join!(session.execute(cell, &begun), killer);
    let seen = seen.unwrap();
    assert_eq!(seen.stdout.to_string(), "so far\n");
    let reason = seen.session_ended.unwrap();
    assert!(reason.contains("lost its connection to the agent"), "{reason}");
    let error = session.run_code("1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded);
    assert!(eventually(|| !is_running(&process) && !is_running(&child) && !Path::new(&directory).exists()));
}

async fn two_hosts_share_an_agent(agent: LocalAgent) {
    let (mut mine, mut theirs) = (session(&agent).await, session(&agent).await);
    value(&mut mine, "import os\nx = 'mine'\nopen('note', 'w').write(x)").await;
    assert_eq!(value(&mut theirs, "import os\n'x' in globals(), os.listdir()").await, "(False, [])");
    assert_ne!(value(&mut mine, "os.getpid()").await, value(&mut theirs, "os.getpid()").await);
    mine.shutdown().await.unwrap();
    assert_eq!(value(&mut theirs, "6 * 7").await, "42");
}

async fn a_dropped_session_leaves_nothing(agent: LocalAgent) {
    let mut idle = session(&agent).await;
    let (process, child, directory) = processes(&mut idle).await;
    drop(idle);
    assert!(eventually(|| !is_running(&process) && !is_running(&child) && !Path::new(&directory).exists()));

    // A busy one does not see the end of its connection; the agent does.
    let mut busy = session(&agent).await;
    let (process, child, directory) = processes(&mut busy).await;
    let stubborn =
        "def spin():\n    while True: pass\nwhile True:\n    try: spin()\n    except BaseException: pass";
    let _ = tokio::time::timeout(Duration::from_millis(200), busy.run_code(stubborn)).await;
    drop(busy);
    assert!(eventually(|| !is_running(&process) && !is_running(&child) && !Path::new(&directory).exists()));
    drop(agent);
}

async fn a_shut_down_session_leaves_no_group(agent: LocalAgent) {
    let mut session = session(&agent).await;
    let (process, child, directory) = processes(&mut session).await;
    session.shutdown().await.unwrap();
    assert!(eventually(|| !is_running(&process) && !is_running(&child) && !Path::new(&directory).exists()));
}

async fn an_ended_agent_leaves_nothing(agent: LocalAgent) {
    let mut session = session(&agent).await;
    let (process, child, directory) = processes(&mut session).await;
    drop(agent);
    assert!(!is_running(&process) && !Path::new(&directory).exists(), "they are gone when the agent is");
    assert!(eventually(|| !is_running(&child)));
    let error = end_of(&mut session).await;
    assert_eq!(error.kind(), ErrorKind::SessionEnded);
    assert!(error.message().contains("agent"), "{error}");
}

async fn a_dead_session_is_known_between_cells(agent: LocalAgent) {
    let mut session = session(&agent).await;
    let (process, ..) = processes(&mut session).await;
    assert!(std::process::Command::new("kill").args(["-9", &process]).status().unwrap().success());
    let error = end_of(&mut session).await;
    assert_eq!(error.kind(), ErrorKind::SessionEnded);
    assert!(error.message().contains("SIGKILL"), "{error}");
}

async fn the_limits_are_set(agent: LocalAgent) {
    let remote = agent
        .remote()
        .memory_limit_bytes(2 << 30)
        .max_file_bytes(1 << 20)
        .max_open_files(64)
        .max_processes(1000)
        .cpu_timeout(Duration::from_secs(77));
    let mut session = try_session(remote).await.unwrap();
    let code = "import resource as r\n\
                names = 'AS FSIZE NOFILE NPROC CPU CORE'.split()\n\
                [r.getrlimit(getattr(r, 'RLIMIT_' + name))[0] for name in names]";
    assert_eq!(value(&mut session, code).await, "[2147483648, 1048576, 64, 1000, 77, 0]");
    let mut unlimited = try_session(agent.remote().memory_limit_bytes(None)).await.unwrap();
    let code = "import resource as r\nr.getrlimit(r.RLIMIT_AS)[0] == r.RLIM_INFINITY";
    assert_eq!(value(&mut unlimited, code).await, "True");
}

/// Neither in the session's environment, nor in what the system shows of the agent, nor on a command line.
async fn the_secret_is_out_of_sight(agent: LocalAgent) {
    let mut session = session(&agent).await;
    let code = "import os\n\
                ids, files = (os.getpid(), os.getppid()), ('environ', 'cmdline')\n\
                parts = [open(f'/proc/{i}/{f}').read() for i in ids for f in files]\n\
                seen = repr(os.environ) + ''.join(parts)\n\
                'agent.py' in seen, 'ABYME_AGENT_SECRET=' in seen";
    assert_eq!(value(&mut session, code).await, "(True, False)");
}

/// An interrupt that arrives when its cell is done must not hit the next one: here it takes long.
async fn interrupts_stay_with_their_cell(agent: LocalAgent) {
    let slow = slow_control(agent.address().to_owned()).await;
    let remote = agent.remote().address(slow).interrupt_grace(Duration::from_secs(10));
    let mut session = try_session(remote).await.unwrap();
    for _ in 0..2 {
        let cell = Cell::new("import time\ntime.sleep(0.1)\n'done'").timeout(Duration::from_millis(30));
        let seen = session.execute(cell, &NoHostFunctions).await.unwrap();
        assert!(seen.is_ok(), "{seen:?}");
        let seen = session.run_code("time.sleep(2.5)\n'untouched'").await.unwrap();
        assert!(seen.is_ok() && seen.interruption.is_none(), "{seen:?}");
    }
    let stubborn = Cell::new("time.sleep(60)").timeout(Duration::from_millis(30));
    let seen = session.execute(stubborn, &NoHostFunctions).await.unwrap();
    assert_eq!(seen.interruption, Some(Interruption::Interrupted), "{seen:?}");
}

/// An address that leads to the agent, where what is said on control connections takes a while.
async fn slow_control(agent: String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((host, _)) = listener.accept().await {
            let agent = tokio::net::TcpStream::connect(&agent).await.unwrap();
            tokio::spawn(relay(host, agent));
        }
    });
    address
}

async fn relay(host: tokio::net::TcpStream, agent: tokio::net::TcpStream) {
    host.set_nodelay(true).unwrap();
    agent.set_nodelay(true).unwrap();
    let ((mut from_host, mut to_host), (mut from_agent, mut to_agent)) =
        (host.into_split(), agent.into_split());
    let up = async {
        let (mut data, mut is_control) = (vec![0; 1 << 16], false);
        while let Ok(length @ 1..) = from_host.read(&mut data).await {
            is_control |= data[..length].windows(9).any(|part| part == b"\"control\"");
            if is_control {
                tokio::time::sleep(Duration::from_millis(1500)).await;
            }
            let _ = to_agent.write_all(&data[..length]).await;
        }
        let _ = to_agent.shutdown().await;
    };
    let down = async {
        let _ = tokio::io::copy(&mut from_agent, &mut to_host).await;
        let _ = to_host.shutdown().await;
    };
    tokio::join!(up, down);
}
