//! Which server certificates are taken, and the words for those that are not.

use rcgen::KeyPair;
use tokio::io::AsyncReadExt as _;
use tower::Service as _;

use super::world::{Made, for_clients, params, self_signed, server, signed};
use crate::{ConnectFailure, Connector, Failed, Identity, Protocols, Route, Trust, decode_base64};

/// Connects to `https://<host>:<port>` and reads what the server says.
async fn hello(trust: Trust, host: &str, port: u16) -> Result<String, ConnectFailure> {
    let direct = Route::Environment(std::sync::Arc::new(crate::Proxies::read(|_| None)));
    let mut connector = Connector::new(direct, trust, Protocols::Http1);
    let mut stream = connector.call(format!("https://{host}:{port}/").parse().unwrap()).await?.into_inner();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    Ok(text)
}

fn pinned(pem: &str) -> Trust {
    Trust::only(pem.as_bytes(), None, "the test's file".to_owned()).unwrap()
}

async fn verdict(made: &Made, trusted: &str, host: &str) -> Result<String, String> {
    let port = server(made).await;
    hello(pinned(trusted), host, port).await.map_err(|error| {
        assert_eq!(error.kind, Failed::Certificate, "{error}");
        error.to_string().replace(&port.to_string(), "PORT")
    })
}

#[tokio::test]
async fn what_is_signed_and_what_is_pinned_itself_is_taken() {
    let names = &["localhost", "127.0.0.1"][..];
    let (authority, leaf) = signed(params(names));
    assert_eq!(verdict(&leaf, &authority, "127.0.0.1").await.as_deref(), Ok("hello"));
    assert_eq!(verdict(&leaf, &authority, "localhost").await.as_deref(), Ok("hello"));
    // The server's own certificate instead of its authority's (kube-rs/kube#1767).
    assert_eq!(verdict(&leaf, &leaf.pem, "127.0.0.1").await.as_deref(), Ok("hello"));
    // As `openssl req -x509` makes it, and without the mark of an authority.
    for ca in [true, false] {
        let own = self_signed(names, ca);
        assert_eq!(verdict(&own, &own.pem, "localhost").await.as_deref(), Ok("hello"), "{ca}");
        // Of several, with text between them, as Windows writes lines.
        let many = format!("# ours\n{authority}\nsubject=CN = x\n{}", own.pem).replace('\n', "\r\n");
        assert_eq!(verdict(&own, &many, "localhost").await.as_deref(), Ok("hello"), "{ca}");
        let indented = own.pem.replace('\n', "\n    ");
        assert_eq!(verdict(&own, &indented, "localhost").await.as_deref(), Ok("hello"), "{ca}");
        // One that can't be read among others is passed over, as Go does.
        let broken = format!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{}", own.pem);
        assert_eq!(verdict(&own, &broken, "localhost").await.as_deref(), Ok("hello"), "{ca}");
    }
}

#[tokio::test]
async fn what_is_not_taken_is_told_in_words() {
    let names = &["127.0.0.1"][..];
    let (authority, leaf) = signed(params(names));
    let start = "the certificate of 127.0.0.1:PORT is not trusted: ";
    let unknown = "it is not signed by an authority of the test's file, and not pinned there itself";
    let own = self_signed(names, true);
    assert_eq!(verdict(&leaf, &own.pem, "127.0.0.1").await, Err(format!("{start}{unknown}")));
    let again = self_signed(names, false);
    let other = self_signed(names, false);
    let error = verdict(&again, &other.pem, "127.0.0.1").await.unwrap_err();
    assert!(error.starts_with(start) && error.contains("an authority of the test's file"), "{error}");
    let authoritys = verdict(&own, &authority, "127.0.0.1").await.unwrap_err();
    let wanted = "it is an authority's own, which is accepted only where it is pinned; the test's file does not have it";
    assert_eq!(authoritys, format!("{start}{wanted}"));

    // A pinned certificate is good for its own names, dates and purpose only.
    let elsewhere = self_signed(&["git.example.com", "10.0.0.1"], true);
    assert_eq!(
        verdict(&elsewhere, &elsewhere.pem, "127.0.0.1").await,
        Err(format!("{start}it is for git.example.com, 10.0.0.1, not for 127.0.0.1"))
    );
    let nameless = self_signed(&[], true);
    assert_eq!(
        verdict(&nameless, &nameless.pem, "127.0.0.1").await,
        Err(format!("{start}it names no host (subjectAltName), so it is not for 127.0.0.1"))
    );
    let mut expired = params(names);
    (expired.not_before, expired.not_after) =
        (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
    let (of_expired, expired) = signed(expired);
    for trusted in [&of_expired, &expired.pem] {
        assert_eq!(
            verdict(&expired, trusted, "127.0.0.1").await,
            Err(format!("{start}it expired at 2021-01-01T00:00:00Z"))
        );
    }
    let mut early = params(names);
    early.not_before = rcgen::date_time_ymd(2090, 1, 1);
    let (of_early, early) = signed(early);
    let error = verdict(&early, &of_early, "127.0.0.1").await.unwrap_err();
    assert_eq!(
        error,
        format!("{start}it is not valid before 2090-01-01T00:00:00Z; is this machine's clock right?")
    );
    let (of_client, client) = signed(for_clients(params(names)));
    for trusted in [&of_client, &client.pem] {
        assert_eq!(
            verdict(&client, trusted, "127.0.0.1").await,
            Err(format!("{start}it is not for servers (extended key usage)"))
        );
    }
}

#[tokio::test]
async fn what_is_no_tls_and_what_is_not_there_is_told_in_words() {
    let own = self_signed(&["127.0.0.1"], true);
    let plain = super::world::listen(|mut stream| async move {
        use tokio::io::AsyncWriteExt as _;
        let _gone = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let error = hello(pinned(&own.pem), "127.0.0.1", plain).await.unwrap_err();
    assert_eq!(
        (error.kind, error.to_string()),
        (Failed::Tls, format!("127.0.0.1:{plain} does not speak TLS; is the port right, and is it https?"))
    );
    let closing = super::world::listen(|stream| async move { drop(stream) }).await;
    let error = hello(pinned(&own.pem), "127.0.0.1", closing).await.unwrap_err();
    assert_eq!(error.kind, Failed::Tls, "{error}");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = hello(pinned(&own.pem), "127.0.0.1", nobody).await.unwrap_err();
    let wanted = format!("127.0.0.1:{nobody}: the connection was refused: nothing listens there");
    assert_eq!((error.kind, error.to_string()), (Failed::Unreachable, wanted));
    let error = hello(pinned(&own.pem), "no-such-host.invalid", 443).await.unwrap_err();
    assert_eq!(error.to_string(), "no-such-host.invalid:443: there is no host of that name");
}

#[test]
fn files_that_hold_no_certificate_say_what_they_hold() {
    let key = KeyPair::generate().unwrap().serialize_pem();
    let cases = [
        ("", "it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"),
        ("hello", "it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"),
        (key.as_str(), "it holds a key and no certificate"),
        (
            "-----BEGIN CERTIFICATE-----\n%%\n-----END CERTIFICATE-----\n",
            "the certificate in it can't be read",
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "none of the certificates in it can be read",
        ),
    ];
    for (text, wanted) in cases {
        let error = Trust::only(text.as_bytes(), None, String::new()).err().unwrap();
        assert_eq!(error.to_string(), wanted, "{text}");
    }
}

/// Keys as openssl writes them: the same kinds that Go reads.
#[test]
fn every_form_of_key_is_read_and_what_is_none_is_told_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let openssl = |args: &str| {
        let mut command = std::process::Command::new("openssl");
        let output = command.args(args.split(' ')).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let forms = [
        ("genrsa -out key 2048", "rsa -in key -traditional -out form"),
        ("genrsa -out key 2048", "pkcs8 -topk8 -nocrypt -in key -out form"),
        ("ecparam -name prime256v1 -genkey -out key", "ec -in key -out form"),
        // With its parameters before it.
        ("ecparam -name secp384r1 -genkey -out key", "ecparam -name secp384r1 -genkey -out unused"),
        ("ecparam -name prime256v1 -genkey -out key", "pkcs8 -topk8 -nocrypt -in key -out form"),
        ("genpkey -algorithm ed25519 -out key", "pkey -in key -out form"),
    ];
    for (make, convert) in forms {
        let _none = std::fs::remove_file(folder.path().join("form"));
        openssl(make);
        openssl(convert);
        if !folder.path().join("form").exists() {
            std::fs::copy(folder.path().join("key"), folder.path().join("form")).unwrap();
        }
        openssl("req -x509 -key key -subj /CN=client -days 2 -out certificate");
        let (certificate, key) = (read("certificate"), read("form"));
        let identity =
            Identity::read(&certificate, &key).unwrap_or_else(|(_, error)| panic!("{make}: {error}"));
        assert!(Trust::system_as(Some(identity)).is_ok(), "{make}: {convert}");
        // Both in one text, in either order.
        for both in [[&*certificate, &*key].concat(), [&*key, &*certificate].concat()] {
            assert!(Identity::read(&both, &both).is_ok(), "{make}");
        }
    }
    let certificate = read("certificate");
    openssl("genrsa -out other 2048");
    let other = Identity::read(&certificate, &read("other")).ok().unwrap();
    let error = Trust::system_as(Some(other)).err().unwrap().to_string();
    assert_eq!(error, "the key is not that of the certificate");
    openssl("genrsa -aes256 -passout pass:x -traditional -out old 2048");
    openssl("genpkey -algorithm rsa -aes256 -pass pass:x -out new");
    for locked in ["old", "new"] {
        let (of_key, error) = Identity::read(&certificate, &read(locked)).err().unwrap();
        assert!(of_key && error.to_string().starts_with("the key is encrypted with a passphrase"), "{error}");
    }
    openssl("ecparam -name secp521r1 -genkey -noout -out large");
    openssl("req -x509 -key large -subj /CN=client -days 2 -out certificate");
    let large = Identity::read(&read("certificate"), &read("large")).ok().unwrap();
    let error = Trust::system_as(Some(large)).err().unwrap().to_string();
    assert!(error.starts_with("the key is of a kind that is not supported; RSA"), "{error}");
}

#[test]
fn base64_is_taken_as_go_takes_it() {
    for good in ["aGVsbG8=", "aGVs\nbG8=", "aGVs\r\nbG8=\r\n", "  aGVs\n  bG8=\n", "aGVsbG9=", ""] {
        let found = decode_base64(good).unwrap_or_else(|error| panic!("{good:?}: {error}"));
        assert!(found == b"hello" || good.is_empty(), "{good:?}");
    }
    let cases = [
        ("aGVsbG8", "it is not base64: its end is missing"),
        ("aGVsbG8*", "it is not base64: it holds a character that base64 has not"),
        ("-_8=", "it is not base64: it is the URL's kind of base64, with '-' and '_' instead of '+' and '/'"),
        (
            "-----BEGIN CERTIFICATE-----",
            "it is not base64: it is PEM itself; encode it once more (base64 -w0 FILE)",
        ),
    ];
    for (bad, wanted) in cases {
        assert_eq!(decode_base64(bad).unwrap_err().to_string(), wanted, "{bad}");
    }
}
