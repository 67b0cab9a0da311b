//! Servers and proxies on loopback.

use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A certificate, its key, and what was signed by it if it is an authority's.
pub struct Made {
    pub pem: String,
    pub key: KeyPair,
}

pub fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, "a server of Fairlead's tests");
    params
}

/// As `openssl req -x509` makes it where `ca` is true.
pub fn self_signed(names: &[&str], ca: bool) -> Made {
    let mut params = params(names);
    if ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Made { pem, key }
}

/// An authority's certificate, and a server's that it signed.
pub fn signed(params: CertificateParams) -> (String, Made) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "an authority");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let pem = params.signed_by(&key, &authority).unwrap().pem();
    (authority.pem(), Made { pem, key })
}

pub fn for_clients(mut params: CertificateParams) -> CertificateParams {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

pub fn acceptor(made: &Made) -> TlsAcceptor {
    use rustls::pki_types::pem::PemObject as _;
    let chain =
        rustls::pki_types::CertificateDer::pem_slice_iter(made.pem.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Takes connections on a port until the test ends; what is done with each is the caller's.
pub async fn listen<F: Future<Output = ()> + Send + 'static>(
    each: impl Fn(TcpStream) -> F + Send + 'static,
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(each(stream));
        }
    });
    port
}

/// A TLS server that says "hello" to whoever comes.
pub async fn server(made: &Made) -> u16 {
    let acceptor = acceptor(made);
    listen(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _gone = stream.write_all(b"hello").await;
                let _gone = stream.shutdown().await;
            }
        }
    })
    .await
}

/// How an HTTP proxy answers.
#[derive(Clone)]
pub enum Answer {
    Tunnel,
    Say(&'static str),
}

/// An HTTP proxy that notes what it was asked, over TLS if `tls` says so.
pub async fn http_proxy(answer: Answer, tls: Option<TlsAcceptor>) -> (u16, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let port = listen(move |stream| {
        let (answer, noted, tls) = (answer.clone(), Arc::clone(&noted), tls.clone());
        async move {
            match tls {
                None => proxied(stream, answer, noted).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        proxied(stream, answer, noted).await;
                    }
                }
            }
        }
    })
    .await;
    (port, seen)
}

async fn proxied<S>(mut near: S, answer: Answer, noted: Arc<Mutex<Vec<String>>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match near.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let to = head.split(' ').nth(1).unwrap().to_owned();
    noted.lock().unwrap().push(head);
    match answer {
        Answer::Say(text) => {
            let _gone = near.write_all(text.as_bytes()).await;
        }
        Answer::Tunnel => {
            let mut far = TcpStream::connect(to).await.unwrap();
            near.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await.unwrap();
            let _gone = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        }
    }
}

/// A SOCKS 5 proxy. `login`: what it asks for; `reply`: what it says to the wish to connect.
pub async fn socks_proxy(login: Option<(&'static str, &'static str)>, reply: u8) -> u16 {
    listen(move |mut near| async move {
        let mut two = [0; 2];
        near.read_exact(&mut two).await.unwrap();
        let mut methods = vec![0; usize::from(two[1])];
        near.read_exact(&mut methods).await.unwrap();
        let wanted = if login.is_some() { 2 } else { 0 };
        if !methods.contains(&wanted) {
            let _gone = near.write_all(&[5, 0xff]).await;
            return;
        }
        near.write_all(&[5, wanted]).await.unwrap();
        if let Some((user, password)) = login {
            let (mut found, _) = (Vec::new(), near.read_u8().await.unwrap());
            for _ in 0..2 {
                let mut text = vec![0; usize::from(near.read_u8().await.unwrap())];
                near.read_exact(&mut text).await.unwrap();
                found.push(String::from_utf8(text).unwrap());
            }
            let good = found == [user, password];
            near.write_all(&[1, u8::from(!good)]).await.unwrap();
            if !good {
                return;
            }
        }
        let mut four = [0; 4];
        near.read_exact(&mut four).await.unwrap();
        let host = match four[3] {
            1 => std::net::Ipv4Addr::from(near.read_u32().await.unwrap()).to_string(),
            3 => {
                let mut text = vec![0; usize::from(near.read_u8().await.unwrap())];
                near.read_exact(&mut text).await.unwrap();
                String::from_utf8(text).unwrap()
            }
            other => panic!("kind {other}"),
        };
        let port = near.read_u16().await.unwrap();
        near.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        if reply == 0 {
            let mut far = TcpStream::connect((host, port)).await.unwrap();
            let _gone = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        }
    })
    .await
}
