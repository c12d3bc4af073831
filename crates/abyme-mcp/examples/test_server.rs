//! The server of the tests, over stdio.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it serves tests"
)]

#[path = "../tests/common/server.rs"]
mod server;

use rmcp::{ServiceExt, transport::stdio};

#[tokio::main]
async fn main() {
    match std::env::args().nth(1).as_deref() {
        None => {}
        Some("silent") => std::future::pending().await,
        Some("broken") => {
            eprintln!("no config file");
            std::process::exit(2);
        }
        Some("half") => {
            for line in std::io::stdin().lines() {
                let request = serde_json::from_str(&line.unwrap()).unwrap();
                if let Some(answer) = server::answer_with_half(&request) {
                    println!("{answer}");
                }
            }
            return;
        }
        Some(other) => panic!("no mode `{other}`"),
    }
    server::TestServer::default().serve(stdio()).await.unwrap().waiting().await.unwrap();
}
