//! Every public reader of bytes that others wrote, with such bytes a few edits away from good ones. None may
//! panic, hang or hold more than it may.
//!
//! `PROPTEST_CASES` sets how many cases each target gets (256 without it). A case that fails is shrunk, and
//! kept in `proptest-regressions/` for all later runs. Readers that are private have such tests beside them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::{Arc, LazyLock};

use abyme::{
    Cell, CodeInterpreter, CodePolicy, ErrorKind, FieldType, InterpreterFactory, LanguageModel,
    NoHostFunctions, OpenAi, Replay, Request, TaskSignature, Trajectory, Value, Wasm,
};
use abyme_driver::{Control, DriverSession, DriverTimeouts};
use abyme_python_syntax::{parse_reply, public_functions};
use async_trait::async_trait;
use proptest::{collection::vec, prelude::*, sample::Index};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime::Runtime,
};
use twox_hash::XxHash3_64;

/// A change to bytes.
#[derive(Clone, Debug)]
enum Edit {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize, usize),
    CutOff(Index),
}

fn edit(words: &'static [&'static str]) -> impl Strategy<Value = Edit> {
    let word = prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec());
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        4 => (any::<Index>(), word).prop_map(|(at, word)| Edit::Insert(at, word)),
        1 => (any::<Index>(), vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        2 => (any::<Index>(), 1_usize..20).prop_map(|(at, length)| Edit::Remove(at, length)),
        2 => (any::<Index>(), 1_usize..40, 1_usize..50).prop_map(|(at, length, times)| {
            Edit::Repeat(at, length, times)
        }),
        1 => any::<Index>().prop_map(Edit::CutOff),
    ]
}

/// Bytes that are up to eight edits away from a seed.
fn edited(mut bytes: Vec<u8>, edits: Vec<Edit>) -> Vec<u8> {
    for edit in edits {
        let place = |at: Index| at.index(bytes.len() + 1);
        match edit {
            Edit::Set(at, byte) => {
                let at = place(at);
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            Edit::Insert(at, more) => {
                let at = place(at);
                bytes.splice(at..at, more);
            }
            Edit::Remove(at, length) => {
                let at = place(at);
                bytes.drain(at..bytes.len().min(at + length));
            }
            Edit::Repeat(at, length, times) => {
                let at = place(at);
                let part = bytes[at..bytes.len().min(at + length)].repeat(times);
                bytes.splice(at..at, part);
            }
            Edit::CutOff(at) => bytes.truncate(place(at)),
        }
    }
    bytes
}

fn near_bytes(seed: Vec<u8>, words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    vec(edit(words), 0..8).prop_map(move |edits| edited(seed.clone(), edits))
}

/// Text near one of the seeds, or the words of the language in any order.
fn near(seeds: &'static [&'static str], words: &'static [&'static str]) -> impl Strategy<Value = String> {
    let edited = (prop::sample::select(seeds), vec(edit(words), 0..8))
        .prop_map(|(seed, edits)| edited(seed.as_bytes().to_vec(), edits))
        .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let words = vec(prop::sample::select(words), 0..60).prop_map(|words| words.concat());
    prop_oneof![3 => edited, 1 => words]
}

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap());

#[derive(Debug)]
struct NoProcess;

#[async_trait]
impl Control for NoProcess {
    fn is_alive(&self) -> bool {
        true
    }

    fn interrupt(&self) -> bool {
        true
    }

    async fn kill(&self) {}

    async fn how_it_ended(&self) -> String {
        "ended".to_owned()
    }
}

/// What a driver sends in the first cell of its session.
fn driver_bytes() -> Vec<u8> {
    let frame = |header: &str, blobs: &[&[u8]]| {
        let mut bytes = b"ABY1".to_vec();
        bytes.extend(u32::try_from(header.len()).unwrap().to_be_bytes());
        bytes.extend(u32::try_from(blobs.len()).unwrap().to_be_bytes());
        blobs.iter().for_each(|blob| bytes.extend((blob.len() as u64).to_be_bytes()));
        bytes.extend(header.as_bytes());
        blobs.iter().for_each(|blob| bytes.extend_from_slice(blob));
        bytes
    };
    [
        frame(r#"{"type":"ready","protocol":1,"python":"3.13.0","executable":"","pid":1}"#, &[]),
        frame(r#"{"type":"output","run":1,"stream":"stdout","text":"so \ud83d\ude00 far"}"#, &[]),
        frame(
            r#"{"type":"call","run":1,"id":1,"name":"f","args":[1,[2.5,null]],"kwargs":{"a":{"$text":0}}}"#,
            &[b"long text"],
        ),
        frame(
            r#"{"type":"submit","run":1,"via":"SUBMIT","fields":{"x":{"$int":"99999999999999999999"}}}"#,
            &[],
        ),
        frame(
            r#"{"type":"done","run":1,"stdout":{"head":"","tail":"","total":0},"stderr":{"head":"","tail":"",
               "total":0},"variables":{"v":{"$dict":[["$k",{"$bytes":0}],["f",{"$float":"nan"}]]}}}"#,
            &[b"\0\xff"],
        ),
    ]
    .concat()
}

const FRAME_WORDS: &[&str] = &[
    "ABY1",
    "\0\0\0\0",
    "\0\0\0\u{1}",
    "\u{7f}",
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "\\ud800",
    "\\",
    "null",
    "1e999",
    "18446744073709551615",
    "-1",
    "\"type\"",
    "\"run\":2",
    "{\"$text\":0}",
    "{\"$bytes\":9}",
    "{\"$dict\":[[\"a\",1]]}",
    "{\"$int\":\"7\"}",
    "[[[[[[[[[[[[",
];

/// Bytes of a driver end in an observation or an error, whatever they are.
fn drive(bytes: &[u8]) {
    RUNTIME.block_on(async {
        let (host, mut driver) = tokio::io::duplex(1 << 16);
        let (input, output) = tokio::io::split(host);
        let session = DriverSession::new(input, output, Arc::new(NoProcess), DriverTimeouts::default());
        let mut session = session.max_message_bytes(1 << 14);
        let sending = async {
            let _ = driver.write_all(bytes).await;
            let _ = driver.shutdown().await;
            // What the host answers is read, so that it does not wait.
            let _ = tokio::io::copy(&mut driver, &mut tokio::io::sink()).await;
        };
        let executing = async {
            let _ = session.execute(Cell::new("x").read("v"), &NoHostFunctions).await;
            drop(session);
        };
        tokio::join!(executing, sending);
    });
}

/// Values as a driver writes them: the tags of what JSON lacks, with blobs that are there or not.
fn wire_value() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::json;
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        any::<f64>().prop_map(|value| json!(value)),
        ".{0,6}".prop_map(|value| json!(value)),
        (0..4_u8).prop_map(|blob| json!({"$text": blob})),
        (0..4_u8).prop_map(|blob| json!({"$bytes": blob})),
        "-?[0-9]{0,40}".prop_map(|digits| json!({"$int": digits})),
        prop::sample::select(vec!["nan", "inf", "-inf", "-0.0", "x"])
            .prop_map(|name| json!({"$float": name})),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| json!(items)),
            prop::collection::hash_map(".{0,3}", inner.clone(), 0..3).prop_map(|fields| json!(fields)),
            vec((".{0,3}", inner), 0..3).prop_map(|pairs| json!({"$dict": pairs})),
        ]
    })
}

/// A frame of any kind, whose fields are of their types or not.
fn wire_frame() -> impl Strategy<Value = Vec<u8>> {
    let kinds = vec!["ready", "output", "call", "submit", "done", "interrupted", "pong", ""];
    let names = vec!["f", "llm_query", "stdout", "SUBMIT", "FINAL_VAR", "\u{0}"];
    let blobs = vec(vec(any::<u8>(), 0..12), 0..4);
    let told = prop_oneof![9 => Just(0_i64), 1 => -2..3_i64];
    let fields = (prop::sample::select(kinds), 0..3_u64, 0..4_u64, prop::sample::select(names));
    (fields, wire_value(), wire_value(), blobs, told, 0..9_usize).prop_map(
        |((kind, run, id, name), value, other, blobs, told, left_out)| {
            let mut header = serde_json::json!({
                "type": kind, "run": run, "id": id, "name": name, "stream": name, "via": name, "text": name,
                "args": [value], "kwargs": {"a": other}, "fields": {"x": value}, "value": other,
                "protocol": 1, "python": "3.13.0", "executable": "", "pid": 1,
                "stdout": {"head": "", "tail": "", "total": 0},
                "stderr": {"head": "", "tail": "", "total": id}, "variables": {"v": value},
            });
            let fields = header.as_object_mut().unwrap();
            let names: Vec<_> = fields.keys().cloned().collect();
            fields.remove(&names[left_out]);
            let header = header.to_string();
            let mut bytes = b"ABY1".to_vec();
            bytes.extend(u32::try_from(header.len() as i64 + told).unwrap().to_be_bytes());
            bytes.extend(u32::try_from(blobs.len()).unwrap().to_be_bytes());
            blobs.iter().for_each(|blob| bytes.extend((blob.len() as u64).to_be_bytes()));
            bytes.extend(header.as_bytes());
            blobs.iter().for_each(|blob| bytes.extend_from_slice(blob));
            bytes
        },
    )
}

const REPLIES: &[&str] = &[
    "I look at it.\n\n```python\nprint(q[:100])\nSUBMIT(a=1)\n```\nThat is it.",
    "```repl\nx = '''\n```\n'''\n```",
    "<think>```python\n1\n```</think>FINAL(42)",
    "<function_calls><invoke name=\"repl\"><parameter name=\"code\">print(1)</parameter></invoke>",
    "~~~py\nfor x in y:\n    pass\n~~~\n\nFINAL_VAR(\"answer\")",
];
const REPLY_WORDS: &[&str] = &[
    "```",
    "````",
    "~~~",
    "\n",
    "python\n",
    "```python\n",
    "repl",
    "FINAL(",
    "FINAL_VAR('a')",
    "SUBMIT(",
    ")",
    "\"\"\"",
    "'''",
    "\\",
    "#",
    "<code>",
    "</code>",
    "<tool_call>",
    "{\"code\": \"1\"}",
    "<|im_end|>",
    "<think>",
    "</think>",
    "    ",
    "\t",
    "é",
    "\r\n",
    "((((((((((",
    "f\"{",
];

const CELLS: &[&str] = &[
    "import os, sys as s\nfrom a.b import c\nx = [i ** 2 for i in range(10) if i]\nos.system('ls')",
    "def tool(a: int, *args: str, b: 'list[str]' = ['x'], **kw) -> dict:\n    'Doc.'\n    return {}",
    "class A(B, metaclass=C):\n    async def f(self): return await g(lambda: (yield))",
    "match x:\n    case {'a': [1, *_]} | None if y: print(f'{x!r:>{w}} {{}}')",
    "getattr(__builtins__, 'ev' + 'al')('1')",
];
const CELL_WORDS: &[&str] = &[
    "import os",
    "from . import *",
    "def f(",
    "):\n",
    "    ",
    "\n",
    "lambda:",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ":",
    ",",
    "=",
    "**",
    "f'{",
    "'",
    "\"\"\"",
    "#",
    "\\\n",
    "await ",
    "yield ",
    "not ",
    "-",
    "1",
    "x",
    ".y",
    "async ",
    "match ",
    "case ",
    "@",
    "é",
    "\0",
    "((((((((((((((((((((",
    "- - - - - - - -",
];

const SIGNATURES: &[&str] = &[
    "question, context: list[str] -> answer: str, score: float",
    "a: dict[str, int | None] -> b: Literal['x', \"y\"]",
    "q -> a: Optional[list[dict[str, Any]]]",
];
const SIGNATURE_WORDS: &[&str] = &[
    "->",
    ":",
    ",",
    " ",
    "[",
    "]",
    "|",
    "list[",
    "dict[str, ",
    "Literal[",
    "'",
    "\"",
    "str",
    "int",
    "Any",
    "Optional[",
    "None",
    "=",
    "a",
    "é",
    "\n",
    "list[list[list[list[list[list[list[",
];

const JSON: &[&str] = &[
    r#"{"a": [1, -2.5e3, true, null, NaN, "x\n\u00e9\ud83d\ude00"], "$int": "12345678901234567890"}"#,
    r#"{"$dict": [["$k", {"$bytes": "AAEC"}], ["f", {"$float": "-inf"}]]}"#,
    r#"[[[[[[]]]]], {"": {}}, 123456789012345678901234567890]"#,
];
const JSON_WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\ud800",
    "\\u0000",
    "\\",
    "null",
    "true",
    "NaN",
    "-Infinity",
    "1",
    "-",
    "e999",
    ".",
    "\"$int\":",
    "\"$bytes\":",
    "\"$dict\":",
    "{\"$float\":\"nan\"}",
    "[[[[[[[[[[[[[[[[",
];

const CASSETTES: &[&str] = &[concat!(
    r#"{"abyme_cassette":1}"#,
    "\n",
    r#"{"call":2,"model":"m","request":{"messages":[{"role":"user","content":"q"}]},"#,
    r#""pieces":[{"text":"a"}],"#,
    r#""response":{"text":"a","usage":{"calls":1},"finish_reason":"stop"}}"#,
    "\n",
    r#"{"call":1,"model":"m","request":{},"error":{"kind":"rate_limited","message":"no","retry_after":1.5}}"#,
    "\n",
    r#"{"call":3,"model":"n","request":{},"dropped":{}}"#,
)];

const TRAJECTORIES: &[&str] = &[concat!(
    r#"{"abyme_trajectory":1}"#,
    "\n",
    r#"{"blob":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881","text":"x"}"#,
    "\n",
    r#"{"run":"r","at":0.5,"event":"cell_started","turn":1,"reasoning":{"$blob":"#,
    r#""2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"},"code":"1"}"#,
    "\n",
    r#"{"run":"r","at":1,"event":"tool_call_started","turn":1,"call":1,"tool":"t","#,
    r#""arguments":{"a":{"$dict":[["$blob",{"$bytes":"eA=="}]]},"$$blob":{"$int":"1"}}}"#,
    "\n"
)];

/// The readers behind the checksums are to be reached.
fn with_sums(text: &str) -> String {
    let mut lines = text.split_inclusive('\n');
    let header = lines.next().unwrap_or_default();
    let sum = |parts: [&str; 2]| format!("{:x}", Sha256::digest(parts.concat()))[..16].to_owned();
    let (mut sums, mut whole) = (sum(["", header.trim_end_matches('\n')]), header.to_owned());
    for line in lines {
        match line.strip_suffix("}\n") {
            Some(body) => {
                sums = sum([&sums, body]);
                whole.push_str(&format!("{body},\"sum\":\"{sums}\"}}\n"));
            }
            None => whole.push_str(line),
        }
    }
    whole
}

/// A session that was written down, with a file and a variable in it.
static SNAPSHOT: LazyLock<(Wasm, Vec<u8>)> = LazyLock::new(|| {
    let wasm = Wasm::new();
    let snapshot = RUNTIME.block_on(async {
        let mut session = wasm.create().await.unwrap();
        let cell = Cell::new("x = 1\nopen('file.txt', 'w').write('content')");
        drop(session.execute(cell, &NoHostFunctions).await.unwrap());
        session.snapshot().await.unwrap()
    });
    (wasm, snapshot)
});

/// Where the checksum of a snapshot stands, and what it is of. The readers behind it are to be reached.
const SUM: std::ops::Range<usize> = 55..63;

fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= SUM.end {
        let sum = XxHash3_64::oneshot(&bytes[SUM.end..]);
        bytes[SUM].copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

/// A `.env` that several programs have filled.
const SETTINGS: &[&str] = &[
    "APP_NAME=My App\nABYME_MODEL=groq/llama # fast\nexport GROQ_API_KEY=\"sk-a$b\\\"c\"\n",
    "\u{feff}CERT='---\nABYME_MODEL=not ours\n---'\r\nDSPY_LM_MODEL=openai/x\r\nDSPY_LM_MAX_TOKENS=100\r\n",
    "ABYME_MODEL=openai/x\nABYME_API_BASE=http://127.0.0.1:1/v1\nOPENAI_API_KEY=${OTHER}\n[default]\n",
];
const SETTING_WORDS: &[&str] = &[
    "ABYME_MODEL",
    "ABYME_API_KEY",
    "DSPY_LM_MAX_TOKENS=",
    "OPENAI_BASE_URL=http://",
    "export ",
    "=",
    "\n",
    "\r\n",
    "'",
    "\"",
    "\\",
    "#",
    " ",
    "$",
    "${",
    "}",
    "\0",
    "é",
    "::",
    "99999999999999999999",
];

/// A folder whose `.env` anyone may have written.
fn read_settings(bytes: &[u8]) -> abyme::Result<OpenAi> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), bytes).unwrap();
    let model = OpenAi::from_vars(&|_| None, folder.path())?;
    let _ = model.check();
    Ok(model)
}

/// What a server answers to a request, as it stands on the connection.
fn responses() -> impl Strategy<Value = Vec<u8>> {
    let json = r#"{"choices":[{"message":{"content":"hi \ud83d\ude00","tool_calls":[{"function":{"name":"f",
        "arguments":"{\"code\":\"1\"}"}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,
        "completion_tokens":2,"cost":0.5,"prompt_tokens_details":{"cached_tokens":1}},"model":"m"}"#;
    let events = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n: ping\n\n\
        data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]}}]}\n\n\
        data: [DONE]\n\n";
    let failure = r#"{"error":{"message":"Rate limit. Please try again in 6m0s.","code":"rate_limit_exceeded",
        "metadata":{"raw":"unsupported parameter: max_tokens; use max_completion_tokens"}}}"#;
    let whole = |head: &str, body: &str| {
        format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    prop_oneof![
        near_bytes(whole("200 OK\r\ncontent-type: application/json", json), RESPONSE_WORDS),
        near_bytes(whole("200 OK\r\ncontent-type: text/event-stream", events), RESPONSE_WORDS),
        near_bytes(
            whole("429 No\r\nretry-after: 2\r\nx-ratelimit-reset-tokens: 1h2m", failure),
            RESPONSE_WORDS
        ),
        near_bytes(whole("400 No\r\ncontent-encoding: gzip", failure), RESPONSE_WORDS),
    ]
}

const RESPONSE_WORDS: &[&str] = &[
    "\r\n",
    "\n\n",
    "data: ",
    "[DONE]",
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "null",
    "1e999",
    "-1",
    "\\ud800",
    "\"content\":",
    "\"error\":",
    "\"choices\":[]",
    "\"index\":999999999",
    "retry-after: Fri, 31 Dec 9999 23:59:59 GMT",
    "retry-after: 2027-01-15T08:01:30Z",
    "x-litellm-response-cost: NaN",
    "temperature is not supported",
    "system role not supported",
    "é",
    "[[[[[[[[[[[[[[[[",
];

/// Asks a server that answers all requests with these bytes and then closes the connection.
fn ask(answer: &[u8]) -> abyme::Result<abyme::Response> {
    RUNTIME.block_on(async {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", server.local_addr().unwrap());
        let model = OpenAi::new("openai/m").base_url(url).timeout(std::time::Duration::from_secs(20));
        let answering = async {
            loop {
                let (mut stream, _) = server.accept().await.unwrap();
                let mut request = vec![0; 1 << 16];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            }
        };
        let request = Request::prompt("x").temperature(0.5).max_tokens(9);
        tokio::select! {
            answered = model.complete(&request) => answered,
            () = answering => unreachable!("it answers for ever"),
        }
    })
}

proptest! {
    #[test]
    fn settings_of_a_folder(text in near(SETTINGS, SETTING_WORDS)) {
        let _ = read_settings(text.as_bytes());
    }

    #[test]
    fn responses_of_a_server(bytes in responses()) {
        // It took no longer than it may, and no timer of ours was what ended it.
        if let Err(error) = ask(&bytes) {
            prop_assert!(error.kind() != ErrorKind::ModelTimeout, "{error}");
        }
    }

    #[test]
    fn bytes_of_a_driver(bytes in near_bytes(driver_bytes(), FRAME_WORDS)) {
        drive(&bytes);
    }

    /// Whole frames in any order, after a good beginning or not.
    #[test]
    fn frames_of_a_driver(begins_well in any::<bool>(), frames in vec(wire_frame(), 0..8)) {
        let begin = if begins_well { driver_bytes() } else { Vec::new() };
        drive(&[begin, frames.concat()].concat());
    }

    #[test]
    fn replies_of_a_model(text in near(REPLIES, REPLY_WORDS)) {
        let _ = parse_reply(&text);
    }

    #[test]
    fn cells_against_a_policy(code in near(CELLS, CELL_WORDS)) {
        let _ = CodePolicy::guard_rail().check(&code);
    }

    #[test]
    fn sources_of_tools(code in near(CELLS, CELL_WORDS)) {
        let _ = public_functions(&code);
    }

    #[test]
    fn signatures(text in near(SIGNATURES, SIGNATURE_WORDS)) {
        let _ = text.parse::<TaskSignature>();
        let _ = text.parse::<FieldType>();
    }

    #[test]
    fn json(text in near(JSON, JSON_WORDS)) {
        if let Ok(value) = Value::parse_json(&text) {
            let written = serde_json::to_string(&value).unwrap();
            let read = serde_json::from_str::<Value>(&written).unwrap();
            // NaN is not equal to itself.
            prop_assert_eq!(serde_json::to_string(&read).unwrap(), written);
        }
        let _ = serde_json::from_str::<Value>(&text);
    }

    #[test]
    fn trajectories(text in near(TRAJECTORIES, JSON_WORDS)) {
        if let Ok(trajectory) = Trajectory::from_jsonl(&with_sums(&text)) {
            let written = trajectory.to_jsonl();
            prop_assert_eq!(Trajectory::from_jsonl(&written).unwrap().to_jsonl(), written);
        }
    }

    #[test]
    fn cassettes(text in near(CASSETTES, JSON_WORDS)) {
        let _ = Replay::from_jsonl("x.jsonl", &text).map(Replay::allow_unused);
    }
}

proptest! {
    // Each case copies a session.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 8,
        ..ProptestConfig::default()
    })]

    #[test]
    fn sums_of_the_cache(bytes in near_bytes(b"52428800 0123456789abcdef\n".to_vec(), JSON_WORDS)) {
        let cache = tempfile::tempdir().unwrap();
        let wasm = Wasm::new().cache_dir(cache.path());
        let entry = wasm.cache_state().unwrap().path.unwrap();
        std::fs::create_dir_all(&entry).unwrap();
        std::fs::write(entry.join("sum"), bytes).unwrap();
        std::fs::write(entry.join("guest.cwasm"), "no code").unwrap();
        prop_assert!(!wasm.cache_state().unwrap().ready);
    }

    #[test]
    fn snapshots_of_sessions(
        head in vec((SUM.end..SUM.end + 4200, any::<u8>()), 0..4),
        tail in vec((1_usize..3000, any::<u8>()), 0..4),
        cut in prop::option::of(any::<Index>()),
    ) {
        let (wasm, snapshot) = &*SNAPSHOT;
        let mut bytes = snapshot.clone();
        let length = bytes.len();
        head.into_iter().for_each(|(at, byte)| bytes[at % length] = byte);
        tail.into_iter().for_each(|(back, byte)| bytes[length - back.min(length)] = byte);
        if let Some(cut) = cut {
            bytes.truncate(cut.index(length));
        }
        // What was restored is dropped: its memory may be anything, and only the guest looks at it.
        let _ = RUNTIME.block_on(wasm.restore(&with_checksum(bytes)));
    }
}

/// The seeds are what the readers take: an edit of something that is refused at once would try little.
#[test]
fn the_seeds_are_good() {
    RUNTIME.block_on(async {
        let (host, mut driver) = tokio::io::duplex(1 << 16);
        let (input, output) = tokio::io::split(host);
        let mut session = DriverSession::new(input, output, Arc::new(NoProcess), DriverTimeouts::default());
        driver.write_all(&driver_bytes()).await.unwrap();
        let observation = session.execute(Cell::new("x").read("v"), &NoHostFunctions).await.unwrap();
        assert!(
            observation.submission.is_some() && observation.variables.contains_key("v"),
            "{observation:?}"
        );
    });
    CASSETTES.iter().for_each(|text| drop(Replay::from_jsonl("x.jsonl", text).unwrap().allow_unused()));
    for text in TRAJECTORIES {
        assert_eq!(Trajectory::from_jsonl(&with_sums(text)).unwrap().events().count(), 2);
    }
    SIGNATURES.iter().for_each(|text| drop(text.parse::<TaskSignature>().unwrap()));
    JSON.iter().for_each(|text| drop(Value::parse_json(text).unwrap()));
    SETTINGS[..2].iter().for_each(|text| drop(read_settings(text.as_bytes()).unwrap()));
    let problem = read_settings(SETTINGS[2].as_bytes()).unwrap_err();
    assert!(problem.message().contains("write the value itself"), "{problem}");
    CELLS.iter().for_each(|code| drop(public_functions(code).unwrap()));
    let (wasm, snapshot) = &*SNAPSHOT;
    assert!(with_checksum(snapshot.clone()) == *snapshot, "the checksum is elsewhere");
    RUNTIME.block_on(wasm.restore(snapshot)).unwrap();
}
