//! A tunnel through an HTTP proxy. hyper-util's own keeps the status of a refusal to itself, and that is what a person
//! must know.

use http::Uri;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::failure::{ConnectFailure, Failed, io_words};
use super::proxy::Proxy;

/// A proxy's answer is smaller than this.
const MAX_HEAD: usize = 16 << 10;

/// Asks for a tunnel to an address; `stream` is it when this returns.
pub(super) async fn open<S>(stream: &mut S, proxy: &Proxy, to: &Uri, port: u16) -> Result<(), ConnectFailure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let host = to.host().unwrap_or_default();
    let mut head = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if let Some(login) = &proxy.login {
        head.push_str(&format!("Proxy-Authorization: {}\r\n", login.basic()));
    }
    head.push_str("\r\n");
    let broken = |error: std::io::Error| {
        let text = format!("the proxy {proxy} ended the connection: {}", io_words(&error));
        ConnectFailure::new(Failed::Proxy, text)
    };
    stream.write_all(head.as_bytes()).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let answer = read_head(stream, proxy).await?;
    let refused = |what: String| Err(ConnectFailure::new(Failed::Proxy, format!("the proxy {proxy} {what}")));
    match status(&answer) {
        Some(200..=299) => Ok(()),
        Some(407) if proxy.login.is_some() => {
            refused("refuses the login in its address (HTTP 407)".to_owned())
        }
        Some(407) => {
            refused("asks for a login (HTTP 407); write it as http://user:password@host:port".to_owned())
        }
        Some(status @ 502..=504) => refused(format!("can't reach {host}:{port} (HTTP {status})")),
        Some(status) => refused(format!("refuses to connect to {host}:{port} (HTTP {status})")),
        None => refused("does not answer as an HTTP proxy".to_owned()),
    }
}

/// Up to the empty line, and no further: what follows is the tunnel's.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S, proxy: &Proxy) -> Result<Vec<u8>, ConnectFailure> {
    let failed = |what: &str| ConnectFailure::new(Failed::Proxy, format!("the proxy {proxy} {what}"));
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && !head.ends_with(b"\n\n") {
        if head.len() >= MAX_HEAD {
            return Err(failed("answers with too many headers"));
        }
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return Err(failed("ended the connection without an answer")),
        }
    }
    Ok(head)
}

/// The status of `HTTP/1.1 200 Connection established`.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\r' || *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/"))?;
    words.find(|word| !word.is_empty())?.parse().ok().filter(|status| (100..600).contains(status))
}
