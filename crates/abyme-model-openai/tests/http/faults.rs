//! Connections that break, stall or are never made.

use std::time::{Duration, Instant};

use abyme_core::{Error, ErrorKind, LanguageModel, Request};
use abyme_model_openai::OpenAi;
use futures_util::FutureExt;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpSocket, TcpStream},
    time::sleep,
};

use crate::{
    ask, completion, model,
    server::{RawServer, read_request, reset, write_json},
};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n";

/// The error of one try.
async fn fail(model: OpenAi) -> Error {
    model.complete(&Request::prompt("x")).await.unwrap_err()
}

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn outside_of_a_tokio_runtime_the_error_says_so() {
    let model = model("http://127.0.0.1:1");
    let error = model.complete(&Request::prompt("x")).now_or_never().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().starts_with("there is no tokio runtime here"), "{error}");
}

#[tokio::test]
async fn a_connection_reset_before_the_answer_is_tried_again() {
    let server = RawServer::start(|number, mut stream| async move {
        read_request(&mut stream).await;
        if number == 0 {
            return reset(&stream);
        }
        write_json(&mut stream, &completion("recovered")).await;
    })
    .await;
    assert_eq!(ask(&server.url).await.unwrap().text, "recovered");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_connection_closed_before_the_answer() {
    let server = RawServer::start(|_, mut stream| async move {
        read_request(&mut stream).await;
    })
    .await;
    let error = fail(model(&server.url)).await;
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(error.to_string().contains("before it answered"), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_cut_says_after_how_many_bytes() {
    async fn cut(mut stream: TcpStream, with_reset: bool) {
        read_request(&mut stream).await;
        stream.write_all(HEAD).await.unwrap();
        stream.write_all(b"{\"choices\":").await.unwrap();
        if with_reset {
            sleep(milliseconds(50)).await;
            reset(&stream);
        }
    }
    let server = RawServer::start(|number, stream| cut(stream, number % 2 == 0)).await;
    for _ in 0..2 {
        let error = fail(model(&server.url)).await;
        assert_eq!(error.kind(), ErrorKind::Connection);
        assert!(error.to_string().contains("cut after 11 bytes"), "{error}");
        assert!(format!("{error:?}").contains("charged"), "{error:?}");
    }
    let error = ask(&server.url).await.unwrap_err();
    assert!(format!("{error:?}").contains("tries: 4"), "{error:?}");
}

#[tokio::test]
async fn a_chunked_answer_that_ends_too_early_is_not_an_answer() {
    let server = RawServer::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        let body = completion("complete by accident").to_string();
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let _ = stream.write_all(format!("{head}{:x}\r\n{body}\r\n", body.len()).as_bytes()).await;
    })
    .await;
    let error = fail(model(&server.url)).await;
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(error.to_string().contains("cut after"), "{error}");
}

#[tokio::test]
async fn each_time_limit_is_named() {
    let silent = RawServer::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        sleep(Duration::from_secs(60)).await;
    })
    .await;
    let error = fail(model(&silent.url).timeout(milliseconds(100))).await;
    assert_eq!(error.kind(), ErrorKind::ModelTimeout);
    assert!(error.to_string().contains("within 0.1 s (total timeout)"), "{error}");
    let error = fail(model(&silent.url).first_byte_timeout(milliseconds(100))).await;
    assert!(error.to_string().contains("(first-byte timeout)"), "{error}");

    let stalled = RawServer::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        // In one piece: a stall between two would pass for the idle time.
        stream.write_all(&[HEAD, b"12345"].concat()).await.unwrap();
        sleep(Duration::from_secs(60)).await;
    })
    .await;
    let error = fail(model(&stalled.url).idle_timeout(milliseconds(100))).await;
    assert_eq!(error.kind(), ErrorKind::ModelTimeout);
    assert!(error.to_string().contains("for 0.1 s after 5 bytes of its answer (idle timeout)"), "{error}");
    // This limit counts from before the connection is made, and the bytes have to come within it.
    let error = fail(model(&stalled.url).timeout(Duration::from_secs(2))).await;
    assert!(error.to_string().contains("after 5 bytes of its answer (total timeout)"), "{error}");
}

#[tokio::test]
async fn a_byte_at_a_time_does_not_outlast_the_limit() {
    async fn drip(mut stream: TcpStream, start: &[u8], bytes: &[u8]) {
        read_request(&mut stream).await;
        stream.write_all(start).await.unwrap();
        for byte in bytes.iter().cycle() {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(milliseconds(20)).await;
        }
    }
    let start = Instant::now();
    let body = RawServer::start(|_, stream| drip(stream, HEAD, b" ")).await;
    let error = fail(model(&body.url).timeout(milliseconds(200)).idle_timeout(Duration::from_secs(5))).await;
    assert!(error.to_string().contains("(total timeout)"), "{error}");
    let head = RawServer::start(|_, stream| drip(stream, b"HTTP/1.1 200 OK\r\nx: ", b"y")).await;
    let error = fail(model(&head.url).timeout(milliseconds(200))).await;
    assert!(error.to_string().contains("(total timeout)"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

/// Blocks of gzip that hold nothing: bytes keep coming, and what they unpack to never grows.
#[tokio::test]
async fn a_body_that_unpacks_to_nothing_does_not_outlast_the_limit() {
    const START: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\0\xff";
    const EMPTY_BLOCK: &[u8] = b"\0\0\0\xff\xff";
    let server = RawServer::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(START).await.unwrap();
        let blocks = EMPTY_BLOCK.repeat(1000);
        while stream.write_all(&blocks).await.is_ok() {}
    })
    .await;
    let start = Instant::now();
    let error = fail(model(&server.url).timeout(milliseconds(300))).await;
    assert_eq!(error.kind(), ErrorKind::ModelTimeout);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

/// All requests of one call share its time, also one that is repeated as the server wants it.
#[tokio::test]
async fn a_repeated_request_has_no_more_time() {
    let server = RawServer::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        sleep(milliseconds(400)).await;
        let body = r#"{"error": {"message": "temperature is not supported"}}"#;
        let head = format!("HTTP/1.1 400 Bad\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
    })
    .await;
    let error = fail(model(&server.url).temperature(0.5).timeout(milliseconds(600))).await;
    assert_eq!(error.kind(), ErrorKind::ModelTimeout);
    assert!(error.to_string().contains("within 0.6 s (total timeout)"), "{error}");
    assert_eq!(server.connections(), 2);
}

/// The status of a failure counts, although its body never ends.
#[tokio::test]
async fn a_failure_without_an_end_is_told_by_its_status() {
    let server = RawServer::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 429 No\r\nretry-after: 7\r\ncontent-length: 100\r\n\r\nslow down")
            .await
            .unwrap();
        sleep(Duration::from_secs(60)).await;
    })
    .await;
    let start = Instant::now();
    let error = fail(model(&server.url)).await;
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

/// A stream of events says itself when it is done, and may keep its connection.
#[tokio::test]
async fn a_stream_that_stays_open_is_done_when_it_says_so() {
    let server = RawServer::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        let events = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\ndata: [DONE]\n\n";
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        stream.write_all(format!("{head}{events}").as_bytes()).await.unwrap();
        sleep(Duration::from_secs(60)).await;
    })
    .await;
    let model = model(&server.url).timeout(Duration::from_secs(20));
    assert_eq!(model.complete(&Request::prompt("x")).await.unwrap().text, "hi");
}

#[tokio::test]
async fn the_limit_of_a_request_counts_if_it_is_less() {
    let silent = RawServer::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        sleep(Duration::from_secs(60)).await;
    })
    .await;
    let model = model(&silent.url).timeout(milliseconds(200));
    for (asked, used) in [(100, "0.1 s"), (90_000, "0.2 s")] {
        let error = model.complete(&Request::prompt("x").timeout(milliseconds(asked))).await.unwrap_err();
        assert!(error.to_string().contains(used), "{error}");
    }
}

#[tokio::test]
async fn connections_that_are_not_made_name_the_phase_and_the_host() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = fail(model(&format!("http://{address}"))).await;
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert_eq!(error.to_string(), format!("{address} refused the connection"));

    let error = fail(model("http://abyme.invalid").connect_timeout(Duration::from_secs(3))).await;
    // A machine without a name server may time out instead, and a proxy may answer for the name.
    if error.kind() == ErrorKind::Connection && !format!("{error:?}").contains("proxy") {
        assert_eq!(error.to_string(), "the name of abyme.invalid cannot be resolved (DNS)");
    }

    let plain = RawServer::start(|_, mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    })
    .await;
    let error = fail(model(&plain.url.replace("http:", "https:"))).await;
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(error.to_string().ends_with("(TLS)"), "{error:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connection_that_takes_too_long() {
    // Nobody accepts, so once the queue is full, further connections are not answered at all.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = tokio::time::timeout(milliseconds(200), TcpStream::connect(address)).await {
        queue.push(stream);
    }
    let error = fail(model(&format!("http://{address}")).connect_timeout(milliseconds(100))).await;
    assert_eq!(error.kind(), ErrorKind::ModelTimeout);
    assert!(error.to_string().contains("within 0.1 s (connect timeout)"), "{error}");
}

#[tokio::test]
async fn calls_and_clones_share_one_connection() {
    let server = RawServer::start(|_, mut stream| async move {
        while read_request(&mut stream).await.is_some() {
            write_json(&mut stream, &completion("hi")).await;
        }
    })
    .await;
    let model = model(&server.url);
    for _ in 0..5 {
        model.complete(&Request::prompt("x")).await.unwrap();
        model.clone().complete(&Request::prompt("x")).await.unwrap();
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_dropped_call_closes_its_connection() {
    let (read, was_read) = tokio::sync::oneshot::channel();
    let (gone, was_gone) = tokio::sync::oneshot::channel();
    let signals = std::sync::Mutex::new(Some((read, gone)));
    let server = RawServer::start(move |_, mut stream| {
        let signals = signals.lock().unwrap().take();
        async move {
            let Some((read, gone)) = signals else { return };
            read_request(&mut stream).await;
            let _ = read.send(());
            // The client sends nothing more; the end of the stream is its going away.
            read_request(&mut stream).await;
            let _ = gone.send(());
        }
    })
    .await;
    let model = model(&server.url);
    let request = Request::prompt("x");
    let dropped = tokio::select! {
        _ = model.complete(&request) => false,
        arrived = was_read => arrived.is_ok(),
    };
    assert!(dropped, "the call ended by itself");
    tokio::time::timeout(Duration::from_secs(5), was_gone).await.expect("the connection is closed").unwrap();
}
