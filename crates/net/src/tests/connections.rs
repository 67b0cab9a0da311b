//! Connections through proxies of every kind.

use std::sync::Arc;

use tokio::io::AsyncReadExt as _;
use tower::Service as _;

use super::world::{Answer, Made, acceptor, http_proxy, listen, self_signed, server, socks_proxy};
use crate::proxy::Proxy;
use crate::{ConnectFailure, Connector, Failed, Protocols, Proxies, Route, Trust};

struct World {
    made: Made,
    port: u16,
}

impl World {
    async fn new() -> Self {
        let made = self_signed(&["localhost", "127.0.0.1"], true);
        let port = server(&made).await;
        Self { made, port }
    }

    async fn hello(&self, route: Route) -> Result<String, ConnectFailure> {
        let trust = Trust::only(self.made.pem.as_bytes(), None, "the test's file".to_owned()).unwrap();
        let mut connector = Connector::new(route, trust, Protocols::Http1);
        let address = format!("https://localhost:{}/", self.port);
        let mut stream = connector.call(address.parse().unwrap()).await?.into_inner();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        Ok(text)
    }

    /// Through what `HTTPS_PROXY` says; an error with both ports blanked.
    async fn through(&self, proxy: &str) -> Result<String, String> {
        let proxies = Proxies::read(|name| (name == "HTTPS_PROXY").then(|| proxy.to_owned()));
        let answer = self.hello(Route::Environment(Arc::new(proxies))).await;
        answer.map_err(|error| {
            assert_eq!(error.kind, Failed::Proxy, "{error}");
            let port = proxy.rsplit(':').next().unwrap();
            error.to_string().replace(port, "PROXY").replace(&self.port.to_string(), "SERVER")
        })
    }
}

#[tokio::test]
async fn an_http_proxy_sees_a_tunnel_and_its_login_and_its_refusals_are_told() {
    let world = World::new().await;
    let (port, seen) = http_proxy(Answer::Tunnel, None).await;
    assert_eq!(world.through(&format!("http://user:w%40rd@127.0.0.1:{port}")).await.as_deref(), Ok("hello"));
    assert_eq!(world.through(&format!("127.0.0.1:{port}")).await.as_deref(), Ok("hello"), "without a scheme");
    let seen = seen.lock().unwrap().clone();
    let connect = format!("CONNECT localhost:{} HTTP/1.1\r\n", world.port);
    assert!(seen.iter().all(|head| head.starts_with(&connect)), "{seen:?}");
    assert!(seen[0].contains("Proxy-Authorization: Basic dXNlcjp3QHJk\r\n"), "{seen:?}");
    assert!(!seen[1].contains("Authorization"), "{seen:?}");
    let refusals = [
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "refuses to connect to localhost:SERVER (HTTP 403)"),
        ("HTTP/1.0 502 Bad\r\n\r\n", "can't reach localhost:SERVER (HTTP 502)"),
        (
            "HTTP/1.1 407 No\r\n\r\n",
            "asks for a login (HTTP 407); write it as http://user:password@host:port",
        ),
        ("SSH-2.0-x\r\n\r\n", "does not answer as an HTTP proxy"),
        ("", "ended the connection without an answer"),
        ("HTTP/1.1 200 OK\r\n", "ended the connection without an answer"),
    ];
    for (says, wanted) in refusals {
        let (port, _) = http_proxy(Answer::Say(says), None).await;
        let error = world.through(&format!("http://127.0.0.1:{port}")).await.unwrap_err();
        assert_eq!(error, format!("the proxy 127.0.0.1:PROXY (HTTPS_PROXY) {wanted}"), "{says}");
    }
    let (port, _) = http_proxy(Answer::Say("HTTP/1.1 407 No\r\n\r\n"), None).await;
    let error = world.through(&format!("http://u:hunter2@127.0.0.1:{port}")).await.unwrap_err();
    assert_eq!(error, "the proxy 127.0.0.1:PROXY (HTTPS_PROXY) refuses the login in its address (HTTP 407)");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = world.through(&format!("http://127.0.0.1:{nobody}")).await.unwrap_err();
    let wanted = "the proxy 127.0.0.1:PROXY (HTTPS_PROXY): the connection was refused: nothing listens there";
    assert_eq!(error, wanted);
}

#[tokio::test]
async fn a_proxy_that_is_spoken_to_over_tls_must_be_trusted() {
    let world = World::new().await;
    let made = self_signed(&["127.0.0.1"], false);
    let (port, seen) = http_proxy(Answer::Tunnel, Some(acceptor(&made))).await;
    let error = world.through(&format!("https://127.0.0.1:{port}")).await.unwrap_err();
    let wanted = "the certificate of the proxy 127.0.0.1:PROXY (HTTPS_PROXY) is not trusted: ";
    assert!(error.starts_with(wanted) && error.contains("this machine's certificates"), "{error}");
    assert_eq!(*seen.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_socks_proxy_is_asked_with_and_without_a_login() {
    let world = World::new().await;
    let open = socks_proxy(None, 0).await;
    assert_eq!(world.through(&format!("socks5://127.0.0.1:{open}")).await.as_deref(), Ok("hello"));
    let locked = socks_proxy(Some(("user", "word")), 0).await;
    let with = |login: &str| format!("socks5h://{login}127.0.0.1:{locked}");
    assert_eq!(world.through(&with("user:word@")).await.as_deref(), Ok("hello"));
    let start = "the proxy 127.0.0.1:PROXY (HTTPS_PROXY) ";
    let wanted = format!("{start}refuses the login in its address");
    assert_eq!(world.through(&with("user:hunter2@")).await, Err(wanted));
    let wanted = format!("{start}asks for a login; write it as socks5://user:password@host:port");
    assert_eq!(world.through(&with("")).await, Err(wanted));
    let refusing = socks_proxy(None, 2).await;
    let wanted = format!("{start}does not allow a connection to localhost:SERVER (SOCKS 2)");
    assert_eq!(world.through(&format!("socks5://127.0.0.1:{refusing}")).await, Err(wanted));
    // An HTTP proxy under the wrong scheme.
    let http = listen(|mut stream| async move {
        use tokio::io::AsyncWriteExt as _;
        let _gone = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let error = world.through(&format!("socks5://127.0.0.1:{http}")).await.unwrap_err();
    assert_eq!(error, format!("{start}does not answer as a SOCKS 5 proxy"));
}

#[tokio::test]
async fn a_kubeconfigs_proxy_counts_alone_and_a_bad_variable_is_named() {
    let world = World::new().await;
    let (port, seen) = http_proxy(Answer::Tunnel, None).await;
    let named = Proxy::read("proxy-url in edge-001.yaml", &format!("http://127.0.0.1:{port}")).ok().unwrap();
    assert_eq!(world.hello(Route::Through(named)).await.as_deref(), Ok("hello"));
    assert_eq!(seen.lock().unwrap().len(), 1);
    let error = world.through("ftp://127.0.0.1:1").await.unwrap_err();
    assert!(error.starts_with("HTTPS_PROXY names a proxy of the kind 'ftp'"), "{error}");
}

#[tokio::test]
async fn an_address_without_tls_is_connected_to_only_where_that_is_asked_for() {
    let plain = listen(|mut stream| async move {
        use tokio::io::AsyncWriteExt as _;
        let _gone = stream.write_all(b"hello").await;
    })
    .await;
    let direct = || Route::Environment(Arc::new(Proxies::read(|_| None)));
    for (allowed, address) in [(false, "http"), (true, "http"), (true, "ftp")] {
        let connector = Connector::new(direct(), Trust::system().unwrap(), Protocols::Http1And2);
        let mut connector = connector.allow_plain(allowed);
        let found = connector.call(format!("{address}://127.0.0.1:{plain}/").parse().unwrap()).await;
        assert_eq!(found.is_ok(), allowed && address == "http", "{address}");
    }
}
