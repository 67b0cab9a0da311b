//! Git's smart protocol over ssh: one channel on one connection, on which the server runs `git-upload-pack` (or
//! `git-receive-pack`) for the repository's path.
//!
//! In: a [`Way`] with a login. Out: what libgit2 reads and writes. Guarantees: nothing is sent before the host's key was
//! found pinned; no file but the configured ones is read; memory does not grow with what the server sends; what the
//! server's program says on its standard error is in the error, cleaned and cut.

use std::io::{self, Read, Write};
use std::sync::Arc;

use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream};
use russh::client::{AuthResult, Config, Handle, Handler, connect_stream};
use russh::keys::{HashAlg, PrivateKeyWithHashAlg, PublicKeyBase64 as _, PublicKeyOrCertificate};
use russh::{AlgorithmKind, MethodKind, SshId, client, kex};
use tokio::runtime::Runtime;

use super::error::{RepoError, clean};
use super::known_hosts;
use super::ssh_channel::Conversation;
use super::ssh_key::{self, Key};
use super::transport::{Cause, Clock, KEEP_ALIVE, Peer, Way, name_of, told};
use fairlead_net::Failed;

/// Who logs in, and which host keys are believed. No `Debug`: it holds a secret.
pub(super) struct Login {
    pub user: String,
    pub key: Key,
    /// The text of the file.
    pub known_hosts: String,
}

/// Unread messages of a channel that wait here; then the server must wait. A message has 32 KiB at most.
const WAITING_MESSAGES: usize = 16;
/// Bytes that the server may send before it hears that they were read.
const WINDOW: u32 = 1 << 20;

/// What speaks to the repository at the other end of `way`.
pub(super) fn subtransport(way: Way, runtime: Runtime) -> impl SmartSubtransport {
    Smart(std::sync::Mutex::new(Some((way, runtime))))
}

/// One connection's share of libgit2's work; it asks for one stream, and uses it to the end.
struct Smart(std::sync::Mutex<Option<(Way, Runtime)>>);

impl SmartSubtransport for Smart {
    fn action(&self, _: &str, service: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        let taken = super::store::lock(&self.0).take();
        let (way, runtime) = taken.ok_or_else(|| git2::Error::from_str("this connection is in use"))?;
        let cause = way.cause.clone();
        let clock = Clock::start(way.url.clone(), way.limits);
        let opened = runtime.block_on(open(&way, &clock, name_of(service)));
        let conversation = opened.map_err(|error| git2::Error::from_str(&told(&cause, error)))?;
        Ok(Box::new(Stream { conversation, way, clock, runtime }))
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

/// What libgit2 reads from and writes to.
struct Stream {
    conversation: Conversation,
    way: Way,
    clock: Clock,
    /// The last to go: the connection lives in it.
    runtime: Runtime,
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.runtime.block_on(self.conversation.read(&self.way, &self.clock, into));
        read.map_err(|error| io::Error::other(told(&self.way.cause, error)))
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.runtime.block_on(self.conversation.write(&self.way, &self.clock, bytes));
        written.map_err(|error| io::Error::other(told(&self.way.cause, error)))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Connects, logs in, and starts the program.
async fn open(way: &Way, clock: &Clock, program: &'static str) -> Result<Conversation, RepoError> {
    let Peer::Ssh(login) = &way.peer else {
        let reason = "it is not an address of ssh".to_owned();
        return Err(RepoError::UrlNotAllowed { url: way.url.to_string(), reason });
    };
    let (host, port) = (way.url.host().unwrap_or_default(), way.url.port().unwrap_or(22));
    let pinned = known_hosts::pinned_types(&login.known_hosts, host, port);
    let offered = algorithms(pinned.iter().map(String::as_str));
    let mut handle = match connect(way, clock, login, &offered).await {
        // Its keys are of other types: asks for one of those, to tell which; it is not believed either.
        Err(Refused::NoHostKey) if !offered.is_empty() => connect(way, clock, login, &[]).await,
        handle => handle,
    }
    .map_err(|refused| refused.error(way))?;
    log_in(way, clock, login, &mut handle).await?;
    let channel = clock.in_time(handle.channel_open_session()).await?.map_err(|error| failed(way, &error))?;
    let path = way.url.ssh_path().unwrap_or_default();
    let command = format!("{program} {}", quoted(&path));
    clock.in_time(channel.exec(true, command)).await?.map_err(|error| failed(way, &error))?;
    let mut conversation = Conversation::new(channel, handle, program);
    conversation.started(way, clock).await?;
    Ok(conversation)
}

/// Why there is no connection.
enum Refused {
    /// The server has no host key of a type that was offered.
    NoHostKey,
    Because(RepoError),
}

impl Refused {
    fn error(self, way: &Way) -> RepoError {
        match self {
            Self::Because(error) => error,
            Self::NoHostKey => RepoError::HostKeyMismatch {
                host: way.url.host().unwrap_or_default().to_owned(),
                reason: "it has no key of a type that is taken: ed25519, ecdsa, or rsa that signs with SHA-256 or SHA-512"
                    .to_owned(),
            },
        }
    }
}

/// TCP and the key exchange. Nothing offered: asks for any type.
async fn connect(
    way: &Way,
    clock: &Clock,
    login: &Arc<Login>,
    offered: &[russh::keys::Algorithm],
) -> Result<Handle<Client>, Refused> {
    let (host, port) = (way.url.host().unwrap_or_default(), way.url.port().unwrap_or(22));
    let dialed = clock.in_time(fairlead_net::dial(host, port, KEEP_ALIVE)).await.map_err(Refused::Because)?;
    let tcp = dialed.map_err(|failure| {
        let (url, reason) = (way.url.clone(), clean(&failure.text));
        Refused::Because(match failure.kind {
            Failed::Timeout => RepoError::Timeout { url, reason },
            _ => RepoError::Unreachable { url, reason },
        })
    })?;
    let client = Client { login: Arc::clone(login), host: host.to_owned(), port, cause: way.cause.clone() };
    let connected = clock.in_time(connect_stream(Arc::new(config(offered)), tcp, client)).await;
    connected.map_err(Refused::Because)?.map_err(|error| match error {
        russh::Error::NoCommonAlgo { kind: AlgorithmKind::Key, .. } => Refused::NoHostKey,
        error => Refused::Because(way.cause.take().unwrap_or_else(|| failed(way, &error))),
    })
}

fn config(offered: &[russh::keys::Algorithm]) -> Config {
    let mut config = Config {
        client_id: SshId::Standard(concat!("SSH-2.0-fairlead_", env!("CARGO_PKG_VERSION")).into()),
        window_size: WINDOW,
        channel_buffer_size: WAITING_MESSAGES,
        ..Config::default()
    };
    let all = algorithms(known_hosts::TYPES.iter().copied());
    config.preferred.key = if offered.is_empty() { all } else { offered.to_vec() }.into();
    // Servers that know no newer ones are still many; they are as strong as the first ones.
    let nist = [kex::ECDH_SHA2_NISTP256, kex::ECDH_SHA2_NISTP384, kex::ECDH_SHA2_NISTP521];
    config.preferred.kex = config.preferred.kex.iter().copied().chain(nist).collect();
    config
}

/// What the server may sign with, by the types of the keys. RSA never with SHA-1.
fn algorithms<'t>(types: impl Iterator<Item = &'t str>) -> Vec<russh::keys::Algorithm> {
    let names = types.flat_map(|name| match name {
        "ssh-rsa" => &["rsa-sha2-512", "rsa-sha2-256"][..],
        "ssh-ed25519" => &["ssh-ed25519"],
        "ecdsa-sha2-nistp256" => &["ecdsa-sha2-nistp256"],
        "ecdsa-sha2-nistp384" => &["ecdsa-sha2-nistp384"],
        "ecdsa-sha2-nistp521" => &["ecdsa-sha2-nistp521"],
        _ => &[],
    });
    names.filter_map(|name| name.parse().ok()).collect()
}

/// What the connection asks of us.
pub(super) struct Client {
    login: Arc<Login>,
    host: String,
    port: u16,
    cause: Cause,
}

impl Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        // No certificate was asked for.
        let key = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.public_key_bytes(),
            PublicKeyOrCertificate::Certificate(_) => Vec::new(),
        };
        let problem = known_hosts::problem(&self.login.known_hosts, &self.host, self.port, &key);
        let Some(reason) = problem else { return Ok(true) };
        self.cause.set(RepoError::HostKeyMismatch { host: self.host.clone(), reason });
        Ok(false)
    }

    async fn disconnected(
        &mut self,
        reason: client::DisconnectReason<russh::Error>,
    ) -> Result<(), russh::Error> {
        match reason {
            client::DisconnectReason::ReceivedDisconnect(_) => Ok(()),
            client::DisconnectReason::Error(error) => Err(error),
        }
    }
}

async fn log_in(
    way: &Way,
    clock: &Clock,
    login: &Login,
    handle: &mut Handle<Client>,
) -> Result<(), RepoError> {
    let refused = |why: &str| {
        let refused = format!("{}{why}", way.used);
        RepoError::AuthenticationFailed { url: way.url.clone(), refused }
    };
    let (user, key) = (&login.user, &login.key);
    let result = match &key.rsa {
        None => {
            let key = PrivateKeyWithHashAlg::new(Arc::clone(&key.key), None);
            let answer = clock.in_time(handle.authenticate_publickey(user, key)).await?;
            answer.map_err(|error| failed(way, &error))?
        }
        Some(rsa) => {
            let best = clock.in_time(handle.best_supported_rsa_hash()).await?;
            // What a server announces may be more than its settings allow.
            let hashes: &[HashAlg] = match best.map_err(|error| failed(way, &error))? {
                Some(Some(HashAlg::Sha256)) => &[HashAlg::Sha256],
                _ => &[HashAlg::Sha512, HashAlg::Sha256],
            };
            let mut result = None;
            for hash in hashes {
                let (public, mut signer) = (key.key.public_key().clone(), ssh_key::Login(rsa));
                let answer =
                    clock.in_time(handle.authenticate_publickey_with(user, public, Some(*hash), &mut signer));
                let answer = answer.await?.map_err(|_| failed(way, &russh::Error::Disconnect))?;
                let success = answer.success();
                result = Some(answer);
                if success || handle.is_closed() {
                    break;
                }
            }
            result.ok_or_else(|| refused(""))?
        }
    };
    match result {
        AuthResult::Success => Ok(()),
        _ if handle.is_closed() => Err(refused(", and closed the connection")),
        AuthResult::Failure { partial_success: true, .. } => {
            Err(refused(": it wants a second proof besides"))
        }
        AuthResult::Failure { remaining_methods, .. } => {
            let keys = remaining_methods.contains(&MethodKind::PublicKey) || remaining_methods.is_empty();
            Err(refused(match &key.rsa {
                _ if !keys => ": it takes no keys at all for that user",
                Some(_) => "; signed with SHA-512 and SHA-256, never with SHA-1",
                None => "",
            }))
        }
    }
}

/// What an error of the connection means. None of the library's own words.
pub(super) fn failed(way: &Way, error: &russh::Error) -> RepoError {
    use russh::Error as Ssh;
    let url = way.url.clone();
    let reason = match error {
        Ssh::IO(error) => clean(&fairlead_net::explain(error).text),
        Ssh::NoCommonAlgo { kind, theirs, .. } => {
            let what = match kind {
                AlgorithmKind::Kex => "key exchange",
                AlgorithmKind::Key => "type of host key",
                AlgorithmKind::Cipher => "cipher",
                AlgorithmKind::Compression => "compression",
                AlgorithmKind::Mac => "MAC",
            };
            clean(&format!("it has no {what} in common with Fairlead; it offers {}", theirs.join(", ")))
        }
        Ssh::Version => "it does not speak SSH 2; is the port right?".to_owned(),
        Ssh::Disconnect | Ssh::HUP | Ssh::SendError | Ssh::RecvError | Ssh::Join(_) => {
            "the connection was closed".to_owned()
        }
        Ssh::ChannelOpenFailure(_) => "it opens no session on the connection".to_owned(),
        Ssh::WrongServerSig | Ssh::Signature(_) => "it does not have the host key that it shows".to_owned(),
        _ => "it does not keep to the SSH protocol".to_owned(),
    };
    RepoError::Unreachable { url, reason }
}

/// As one word of a shell, the way Git does it: also for servers whose shell knows history.
fn quoted(path: &str) -> String {
    format!("'{}'", path.replace('\'', "'\\''").replace('!', "'\\!'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word() {
        for (path, word) in [
            ("/srv/fleet.git", "'/srv/fleet.git'"),
            ("it's", "'it'\\''s'"),
            ("a b; rm -rf $HOME", "'a b; rm -rf $HOME'"),
            ("wow!", "'wow'\\!''"),
        ] {
            assert_eq!(quoted(path), word);
        }
    }

    #[test]
    fn rsa_is_never_asked_for_with_sha_1() {
        let names = |types: &[&str]| -> Vec<_> {
            algorithms(types.iter().copied()).iter().map(|a| a.as_str().to_owned()).collect()
        };
        assert_eq!(names(&["ssh-rsa"]), ["rsa-sha2-512", "rsa-sha2-256"]);
        assert_eq!(names(&["ssh-dss", "sk-ssh-ed25519@openssh.com"]), [""; 0]);
        assert_eq!(names(known_hosts::TYPES).len(), 6);
        assert!(config(&[]).preferred.key.iter().all(|name| name.as_str() != "ssh-rsa"));
    }
}
