//! The protocol with a process, against scripts that play a peer; and all of the real ones, by hand:
//! `cargo test --release -p abyme-benches peers -- --ignored --nocapture`.

use super::*;

/// A peer whose process is a shell with this script.
fn playing(script: &str) -> (tempfile::TempDir, Peer) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("script");
    std::fs::write(&file, script).unwrap();
    let installed = InstalledPeer {
        name: "fake".into(),
        version: String::new(),
        program: "sh".into(),
        script: file,
        home: dir.path().into(),
    };
    (dir, Peer(Arc::new(installed)))
}

#[tokio::test]
async fn takes_samples_until_the_peer_fails() {
    let (_dir, peer) = playing(
        r#"
        echo '{"version": "fake 1.0"}'
        read request; case "$request" in *'"text-in"'*) echo '{"ready": true}';; esac
        read request; case "$request" in *'"sample":true'*) echo '{"seconds": 0.5}';; esac
        read request; echo '{"error": "ValueError: no"}'
        read request; echo '{"second": 0.5}'
        read request; echo 'the last words' >&2; exit 3
        "#,
    );
    let mut trial = peer.trial("text-in", Some(10)).await.unwrap().unwrap();
    assert_eq!(trial.sample().await, Ok(0.5));
    assert_eq!(trial.sample().await, Err("ValueError: no".to_owned()));
    assert!(trial.sample().await.unwrap_err().starts_with("its reply is not understood"));
    let ended = "its process ended (exit status: 3): the last words".to_owned();
    assert_eq!(trial.sample().await, Err(ended.clone()));
    assert_eq!(trial.sample().await, Err(ended));
}

#[tokio::test]
async fn a_peer_may_have_no_part_in_a_scenario() {
    let (_dir, peer) = playing(r#"echo '{"version": "fake 1.0"}'; read request; echo '{"ready": false}'"#);
    assert!(peer.trial("fork", None).await.unwrap().is_none());
}

#[tokio::test]
async fn a_process_that_does_not_start_says_why() {
    let (_dir, peer) = playing("echo 'ModuleNotFoundError: no module' >&2; exit 1");
    let error = peer.trial("cell", None).await.err().unwrap();
    assert_eq!(error, "its process ended (exit status: 1): ModuleNotFoundError: no module");
}

#[tokio::test]
#[ignore = "installs the peers from PyPI"]
async fn every_peer_in_every_scenario() {
    for peer in start().await {
        let peer = match peer {
            Ok(peer) => peer,
            Err((name, reason)) => {
                println!("{name} is not here: {reason}");
                continue;
            }
        };
        println!("{}: {}", peer.name(), peer.version());
        let points = ["start", "cell", "host-call", "batch", "fork"].map(|name| (name, None));
        for (scenario, at) in
            points.into_iter().chain([("text-in", Some(10)), ("text-in-cyrillic", Some(10))])
        {
            match peer.trial(scenario, at).await {
                Ok(Some(mut trial)) => println!("  {scenario}: {:?}", trial.sample().await),
                Ok(None) => println!("  {scenario}: has no part in it"),
                Err(reason) => println!("  {scenario}: {reason}"),
            }
        }
    }
}
