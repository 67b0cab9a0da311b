//! A tunnel through a SOCKS 5 proxy (RFC 1928, RFC 1929). hyper-util's own keeps its errors to itself.

use std::net::IpAddr;

use http::Uri;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::failure::{ConnectFailure, Failed, io_words};
use super::proxy::Proxy;

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;
const CONNECT: u8 = 1;

/// Asks for a tunnel to an address; `stream` is it when this returns. The proxy looks names up, as with `socks5h`.
pub(super) async fn open<S>(stream: &mut S, proxy: &Proxy, to: &Uri, port: u16) -> Result<(), ConnectFailure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let failed = |what: String| ConnectFailure::new(Failed::Proxy, format!("the proxy {proxy} {what}"));
    let broken = |error: std::io::Error| failed(format!("ended the connection: {}", io_words(&error)));
    let no_socks = || failed("does not answer as a SOCKS 5 proxy".to_owned());

    let method = if proxy.login.is_some() { PASSWORD } else { NO_LOGIN };
    stream.write_all(&[VERSION, 1, method]).await.map_err(broken)?;
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen).await.map_err(broken)?;
    match chosen {
        [VERSION, found] if found == method => {}
        [VERSION, _] if proxy.login.is_none() => {
            return Err(failed("asks for a login; write it as socks5://user:password@host:port".to_owned()));
        }
        [VERSION, _] => return Err(failed("does not take a user and a password".to_owned())),
        _ => return Err(no_socks()),
    }
    if let Some(login) = &proxy.login {
        let mut request = vec![1];
        for text in [&login.user, &login.password] {
            let length = u8::try_from(text.len());
            request.push(length.map_err(|_| failed("has a login of more than 255 bytes".to_owned()))?);
            request.extend_from_slice(text.as_bytes());
        }
        stream.write_all(&request).await.map_err(broken)?;
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).await.map_err(broken)?;
        if answer[1] != 0 {
            return Err(failed("refuses the login in its address".to_owned()));
        }
    }

    let host = to.host().unwrap_or_default();
    let request = connect_request(host, port)
        .ok_or_else(|| failed(format!("can't be asked for {host}: the name is too long")))?;
    stream.write_all(&request).await.map_err(broken)?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.map_err(broken)?;
    let [VERSION, reply, _, kind] = answer else { return Err(no_socks()) };
    if reply != 0 {
        return Err(failed(format!("{} {host}:{port} (SOCKS {reply})", reply_words(reply))));
    }
    // The address that it uses on the other side, which nobody needs.
    let length = match kind {
        1 => 4,
        4 => 16,
        3 => usize::from(stream.read_u8().await.map_err(broken)?),
        _ => return Err(no_socks()),
    };
    let mut address = vec![0; length + 2];
    stream.read_exact(&mut address).await.map_err(broken)?;
    Ok(())
}

fn connect_request(host: &str, port: u16) -> Option<Vec<u8>> {
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let mut request = vec![VERSION, CONNECT, 0];
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(1);
            request.extend_from_slice(&address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(4);
            request.extend_from_slice(&address.octets());
        }
        Err(_) => {
            request.extend_from_slice(&[3, u8::try_from(host.len()).ok()?]);
            request.extend_from_slice(host.as_bytes());
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    Some(request)
}

fn reply_words(reply: u8) -> &'static str {
    match reply {
        2 => "does not allow a connection to",
        3 | 4 => "finds no way to",
        5 => "was refused the connection to",
        6 => "had no answer in time of",
        _ => "can't connect to",
    }
}
