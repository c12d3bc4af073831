//! An address, and the connections that come to it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

/// A pause after a connection that could not be taken, because descriptors are short for example.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(200);
/// After how much silence the system asks whether a client is still there, how often, and how many times.
const PROBES: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 3);

/// Takes connections, so many at once.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    room: Arc<Semaphore>,
}

/// A connection that was taken. Its place is free again when it is dropped.
#[derive(Debug)]
#[non_exhaustive]
pub struct AcceptedConnection {
    /// The connection.
    pub stream: TcpStream,
    /// Its place among those that there may be at once.
    pub place: OwnedSemaphorePermit,
}

impl Listener {
    /// Listens; port 0 is one that is free. Connections beyond `max_connections` wait until one ends.
    ///
    /// # Errors
    /// Those of the system, such as that the address is in use.
    pub async fn bind(address: SocketAddr, max_connections: usize) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let room = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
        Ok(Self { listener, address, room })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection, once there is room for it. What cannot be taken is left out. The future may be
    /// dropped at any time without a connection being lost.
    pub async fn accept(&self) -> AcceptedConnection {
        loop {
            let Ok(place) = self.room.clone().acquire_owned().await else {
                // Nobody closes the semaphore.
                return std::future::pending().await;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    set_up(&stream);
                    return AcceptedConnection { stream, place };
                }
                // The other side may have given up already, which is nothing to tell.
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    drop(place);
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }
}

/// What a system does not take is left as it is.
fn set_up(stream: &TcpStream) {
    // Pieces of a stream are small, and are to arrive at once.
    stream.set_nodelay(true).ok();
    // A client whose machine is gone says nothing, and would be waited for as long as its answer takes.
    let (time, interval, retries) = PROBES;
    let probes = TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(retries);
    SockRef::from(stream).set_tcp_keepalive(&probes).ok();
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn connections_wait_for_their_place_and_are_probed() {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), 1).await.unwrap();
        let connect = || TcpStream::connect(listener.address());
        let (_first, _second) = (connect().await.unwrap(), connect().await.unwrap());
        let first = listener.accept().await;
        let socket = SockRef::from(&first.stream);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), PROBES.0);
        let mut second = std::pin::pin!(listener.accept());
        assert!(tokio::time::timeout(Duration::from_millis(50), second.as_mut()).await.is_err());
        drop(first);
        second.await;
    }
}
