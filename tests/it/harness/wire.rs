//! A wire to an API server that can be cut, or go dead: bytes pass as they are, the server's own TLS included.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{Context, ControlPlane, Result};

#[derive(Clone, Copy, PartialEq, Eq)]
struct State {
    dead: bool,
    /// Grows with each cut.
    cuts: u32,
}

/// Listens on loopback and carries connections to an API server. It belongs to the runtime that it is made on.
pub struct Wire {
    port: u16,
    server: String,
    state: watch::Sender<State>,
    connections: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Wire {
    pub async fn to(plane: &ControlPlane) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listening for the wire")?;
        let port = listener.local_addr()?.port();
        let state = watch::Sender::new(State { dead: false, cuts: 0 });
        let connections = Arc::new(AtomicUsize::new(0));
        let server = plane.url();
        let far = server.trim_start_matches("https://").to_owned();
        let (watched, count) = (state.subscribe(), Arc::clone(&connections));
        let task = tokio::spawn(async move {
            let mut carried = tokio::task::JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let (far, watched, count) = (far.clone(), watched.clone(), Arc::clone(&count));
                carried.spawn(async move {
                    count.fetch_add(1, Ordering::Relaxed);
                    carry(near, far, watched).await;
                    count.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Ok(Self { port, server, state, connections, _task: AbortOnDropHandle::new(task) })
    }

    /// The plane's kubeconfig with the wire's address.
    pub fn write_kubeconfig(&self, plane: &ControlPlane, path: &Path) -> Result<()> {
        let text = std::fs::read_to_string(plane.kubeconfig()).context("reading the kubeconfig")?;
        let text = text.replace(&self.server, &format!("https://127.0.0.1:{}", self.port));
        std::fs::write(path, text).context("writing the kubeconfig")
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// From now on nothing passes, and nobody is told: connections stay open, new ones are made.
    pub fn die(&self) {
        self.state.send_modify(|state| state.dead = true);
    }

    /// New connections pass again. Those from before are closed: the other side has forgotten them.
    pub fn revive(&self) {
        self.state.send_modify(|state| *state = State { dead: false, cuts: state.cuts + 1 });
    }

    /// Closes all connections.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }
}

async fn carry(mut near: TcpStream, far: String, mut state: watch::Receiver<State>) {
    let cuts = state.borrow().cuts;
    let _ = near.set_nodelay(true);
    let pass = async {
        if let Ok(mut far) = TcpStream::connect(far).await {
            let _ = far.set_nodelay(true);
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        }
    };
    let mut dies = state.clone();
    tokio::select! {
        biased;
        _ = state.wait_for(|now| now.cuts != cuts) => return,
        _ = dies.wait_for(|now| now.dead) => {}
        () = pass => return,
    }
    // `near` is held open.
    let _ = state.wait_for(|now| now.cuts != cuts).await;
    drop(near);
}
