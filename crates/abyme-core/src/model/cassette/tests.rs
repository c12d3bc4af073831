//! What is recorded is replayed, and nothing else is.

use std::{fs, time::Duration};

use futures_util::{FutureExt, StreamExt, future::join_all, stream};

use super::{Recording, Replay};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{
        Delta, LanguageModel, LanguageModelExt, NativeCall, Request, Response, ResponseStream, Usage, collect,
    },
    testing::ScriptedModel,
};

fn echo() -> ScriptedModel {
    let model = ScriptedModel::from_fn(|request| {
        let text = format!("re: {}", request.messages[0].content);
        Ok(Response::new(text).reasoning("hm").usage(Usage::tokens(3, 2).cost(0.1)))
    });
    model.with_name("echo")
}

/// The cassette of these prompts, as a text.
async fn recorded(model: impl LanguageModel, prompts: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cassette.jsonl");
    let recording = Recording::create(&path).unwrap().secret("open \"sesame\"");
    let model = model.with_recording(&recording);
    for prompt in prompts {
        let _ = model.complete(&Request::prompt(*prompt).timeout(Duration::from_secs(5))).await;
    }
    recording.finish().unwrap();
    // Prompts and replies may hold what is secret.
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&path.metadata().unwrap()) & 0o077, 0);
    fs::read_to_string(path).unwrap()
}

async fn ask(replay: &Replay, prompt: &str) -> Result<Response> {
    replay.model("echo").complete(&Request::prompt(prompt)).await
}

#[tokio::test]
async fn calls_streams_and_errors_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cassette.jsonl");
    let recording = Recording::create(&path).unwrap();
    let failure = ErrorKind::RateLimited { retry_after: Some(Duration::from_millis(1500)) };
    let failing = ScriptedModel::from_fn(move |_| {
        Err(Error::new(failure, "too many").with_usage(Usage::call()).permanent())
    });
    let (echo, failing) = (echo().with_recording(&recording), failing.with_recording(&recording));
    let request = Request::prompt("a").max_tokens(5);
    let whole = echo.complete(&request).await.unwrap();
    let pieces: Vec<_> = echo.stream(&request).map(Result::unwrap).collect().await;
    failing.complete(&request).await.unwrap_err();
    drop(echo.stream(&request).next().await);
    recording.finish().unwrap();

    let replay = Replay::open(&path).unwrap();
    assert_eq!(replay.models().into_iter().collect::<Vec<_>>(), ["echo", "scripted"]);
    let (echo, failing) = (replay.model("echo"), replay.model("scripted"));
    assert_eq!(echo.complete(&request).await.unwrap(), whole);
    let again: Vec<_> = echo.stream(&request).map(Result::unwrap).collect().await;
    assert_eq!(again, pieces);
    let error = failing.complete(&request).await.unwrap_err();
    assert_eq!((error.kind(), error.message(), error.is_temporary()), (failure, "too many", false));
    assert_eq!(error.usage(), Some(&Usage::call()));
    let mut dropped = echo.stream(&request);
    assert_eq!(dropped.next().await.unwrap().unwrap(), Delta::Reasoning("hm".into()));
    assert!(dropped.next().now_or_never().is_none(), "nobody waited for more");
    drop(dropped);
    replay.finish().unwrap();
    assert!(replay.model("other").check().unwrap_err().message().contains("`echo`, `scripted`"));
}

#[tokio::test]
async fn the_first_difference_is_shown_and_stays() {
    let tape = recorded(echo(), &["one\ntwo\nthree", "b"]).await;
    let replay = Replay::from_jsonl("x.jsonl", &tape).unwrap();
    let error = ask(&replay, "one\ntwo\nthree and a half").await.unwrap_err();
    let report = "call 1 of model `echo` is not the recorded one: message 1 (user) differs in line 3: \
                  `three and a half` in place of `three` (cassette x.jsonl) (Config)\n  difference: \n  \
                  one\n  two\n- three\n+ three and a half";
    assert_eq!(format!("{error:?}"), report);
    assert!(!error.is_temporary());
    let later = ask(&replay, "one\ntwo\nthree").await.unwrap_err();
    assert_eq!(later.message(), error.message());
    assert_eq!(replay.finish().unwrap_err().message(), error.message());
}

#[tokio::test]
async fn each_field_of_a_request_is_compared() {
    let tape = recorded(echo(), &["a"]).await;
    let request = Request::prompt("a");
    let other = crate::model::Message::assistant("a");
    let others = [
        request.clone().max_tokens(1),
        request.clone().temperature(0.0),
        request.clone().model("b".to_owned()),
        request.clone().schema(serde_json::json!({})),
        Request::new(vec![request.messages[0].clone(), other.clone()]),
        Request::new(vec![other]),
    ];
    for request in others {
        let replay = Replay::from_jsonl("x.jsonl", &tape).unwrap();
        let error = replay.model("echo").complete(&request).await.unwrap_err();
        assert!(error.message().contains("not the recorded one: "), "{error}");
        assert!(replay.finish().is_err());
    }
}

#[tokio::test]
async fn calls_come_in_their_order_or_in_any() {
    let tape = recorded(echo(), &["a", "b", "c"]).await;
    let replay = Replay::from_jsonl("x.jsonl", &tape).unwrap().unordered();
    let answers = join_all(["c", "a", "b"].map(|prompt| ask(&replay, prompt))).await;
    let texts: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().text).collect();
    assert_eq!(texts, ["re: c", "re: a", "re: b"]);
    let error = ask(&replay, "d").await.unwrap_err();
    assert!(error.message().contains("more than the 3 recorded times"), "{error}");
    assert!(replay.finish().is_err());
    let replay = Replay::from_jsonl("x.jsonl", &tape).unwrap();
    assert!(ask(&replay, "c").await.is_err());
    assert!(replay.finish().is_err());
}

#[tokio::test]
async fn what_is_not_asked_for_is_a_failure() {
    let tape = recorded(echo(), &["a", "b"]).await;
    let replay = Replay::from_jsonl("x.jsonl", &tape).unwrap();
    ask(&replay, "a").await.unwrap();
    let message = "1 of 2 recorded calls were not asked for, the first of them call 2 of model `echo` \
                   (cassette x.jsonl)";
    assert_eq!(replay.finish().unwrap_err().message(), message);
    drop(Replay::from_jsonl("x.jsonl", &tape).unwrap().allow_unused());
    let dropped = std::panic::catch_unwind(|| drop(Replay::from_jsonl("x.jsonl", &tape).unwrap()));
    assert!(dropped.is_err(), "a replay that is dropped unfinished panics");
}

#[tokio::test]
async fn no_key_is_written_and_requests_are_compared_without() {
    let keys = [
        "sk-proj-abcdefghijklmnop1234",
        "AIzaSyA1234567890abcdefghijklmnopqrstuv",
        "ghp_abcdefghijklmnopqrst1234",
        "AKIAABCDEFGHIJKLMNOP",
        "hf_abcdefghijklmnopqrstuv",
        "open \"sesame\"",
    ];
    let prompts: Vec<_> = keys.iter().map(|key| format!("my key is {key}, is it?")).collect();
    let tape = recorded(echo(), &prompts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(keys.iter().all(|key| !tape.contains(key)) && !tape.contains("sesame"), "{tape}");
    assert!(tape.contains("my key is [secret], is it?"), "{tape}");
    let replay = Replay::from_jsonl("x.jsonl", &tape).unwrap().secret("open \"sesame\"");
    for prompt in &prompts {
        assert_eq!(ask(&replay, prompt).await.unwrap().text, "re: my key is [secret], is it?");
    }
    replay.finish().unwrap();
}

/// A model whose stream has these pieces, and which sends this key.
#[derive(Debug)]
struct InPieces(&'static [&'static str], &'static str);

#[async_trait::async_trait]
impl LanguageModel for InPieces {
    fn name(&self) -> &str {
        "echo"
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.1.to_owned()]
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        collect(self.stream(request)).await
    }

    fn stream<'a>(&'a self, _: &'a Request) -> ResponseStream<'a> {
        let whole = Response::new(self.0.concat()).reasoning(self.0.concat());
        let pieces = self.0.iter().map(|&piece| Delta::Text(piece.to_owned()));
        let pieces = pieces.chain(self.0.iter().map(|&piece| Delta::Reasoning(piece.to_owned())));
        stream::iter(pieces.chain([Delta::Done(whole)]).map(Ok)).boxed()
    }
}

/// The cassette of a stream of these pieces of a model with this key, and the pieces of text that it replays.
async fn recorded_pieces(pieces: &'static [&'static str], key: &'static str) -> (String, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cassette.jsonl");
    let recording = Recording::create(&path).unwrap();
    let request = Request::prompt(format!("is {key} a key?"));
    collect(InPieces(pieces, key).with_recording(&recording).stream(&request)).await.unwrap();
    recording.finish().unwrap();
    let replay = Replay::open(&path).unwrap().secret(key);
    let (mut texts, mut thoughts, mut whole) = (Vec::new(), String::new(), Response::default());
    for delta in replay.model("echo").stream(&request).collect::<Vec<_>>().await {
        match delta.unwrap() {
            Delta::Text(text) => texts.push(text),
            Delta::Reasoning(text) => thoughts += &text,
            Delta::Done(response) => whole = response,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((texts.concat(), thoughts), (whole.text, whole.reasoning));
    replay.finish().unwrap();
    (fs::read_to_string(path).unwrap(), texts)
}

#[tokio::test]
async fn a_key_that_is_split_over_pieces_is_not_written_and_they_add_up() {
    let split = &["key='Bearer sk", "-WALK", "SECRET123' and ", "sk-proj-", "abcdefghijklmnop1234.", " Bye"];
    let (tape, pieces) = recorded_pieces(split, "sk-WALKSECRET123").await;
    assert_eq!(pieces, ["key='[secret]", "' and ", "[secret]", ".", " Bye"]);
    assert!(!tape.contains("WALK") && !tape.contains("SECRET") && !tape.contains("abcdefgh"), "{tape}");
    // What only a part of the text looks like stays, as in the whole text.
    let (tape, _) = recorded_pieces(&["a ta", "sk-management-system-of-ours"], "walk-secret").await;
    assert!(tape.contains("a task-management-system-of-ours") && !tape.contains("walk-secret"), "{tape}");
}

#[tokio::test]
async fn a_key_after_a_line_break_is_not_written() {
    let key = "sk-proj-abcdefghijklmnop1234";
    let call = NativeCall::new("python", serde_json::json!({"code": format!("a\n{key}\n")}).to_string());
    let model = ScriptedModel::from_fn(move |_| Ok(Response::new("").native_call(call.clone())));
    let tape = recorded(model, &[&format!("keys:\n{key}")]).await;
    assert!(tape.contains("keys:\\n[secret]") && !tape.contains(key), "{tape}");
}

#[tokio::test]
async fn a_replay_compares_without_a_secret_that_the_recording_was_not_told() {
    let tape = recorded(echo(), &["in my-staging-host"]).await;
    let replay = Replay::from_jsonl("x.jsonl", &tape).unwrap().secret("my-staging-host");
    assert_eq!(ask(&replay, "in my-staging-host").await.unwrap().text, "re: in my-staging-host");
    replay.finish().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_cannot_be_written_is_known_at_once() {
    let error = Recording::create("/dev/full").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.message().starts_with("cannot write the cassette /dev/full: "), "{error}");
}

#[tokio::test]
async fn a_damaged_cassette_is_an_error_with_its_line() {
    let tape = recorded(echo(), &["a", "b"]).await;
    let message = |text: &str| Replay::from_jsonl("x.jsonl", text).unwrap_err().message().to_owned();
    let cut = message(&tape[..tape.len() - 20]);
    assert!(cut.starts_with("the cassette x.jsonl is damaged in line 3: EOF"), "{cut}");
    assert!(message("").contains("x.jsonl is no cassette"));
    assert!(message(&tape.replacen(":1}", ":2}", 1)).contains("is of version 2; this program reads 1"));
    let call = r#"{"call":1,"model":"m","request":{},"error":{"kind":"x","message":""}}"#;
    assert!(
        message(&format!("{{\"abyme_cassette\":1}}\n{call}"))
            .contains("line 2: there is no kind of error `x`")
    );
    assert!(Replay::open("no such file").unwrap_err().message().contains("no such file"));
}

#[tokio::test]
async fn a_stream_can_be_asked_for_as_a_whole_and_the_other_way_round() {
    let tape = recorded(echo(), &["a"]).await;
    let replay = Replay::from_jsonl("x.jsonl", &tape).unwrap();
    let request = Request::prompt("a");
    assert_eq!(collect(replay.model("echo").stream(&request)).await.unwrap().text, "re: a");
    replay.finish().unwrap();
}
