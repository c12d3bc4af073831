//! C14: the network is as far away as declared. The host listens; what it hears is what counts.

use std::time::Duration;

use abyme_core::{Access, Isolation};
use tokio::net::{TcpListener, UdpSocket};

use crate::{
    case::cases,
    result::{fail, skip},
    session::SessionUnderTest,
};

cases! {
    theme c14_network, clause 14;

    /// C14: a connection to the host is heard if the network is declared open, and not otherwise.
    async fn tcp_is_as_declared(s) {
        let (listener, port) = tcp().await;
        let _ = s
            .run(
                format!(
                    r#"
                        import socket
                        c = socket.create_connection(('127.0.0.1', {port}), timeout=1)
                        c.close()
                    "#
                )
                .as_str(),
            )
            .await;
        let heard = is_heard(listener.accept()).await;
        judge(s, heard, "a TCP connection");
        s.in_step().await;
    }

    /// C14: a datagram to the host is heard if the network is declared open, and not otherwise.
    async fn udp_is_as_declared(s) {
        let socket = match UdpSocket::bind("127.0.0.1:0").await {
            Ok(socket) => socket,
            Err(error) => skip(format!("the host cannot listen: {error}")),
        };
        let port = socket.local_addr().map_or(0, |address| address.port());
        let code = format!(
            r#"
                import socket
                u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                n = u.sendto(b'heard?', ('127.0.0.1', {port}))
                u.close()
            "#
        );
        let _ = s.run(code.as_str()).await;
        let heard = is_heard(socket.recv(&mut [0; 16])).await;
        judge(s, heard, "a datagram");
    }

    /// C14: a request by a library is heard if the network is declared open; otherwise it fails in words and
    /// in time.
    async fn http_is_as_declared(s) {
        let (listener, port) = tcp().await;
        let code = format!(
            "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:{port}/', timeout=1).read()"
        );
        let observed = s.run(code.as_str()).await;
        observed.expect(observed.error.is_some(), "expected the request to fail: nobody answers it");
        let heard = is_heard(listener.accept()).await;
        judge(s, heard, "an HTTP request");
    }

    /// C14: where there is no network, code cannot wait for connections either, or nobody gets through to it.
    async fn listening_is_as_declared(s) {
        if s.declared().network == Access::Open {
            skip("the network is open");
        }
        let observed = s
            .run(
                r#"
                    import socket
                    l = socket.socket()
                    l.bind(('127.0.0.1', 0))
                    l.listen()
                    print(l.getsockname()[1])
                "#,
            )
            .await;
        if let Ok(port) = observed.stdout.head.trim().parse::<u16>()
            && tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        {
            fail("the network is declared closed, but the host could connect to the session");
        }
    }
}

/// Whether something came. Asked after the cell: the system keeps what came meanwhile.
async fn is_heard<T>(hearing: impl Future<Output = std::io::Result<T>>) -> bool {
    tokio::time::timeout(Duration::from_secs(1), hearing).await.is_ok_and(|heard| heard.is_ok())
}

async fn tcp() -> (TcpListener, u16) {
    match TcpListener::bind("127.0.0.1:0").await {
        Ok(listener) => {
            let port = listener.local_addr().map_or(0, |address| address.port());
            (listener, port)
        }
        Err(error) => skip(format!("the host cannot listen: {error}")),
    }
}

#[track_caller]
fn judge(s: &SessionUnderTest, heard: bool, what: &str) {
    let local = matches!(s.declared().isolation, Isolation::None | Isolation::Process);
    match s.declared().network {
        Access::Open if !heard && local => {
            fail(format!("the network is declared open, but {what} did not arrive"))
        }
        Access::Denied if heard => fail(format!("the network is declared denied, but {what} arrived")),
        _ => {}
    }
}
