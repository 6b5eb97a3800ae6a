//! A door between a node and its database that loses answers, or shuts.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// One read of either side.
const CHUNK_BYTES: usize = 16 * 1024;

/// The door.
pub(crate) struct Gate {
    pub(crate) port: u16,
    state: Arc<State>,
    /// Grows with every cut: who sees it grow lets go of its connection.
    cuts: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    shut: AtomicBool,
    /// Answers until the one that is lost, with its connection. Zero or less: none.
    lose_in: AtomicI64,
    lost: AtomicU64,
}

impl Gate {
    /// A door to `server`.
    pub(crate) async fn before(server: &str) -> Gate {
        Gate::at(IpAddr::V4(Ipv4Addr::LOCALHOST), server).await
    }

    /// The same at another address.
    pub(crate) async fn at(address: IpAddr, server: &str) -> Gate {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, (cuts, cut)) = (Arc::new(State::default()), watch::channel(0));
        let (shared, server) = (Arc::clone(&state), server.to_owned());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if shared.shut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                tokio::spawn(pass(client, server, Arc::clone(&shared), cut.clone()));
            }
        });
        Gate { port, state, cuts }
    }

    /// The `n`-th answer from now is lost: what was asked has happened.
    pub(crate) fn lose(&self, n: i64) {
        self.state.lose_in.store(n, Ordering::SeqCst);
    }

    /// How many answers were lost so far.
    pub(crate) fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::SeqCst)
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Cuts every connection and lets no new one through.
    pub(crate) fn shut(&self) {
        self.state.shut.store(true, Ordering::SeqCst);
        self.cut();
    }

    pub(crate) fn open(&self) {
        self.state.shut.store(false, Ordering::SeqCst);
    }
}

async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    state: Arc<State>,
    mut cut: watch::Receiver<u64>,
) {
    cut.mark_unchanged();
    let (mut asked, mut answered) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    loop {
        tokio::select! {
            _ = cut.changed() => return,
            read = client.read(&mut asked) => match read {
                Ok(count) if count > 0 => {
                    if server.write_all(&asked[..count]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
            read = server.read(&mut answered) => match read {
                Ok(count) if count > 0 => {
                    if state.lose_in.fetch_sub(1, Ordering::SeqCst) == 1 {
                        state.lost.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                    if client.write_all(&answered[..count]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}
