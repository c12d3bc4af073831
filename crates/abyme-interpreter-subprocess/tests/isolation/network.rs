//! The network, and sockets of the host. Only addresses of loopback and sockets that the test opened.

use std::{
    net::{TcpListener, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram, UnixListener},
    },
};

use crate::attack::{attack, isolated, printed, run, secret};

#[tokio::test]
async fn no_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let code = format!("import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=1).close()");
    attack(&code, |_| listener.accept().is_ok()).await;
}

#[tokio::test]
async fn no_udp() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let port = socket.local_addr().unwrap().port();
    let code = format!(
        "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))"
    );
    attack(&code, |_| socket.recv(&mut [0; 8]).is_ok()).await;
}

#[tokio::test]
async fn no_unix_sockets() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let code =
        format!("import socket\nsocket.socket(socket.AF_UNIX).connect({:?})", path.display().to_string());
    attack(&code, |_| listener.accept().is_ok()).await;

    let name = secret();
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    listener.set_nonblocking(true).unwrap();
    let code = format!("import socket\nsocket.socket(socket.AF_UNIX).connect('\\0{name}')");
    attack(&code, |_| listener.accept().is_ok()).await;

    // One of a pair can send elsewhere, if it is of the kind that keeps no connection.
    let path = dir.path().join("datagrams");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let code = format!(
        "import socket\na, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\na.sendto(b'x', {:?})",
        path.display().to_string()
    );
    attack(&code, |_| socket.recv(&mut [0; 8]).is_ok()).await;
}

/// Event loops wake themselves through a pair of sockets.
#[tokio::test]
async fn an_event_loop_works() {
    let code = "import asyncio\nasync def f(): return 'slept'\nprint(await asyncio.wait_for(f(), 1))";
    assert_eq!(printed(&run(&isolated(), code).await), "slept");
}
