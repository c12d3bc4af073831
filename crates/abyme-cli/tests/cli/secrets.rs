//! The key is in nothing that the command writes, whatever the provider does and however much is logged.

use abyme::ErrorKind;
use abyme_conformance::model::{
    AnthropicMessages, GeminiContent, KEY, OpenAiChat, Provider, Reply, Scenario, StandInServer, WireFault,
};

use crate::support::TestDir;

#[test]
fn the_key_is_in_nothing_that_the_command_writes() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let submits = Reply::new(["```python\n", "SUBMIT(q)\n", "```"]);
    // A reply that succeeds, and repeats the key in two pieces.
    let (first, second) = (format!("```python\nSUBMIT('{}", &KEY[..9]), format!("{}')\n```", &KEY[9..]));
    let scenarios = [
        Scenario::Reply(submits.clone()),
        Scenario::Reply(Reply::new([first, second])),
        Scenario::Fail(ErrorKind::Auth),
        Scenario::Fail(ErrorKind::BadRequest),
        Scenario::Fail(ErrorKind::QuotaExceeded),
        Scenario::Fail(ErrorKind::Server),
        Scenario::FailMidway(submits, ErrorKind::Server),
        Scenario::Garbage,
        Scenario::Wire(WireFault::Page(502)),
        Scenario::Wire(WireFault::ErrorInSuccess(ErrorKind::Auth)),
        Scenario::Wire(WireFault::RedirectElsewhere),
    ];
    let run: &[&str] =
        &["run", "-s", "q -> text", "-i", "q=x", "--trace", "run.jsonl", "--retries", "1", "-v"];
    for scenario in scenarios {
        let provider = Provider::new(scenario.clone());
        let server = runtime.block_on(StandInServer::start(OpenAiChat, provider.clone())).unwrap();
        let base = format!("{}/v1", server.url());
        for args in [run, &["doctor", "--check-model"]] {
            let dir = TestDir::new();
            let output = dir
                .command(args)
                .args(["--model", "openai/test-model", "--api-base", &base])
                .env("ABYME_API_KEY", KEY)
                .env("ABYME_LOG", "trace")
                .output()
                .unwrap();
            let trace = std::fs::read(dir.path("run.jsonl")).unwrap_or_default();
            let all = [output.stdout, output.stderr, trace].concat();
            let all = String::from_utf8_lossy(&all);
            assert!(provider.keys() > 0, "{args:?} sent no key: {all}");
            assert!(!all.contains(KEY) && !all.contains(&KEY[10..]), "{args:?} {scenario:?}: {all}");
            assert!(all.contains("TRACE") && all.contains("test-model"), "{args:?} logs nothing: {all}");
        }
    }
}

/// It looks like no provider's, and the environment does not have it.
#[test]
fn the_key_of_a_file_is_in_no_cassette() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let provider = Provider::new(Scenario::Reply(Reply::new(["```python\n", "SUBMIT(q)\n", "```"])));
    let server = runtime.block_on(StandInServer::start(OpenAiChat, provider.clone())).unwrap();
    let (base, key) = (format!("{}/v1", server.url()), "office.7h3k.canary");
    let dir = TestDir::new();
    dir.write(".env", format!("ABYME_API_KEY={key}\n"));
    let question = format!("q=Is {key} a key?");
    let run = ["run", "-s", "q -> text", "-i", &question, "--model", "openai/test-model"];
    let ended = dir.run(&[&run[..], &["--api-base", &base, "--record", "calls.jsonl"]].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    let cassette = std::fs::read_to_string(dir.path("calls.jsonl")).unwrap();
    assert!(cassette.contains("Is [secret] a key?") && !cassette.contains(key), "{cassette}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_cassette_that_cannot_be_written_is_known_before_the_first_call() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let provider = Provider::new(Scenario::Echo);
    let server = runtime.block_on(StandInServer::start(OpenAiChat, provider.clone())).unwrap();
    let base = format!("{}/v1", server.url());
    let run = ["run", "-s", "q -> text", "-i", "q=x", "--model", "openai/test-model", "--api-base", &base];
    let ended = TestDir::new().run(&[&run[..], &["--record", "/dev/full"]].concat());
    assert!(ended.code != 0 && ended.stderr.contains("cannot write the cassette /dev/full"), "{ended:?}");
    assert_eq!(provider.count(), 0);
}

#[cfg(all(feature = "anthropic", feature = "gemini"))]
#[test]
fn the_key_of_another_provider_is_in_nothing_either() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for scenario in [Scenario::Fail(ErrorKind::Auth), Scenario::Wire(WireFault::RedirectElsewhere)] {
        for name in ["anthropic", "gemini"] {
            let provider = Provider::new(scenario.clone());
            let (model, base, key) = match name {
                "anthropic" => ("anthropic/test-model", "ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"),
                _ => ("gemini/test-model", "GOOGLE_GEMINI_BASE_URL", "GEMINI_API_KEY"),
            };
            let server = runtime.block_on(async {
                match name {
                    "anthropic" => StandInServer::start(AnthropicMessages, provider.clone()).await,
                    _ => StandInServer::start(GeminiContent, provider.clone()).await,
                }
            });
            let server = server.unwrap();
            let dir = TestDir::new();
            let mut command = dir.command(&["doctor", "--check-model", "--model", model]);
            let output =
                command.env(base, server.url()).env(key, KEY).env("ABYME_LOG", "trace").output().unwrap();
            let all = [output.stdout, output.stderr].concat();
            let all = String::from_utf8_lossy(&all);
            assert!(provider.keys() > 0, "{name} sent no key: {all}");
            assert!(!all.contains(KEY) && !all.contains(&KEY[10..]), "{name} {scenario:?}: {all}");
        }
    }
}
