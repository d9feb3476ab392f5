//! A network in between that loses what is to be lost.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of what the server says. What the client says always arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// It arrives.
    Works,
    /// It is lost, and with it all that comes later on the same connection.
    LosesAnswers,
    /// Some of it is lost, and the rest is not: no real network does that to a connection, but a peer may.
    LosesSome,
    /// All connections are broken, and none is accepted.
    Down,
}

/// Forwards connections to a server.
pub struct Proxy {
    address: SocketAddr,
    network: watch::Sender<Network>,
    /// What the server said while some of it was lost.
    lost: watch::Receiver<Vec<u8>>,
}

impl Proxy {
    pub async fn start(server: &str) -> Self {
        let server = server.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (network, seen) = watch::channel(Network::Works);
        let (losing, lost) = watch::channel(Vec::new());
        tokio::spawn(async move {
            let mut last = seen.clone();
            let mut gone = std::pin::pin!(async { drop(last.wait_for(|_| false).await) }); // when the proxy is dropped
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = &mut gone => return,
                };
                let Ok((client, _)) = accepted else { return };
                if *seen.borrow() != Network::Down
                    && let Ok(server) = TcpStream::connect(&server).await
                {
                    tokio::spawn(forward(client, server, seen.clone(), losing.clone()));
                }
            }
        });
        Self { address, network, lost }
    }

    /// Completes when something with this text in it was lost ([`Network::LosesSome`]).
    pub async fn has_lost(&self, text: &str) {
        let found = |lost: &Vec<u8>| lost.windows(text.len()).any(|bytes| bytes == text.as_bytes());
        self.lost.clone().wait_for(found).await.expect("the proxy is there");
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

async fn forward(
    client: TcpStream,
    server: TcpStream,
    mut network: watch::Receiver<Network>,
    lost: watch::Sender<Vec<u8>>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let seen = network.clone();
    let asks = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
    let answers = async {
        let (mut bytes, mut silent) = ([0; 16 << 10], false);
        loop {
            let read = from_server.read(&mut bytes).await?;
            if read == 0 {
                return Ok(());
            }
            let network = *seen.borrow();
            silent |= network == Network::LosesAnswers;
            if network == Network::Works && !silent {
                to_client.write_all(&bytes[..read]).await?;
            } else if network == Network::LosesSome {
                lost.send_modify(|lost| lost.extend_from_slice(&bytes[..read]));
            }
        }
    };
    tokio::select! {
        _ = asks => {}
        _ = async { answers.await as std::io::Result<()> } => {}
        _ = network.wait_for(|network| *network == Network::Down) => {}
    }
}
