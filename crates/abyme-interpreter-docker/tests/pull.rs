//! An image is fetched, from a small registry on this machine. Engines elsewhere do not reach it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use abyme_core::{ErrorKind, InterpreterFactoryExt};
use abyme_interpreter_docker::{Pull, PullProgress};
use bollard::query_parameters::RemoveImageOptions;
use common::{docker, engine};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

fn main() -> std::process::ExitCode {
    run![an_image_is_fetched_once unless not_here(), the_newest_is_fetched_if_asked_for unless not_here()]
}

/// What a registry has, by path: its type and its bytes.
type Store = Arc<HashMap<String, (&'static str, Vec<u8>)>>;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// An image with one file in it, called `thing:1`. It is another in each registry: tests that run at the same
/// time share an engine, which keeps one image for the same bytes, under both names.
fn store(registry: &str) -> Store {
    let mut layer = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(4 << 20);
    header.set_mode(0o644);
    let mut file = vec![7; 4 << 20];
    file[..registry.len()].copy_from_slice(registry.as_bytes());
    layer.append_data(&mut header, "file", &file[..]).unwrap();
    let layer = layer.into_inner().unwrap();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    });
    let config = config.to_string().into_bytes();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "size": config.len(), "digest": digest(&config)},
        "layers": [{"mediaType": LAYER, "size": layer.len(), "digest": digest(&layer)}],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut store = HashMap::from([("/v2/".to_owned(), ("application/json", b"{}".to_vec()))]);
    for reference in ["1".to_owned(), digest(&manifest)] {
        store.insert(format!("/v2/thing/manifests/{reference}"), (MANIFEST, manifest.clone()));
    }
    for blob in [config, layer] {
        store.insert(format!("/v2/thing/blobs/{}", digest(&blob)), ("application/octet-stream", blob));
    }
    Arc::new(store)
}

/// A registry; its address, and what it was asked for.
async fn registry() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (heard, store) = (asked.clone(), store(&address));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (heard, store) = (heard.clone(), store.clone());
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        // The engine tries an encrypted connection first.
                        Ok(0x16) if request.is_empty() => return,
                        Ok(byte) => request.push(byte),
                        Err(_) => return,
                    }
                }
                let request = String::from_utf8_lossy(&request).into_owned();
                let mut words = request.split(' ');
                let (method, path) = (words.next().unwrap(), words.next().unwrap());
                heard.lock().unwrap().push(path.to_owned());
                let found = store.get(path);
                let (status, (kind, body)) = match found {
                    Some(found) => ("200 OK", found.clone()),
                    None => ("404 Not Found", ("text/plain", Vec::new())),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
                     Docker-Content-Digest: {}\r\nDocker-Distribution-Api-Version: registry/2.0\r\n\
                     Connection: close\r\n\r\n",
                    body.len(),
                    digest(&body)
                );
                let _ = stream.write_all(head.as_bytes()).await;
                if method == "GET" {
                    let _ = stream.write_all(&body).await;
                }
                let _ = stream.shutdown().await;
            });
        }
    });
    (address, asked)
}

/// Why the engine cannot reach a registry in this program.
fn not_here() -> Option<String> {
    let is_far = std::env::var("DOCKER_HOST").is_ok_and(|host| !host.starts_with("unix://"));
    is_far.then(|| "the engine is on another machine".to_owned())
}

async fn an_image_is_fetched_once() {
    let (address, asked) = registry().await;
    let image = format!("{address}/thing:1");
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = told.clone();
    let reporting = docker().image(&image).on_progress(move |progress| {
        heard.lock().unwrap().push(progress);
    });
    reporting.prepare().await.unwrap();
    {
        let told = told.lock().unwrap();
        assert_eq!(told[0], PullProgress::Pulling { image: image.clone() });
        assert!(
            matches!(told.last(), Some(PullProgress::Pulled { image: of, .. }) if *of == image),
            "{told:?}"
        );
    }
    assert!(reporting.engine().await.unwrap().image_id.is_some());
    let before = asked.lock().unwrap().len();
    reporting.prepare().await.unwrap();
    docker().image(&image).prepare().await.unwrap();
    assert_eq!(asked.lock().unwrap().len(), before, "it is there");

    // Removed behind the factory's back, it is fetched again.
    engine().remove_image(&image, None::<RemoveImageOptions>, None).await.unwrap();
    let error = reporting.session().await.unwrap_err();
    assert!(error.message().contains("has no `python3`"), "{error}");
    assert!(asked.lock().unwrap().len() > before);
    engine().remove_image(&image, None::<RemoveImageOptions>, None).await.unwrap();

    let none = format!("{address}/none:1");
    let error = docker().image(&none).prepare().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("cannot be fetched") && error.message().contains(&none), "{error}");
}

async fn the_newest_is_fetched_if_asked_for() {
    let (address, asked) = registry().await;
    let image = format!("{address}/thing:1");
    for _ in 0..2 {
        let before = asked.lock().unwrap().len();
        docker().image(&image).pull(Pull::Always).prepare().await.unwrap();
        assert!(asked.lock().unwrap().len() > before);
    }
    engine().remove_image(&image, None::<RemoveImageOptions>, None).await.unwrap();
}
