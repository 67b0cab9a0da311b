//! From a kubeconfig file to what a connection needs, by an allow-list. What kubectl takes is taken.

use std::path::{Path, PathBuf};

use http::Uri;
use kube::client::ConfigExt as _;
use kube::config::{AuthInfo, Cluster, Context, Kubeconfig, KubeconfigError};
use rustls::pki_types::ServerName;
use secrecy::ExposeSecret as _;
use tracing::warn;

use fairlead_net::{ConnectFailure, Identity, Proxy, Route, Trust, TrustError, decode_base64};
use fairlead_private::{self as private, Holds};

/// Largest kubeconfig that is read, and largest file that one names.
const MAX_KUBECONFIG: u64 = 1 << 20;

/// Why there is no connection to a target.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("no cluster source knows the target {target}{}", also(.passed_over))]
    UnknownTarget {
        target: fairlead_core::model::name::TargetName,
        /// Files that look as if they were meant for it.
        passed_over: Vec<PathBuf>,
    },
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "{path}: the field '{field}' is not allowed in a kubeconfig; embed certificates and tokens, or set \
         'trusted: true' on its folder in the settings"
    )]
    KubeconfigRejected { path: PathBuf, field: &'static str },
    /// `what` is a whole sentence's rest, without a value of the file.
    #[error("{path}: {what}")]
    KubeconfigInvalid { path: PathBuf, what: String },
    #[error(transparent)]
    Proxy(#[from] ConnectFailure),
}

fn also(passed_over: &[PathBuf]) -> String {
    if passed_over.is_empty() {
        return String::new();
    }
    let names: Vec<_> = passed_over.iter().map(|path| path.display().to_string()).collect();
    format!("; {} is passed over: a kubeconfig is named <target>.yaml", names.join(", "))
}

/// What a connection to a cluster needs.
pub(super) struct Access {
    /// The address, the namespace, and who asks.
    pub config: kube::Config,
    pub trust: Trust,
    pub server_name: Option<ServerName<'static>>,
    pub route: Route,
}

/// Reads a kubeconfig. Without `trusted`, what runs programs, reads further files or weakens TLS is refused.
pub(super) async fn read_kubeconfig(path: &Path, trusted: bool) -> Result<Access, ConnectError> {
    let read = |source| ConnectError::Read { path: path.to_owned(), source };
    let file = path.to_owned();
    let bytes =
        tokio::task::spawn_blocking(move || private::read(&file, Holds::Secret, MAX_KUBECONFIG)).await;
    let bytes = bytes.map_err(|_| read(std::io::ErrorKind::Interrupted.into()))?.map_err(read)?;
    let reader = Reader { path, trusted };
    reader.access(&bytes)
}

/// Reads one file. Its errors name the file and the field, and show no value.
struct Reader<'p> {
    path: &'p Path,
    trusted: bool,
}

impl Reader<'_> {
    fn invalid(&self, what: impl Into<String>) -> ConnectError {
        ConnectError::KubeconfigInvalid { path: self.path.to_owned(), what: what.into() }
    }

    fn access(&self, bytes: &[u8]) -> Result<Access, ConnectError> {
        let text = decode(bytes).ok_or_else(|| self.invalid("it is not text in UTF-8 or UTF-16"))?;
        let mut kubeconfig =
            Kubeconfig::from_yaml(&text).map_err(|error| self.invalid(unreadable(&error)))?;
        without_empty_fields(&mut kubeconfig);
        let rejected = if self.trusted { None } else { forbidden(&kubeconfig) };
        if let Some(field) = rejected.or_else(|| never(&kubeconfig)) {
            return Err(ConnectError::KubeconfigRejected { path: self.path.to_owned(), field });
        }
        if self.trusted {
            resolve_paths(&mut kubeconfig, self.path.parent().unwrap_or(Path::new("")));
        }
        let (context, cluster, user) = self.choose(&kubeconfig)?;
        let mut config = kube::Config::new(self.address(&cluster)?);
        config.default_namespace = context.namespace.clone().unwrap_or_else(|| "default".to_owned());
        config.auth_info = self.user(user)?;
        let trust = self.trust(&cluster, &config)?;
        let server_name = match &cluster.tls_server_name {
            Some(name) => Some(ServerName::try_from(name.clone()).map_err(|_| {
                self.invalid("tls-server-name: it is neither a host's name nor an IP address")
            })?),
            None => None,
        };
        let route = match &cluster.proxy_url {
            Some(proxy) => {
                Route::Through(Proxy::read(&format!("proxy-url in {}", self.path.display()), proxy)?)
            }
            None => Route::of_process(),
        };
        Ok(Access { config, trust, server_name, route })
    }

    /// Context, cluster and user that count, as kubectl chooses them.
    fn choose(&self, kubeconfig: &Kubeconfig) -> Result<(Context, Cluster, AuthInfo), ConnectError> {
        let names = |names: Vec<&str>| match names.is_empty() {
            true => "none".to_owned(),
            false => names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", "),
        };
        let contexts = || names(kubeconfig.contexts.iter().map(|named| &*named.name).collect());
        let Some(chosen) = &kubeconfig.current_context else {
            let text = format!("current-context is missing; the file has the contexts {}", contexts());
            return Err(self.invalid(text));
        };
        let context = kubeconfig.contexts.iter().find(|named| named.name == *chosen);
        let Some(context) = context.and_then(|named| named.context.clone()) else {
            let text =
                format!("current-context: there is no context '{chosen}'; the file has {}", contexts());
            return Err(self.invalid(text));
        };
        let cluster = kubeconfig.clusters.iter().find(|named| named.name == context.cluster);
        let Some(cluster) = cluster.and_then(|named| named.cluster.clone()) else {
            let found = names(kubeconfig.clusters.iter().map(|named| &*named.name).collect());
            let text = format!(
                "the context '{chosen}' is for the cluster '{}', which is not in the file; it has {found}",
                context.cluster
            );
            return Err(self.invalid(text));
        };
        let wanted = context.user.as_deref().filter(|name| !name.is_empty());
        let named = kubeconfig.auth_infos.iter().find(|named| Some(&*named.name) == wanted);
        if let (Some(name), None) = (wanted, named) {
            // As kubectl does, which then asks without a credential.
            warn!(file = %self.path.display(), "the context's user '{name}' is not in the file: requests carry no credential");
        }
        let user = named.and_then(|named| named.auth_info.clone()).unwrap_or_default();
        Ok((context, cluster, user))
    }

    fn address(&self, cluster: &Cluster) -> Result<Uri, ConnectError> {
        let Some(server) = &cluster.server else {
            return Err(self.invalid("server is missing: the cluster's address, https://host:port"));
        };
        let address = match server.split_once("://") {
            Some((scheme, rest)) => format!("{}://{rest}", scheme.to_ascii_lowercase()),
            None => format!("https://{server}"),
        };
        let address = address.parse::<Uri>().ok().filter(|address| {
            matches!(address.scheme_str(), Some("https" | "http"))
                && address.host().is_some_and(|h| !h.is_empty())
        });
        address.ok_or_else(|| self.invalid("server: it is not an address (https://host:port)"))
    }

    /// Without what could not stand in a header.
    fn user(&self, mut user: AuthInfo) -> Result<AuthInfo, ConnectError> {
        if user.token_file.is_some() {
            // As in kubectl: what is in the file is newer.
            user.token = None;
        }
        let Some(token) = &user.token else { return Ok(user) };
        let token = token.expose_secret().trim().to_owned();
        if token.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(self.invalid("token: it holds white space or control characters"));
        }
        user.token = (!token.is_empty()).then(|| token.into());
        Ok(user)
    }

    fn trust(&self, cluster: &Cluster, config: &kube::Config) -> Result<Trust, ConnectError> {
        let field = |field: &'static str| move |error: TrustError| self.invalid(format!("{field}: {error}"));
        let user = &config.auth_info;
        let identity = self.identity(user)?;
        let of_client = field("client-certificate, client-key");
        let (data, file) = (&cluster.certificate_authority_data, &cluster.certificate_authority);
        let trust = if cluster.insecure_skip_tls_verify == Some(true) {
            if data.is_some() || file.is_some() {
                return Err(self.invalid(
                    "insecure-skip-tls-verify: it can't be used together with certificate-authority or \
                     certificate-authority-data",
                ));
            }
            Trust::anybody(identity).map_err(of_client)?
        } else {
            let name = if data.is_some() { "certificate-authority-data" } else { "certificate-authority" };
            match self.bytes(name, data.as_deref(), file.as_deref())? {
                None => Trust::system_as(identity).map_err(of_client)?,
                Some(pem) => {
                    let described = format!("{name} in {}", self.path.display());
                    // What is wrong with the authority is told from what is wrong with the client.
                    Trust::only(&pem, None, described.clone()).map_err(field(name))?;
                    Trust::only(&pem, identity, described).map_err(of_client)?
                }
            }
        };
        if user.exec.is_none() {
            return Ok(trust);
        }
        // A program's answer may hold a certificate, which only kube reads.
        let mut asked = config.clone();
        asked.accept_invalid_certs = true;
        let asked = asked.rustls_client_config();
        let asked = asked.map_err(|error| self.invalid(format!("exec: {}", super::text::chain(&error))))?;
        Ok(trust.identified_by(&asked))
    }

    fn identity(&self, user: &AuthInfo) -> Result<Option<Identity>, ConnectError> {
        let key = user.client_key_data.as_ref().map(|key| key.expose_secret());
        let (certificate_file, key_file) = (user.client_certificate.as_deref(), user.client_key.as_deref());
        let data = user.client_certificate_data.as_deref();
        let certificate_field = if data.is_some() { "client-certificate-data" } else { "client-certificate" };
        let key_field = if key.is_some() { "client-key-data" } else { "client-key" };
        let certificate = self.bytes(certificate_field, data, certificate_file)?;
        let key = self.bytes(key_field, key, key_file)?;
        match (certificate, key) {
            (None, None) => Ok(None),
            (Some(_), None) => {
                Err(self.invalid(format!("{certificate_field} is there, and no client-key-data")))
            }
            (None, Some(_)) => {
                Err(self.invalid(format!("{key_field} is there, and no client-certificate-data")))
            }
            (Some(certificate), Some(key)) => match Identity::read(&certificate, &key) {
                Ok(identity) => Ok(Some(identity)),
                Err((of_key, error)) => {
                    let field = if of_key { key_field } else { certificate_field };
                    Err(self.invalid(format!("{field}: {error}")))
                }
            },
        }
    }

    /// What a field of base64 says, else what is in the file that another one names.
    fn bytes(
        &self,
        field: &str,
        data: Option<&str>,
        file: Option<&str>,
    ) -> Result<Option<Vec<u8>>, ConnectError> {
        if let Some(data) = data {
            return decode_base64(data).map(Some).map_err(|error| self.invalid(format!("{field}: {error}")));
        }
        let Some(file) = file.map(Path::new) else { return Ok(None) };
        let read = |source| ConnectError::Read { path: file.to_owned(), source };
        private::read(file, Holds::Secret, MAX_KUBECONFIG).map(Some).map_err(read)
    }
}

/// UTF-8, or UTF-16 with a mark of its order, as PowerShell writes what a program prints.
fn decode(bytes: &[u8]) -> Option<String> {
    let wide = |order: fn([u8; 2]) -> u16, rest: &[u8]| {
        let units: Vec<u16> = rest.chunks_exact(2).map(|pair| order([pair[0], pair[1]])).collect();
        String::from_utf16(&units).ok()
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(u16::from_le_bytes, rest),
        [0xfe, 0xff, rest @ ..] => wide(u16::from_be_bytes, rest),
        [0xef, 0xbb, 0xbf, rest @ ..] | rest => String::from_utf8(rest.to_vec()).ok(),
    }
}

/// Where a text can't be read. The library's own words quote the lines around it, with tokens and keys in them.
fn unreadable(error: &KubeconfigError) -> String {
    let place = match error {
        KubeconfigError::Parse(error) => error.without_snippet().location(),
        _ => None,
    };
    match place {
        Some(place) => {
            format!("line {} column {}: it is not a kubeconfig in YAML or JSON", place.line(), place.column())
        }
        None => "it is not a kubeconfig in YAML or JSON".to_owned(),
    }
}

fn users(kubeconfig: &Kubeconfig) -> impl Iterator<Item = &AuthInfo> {
    kubeconfig.auth_infos.iter().filter_map(|named| named.auth_info.as_ref())
}

fn clusters(kubeconfig: &Kubeconfig) -> impl Iterator<Item = &Cluster> {
    kubeconfig.clusters.iter().filter_map(|named| named.cluster.as_ref())
}

/// An empty text says nothing, as in kubectl.
fn without_empty_fields(kubeconfig: &mut Kubeconfig) {
    fn tidy(field: &mut Option<String>) {
        field.take_if(|text| text.trim().is_empty());
    }
    tidy(&mut kubeconfig.current_context);
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        let Cluster { server, certificate_authority, certificate_authority_data, .. } = cluster;
        [server, certificate_authority, certificate_authority_data].into_iter().for_each(tidy);
        [&mut cluster.proxy_url, &mut cluster.tls_server_name].into_iter().for_each(tidy);
    }
    for context in kubeconfig.contexts.iter_mut().filter_map(|named| named.context.as_mut()) {
        tidy(&mut context.namespace);
    }
    for user in kubeconfig.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        user.client_key_data.take_if(|key| key.expose_secret().trim().is_empty());
        let AuthInfo { token_file, client_certificate, client_certificate_data, client_key, .. } = user;
        [token_file, client_certificate, client_certificate_data, client_key].into_iter().for_each(tidy);
    }
}

/// The first field, in any user or cluster of the file, that only an operator's own file may have.
fn forbidden(kubeconfig: &Kubeconfig) -> Option<&'static str> {
    let of_user = |user: &AuthInfo| {
        [
            (user.exec.is_some(), "exec"),
            (user.auth_provider.is_some(), "auth-provider"),
            (user.token_file.is_some(), "tokenFile"),
            (user.client_certificate.is_some(), "client-certificate"),
            (user.client_key.is_some(), "client-key"),
        ]
        .into_iter()
        .find_map(|(there, field)| there.then_some(field))
    };
    let of_cluster = |cluster: &Cluster| {
        let scheme = cluster.server.as_deref().and_then(|server| server.split_once("://"));
        let plain = scheme.is_some_and(|(scheme, _)| !scheme.eq_ignore_ascii_case("https"));
        [
            (cluster.insecure_skip_tls_verify == Some(true), "insecure-skip-tls-verify"),
            (cluster.certificate_authority.is_some(), "certificate-authority"),
            (plain, "server (not https)"),
        ]
        .into_iter()
        .find_map(|(there, field)| there.then_some(field))
    };
    users(kubeconfig).find_map(of_user).or_else(|| clusters(kubeconfig).find_map(of_cluster))
}

/// What nobody may say: to act as nobody in particular would be to act as ourselves.
fn never(kubeconfig: &Kubeconfig) -> Option<&'static str> {
    users(kubeconfig).any(|user| user.impersonate.as_deref() == Some("")).then_some("as (empty)")
}

fn resolve_paths(kubeconfig: &mut Kubeconfig, folder: &Path) {
    let resolve = |path: &mut Option<String>| {
        if let Some(path) = path {
            *path = folder.join(&*path).to_string_lossy().into_owned();
        }
    };
    for user in kubeconfig.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        [&mut user.token_file, &mut user.client_certificate, &mut user.client_key]
            .into_iter()
            .for_each(resolve);
    }
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        resolve(&mut cluster.certificate_authority);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1', CLUSTER}}]
users: [{name: u, user: {token: t, USER}}]
";

    async fn read(cluster: &str, user: &str, trusted: bool) -> Result<Access, ConnectError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge-001.yaml");
        std::fs::write(&path, PLAIN.replace("CLUSTER", cluster).replace("USER", user)).unwrap();
        read_kubeconfig(&path, trusted).await
    }

    #[tokio::test]
    async fn only_the_allow_list_passes() {
        assert!(read("", "", false).await.is_ok());
        let table = [
            (
                "",
                "exec: {apiVersion: client.authentication.k8s.io/v1, command: touch, args: [/tmp/x]}",
                "exec",
            ),
            ("", "auth-provider: {name: gcp}", "auth-provider"),
            ("", "tokenFile: /etc/shadow", "tokenFile"),
            ("", "client-key: /etc/key", "client-key"),
            ("", "client-certificate: /etc/cert", "client-certificate"),
            ("insecure-skip-tls-verify: true", "", "insecure-skip-tls-verify"),
            ("certificate-authority: /etc/ca", "", "certificate-authority"),
            ("", "as: ''", "as (empty)"),
        ];
        for (cluster, user, expected) in table {
            match read(cluster, user, false).await {
                Err(ConnectError::KubeconfigRejected { field, .. }) => assert_eq!(field, expected),
                other => panic!("{cluster}{user}: {:?}", other.map(|_| ())),
            }
        }
        assert!(read("insecure-skip-tls-verify: true", "", true).await.is_ok());
        assert!(read("", "as: ''", true).await.is_err());
    }

    #[tokio::test]
    async fn a_file_that_is_no_kubeconfig_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge-001.yaml");
        assert!(matches!(read_kubeconfig(&path, false).await, Err(ConnectError::Read { .. })));
        std::fs::write(&path, "[nonsense").unwrap();
        assert!(matches!(read_kubeconfig(&path, false).await, Err(ConnectError::KubeconfigInvalid { .. })));
        std::fs::write(&path, vec![b'#'; 2 << 20]).unwrap();
        assert!(matches!(read_kubeconfig(&path, false).await, Err(ConnectError::Read { .. })));
    }

    async fn whole(text: &[u8]) -> Result<Access, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge-001.yaml");
        std::fs::write(&path, text).unwrap();
        let found = read_kubeconfig(&path, false).await;
        found.map_err(|error| {
            let text = super::super::text::chain(&error).replace(&path.display().to_string(), "FILE");
            assert!(!text.contains("hunter2") && !text.contains("KubeconfigError"), "{text}");
            text
        })
    }

    #[tokio::test]
    async fn what_kubectl_takes_is_taken() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(["x".to_owned()]).unwrap().self_signed(&key).unwrap();
        let base64 = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
        let lines = |text: &str| {
            let encoded = base64(text);
            let lines: Vec<_> = encoded
                .as_bytes()
                .chunks(76)
                .map(|line| String::from_utf8_lossy(line).into_owned())
                .collect();
            lines.join("\\n")
        };
        let ca = lines(&certificate.pem());
        let (client, secret) = (lines(&certificate.pem()), lines(&key.serialize_pem()));
        let good = [
            (format!("certificate-authority-data: \"{ca}\""), String::new()),
            (String::new(), format!("client-certificate-data: \"{client}\", client-key-data: \"{secret}\"")),
            // Said and empty is not said.
            (
                "certificate-authority: '', certificate-authority-data: '', proxy-url: '', tls-server-name: ''".into(),
                "client-certificate: '', client-key-data: '', tokenFile: ''".into(),
            ),
            ("tls-server-name: kubernetes".into(), "as: someone, as-groups: [a]".into()),
            ("tls-server-name: 10.0.0.1, proxy-url: 'proxy:3128'".into(), String::new()),
        ];
        for (cluster, user) in good {
            if let Err(error) = read(&cluster, &user, false).await {
                panic!("{cluster} {user}: {error}");
            }
        }
        let plain = PLAIN.replace("CLUSTER", "").replace("USER", "");
        let json = r#"{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c"}}],
            "clusters":[{"name":"c","cluster":{"server":"10.0.0.1:6443"}}],"users":null}"#;
        let wide: Vec<u8> =
            [0xff, 0xfe].into_iter().chain(plain.encode_utf16().flat_map(u16::to_le_bytes)).collect();
        let marked = format!("\u{feff}{plain}");
        let upper = plain.replace("https://127", "HTTPS://127");
        for text in [
            plain.as_bytes(),
            json.as_bytes(),
            &wide,
            marked.as_bytes(),
            upper.as_bytes(),
            plain.replace('\n', "\r\n").as_bytes(),
        ] {
            let access = whole(text)
                .await
                .unwrap_or_else(|error| panic!("{}: {error}", String::from_utf8_lossy(text)));
            assert_eq!(access.config.cluster_url.scheme_str(), Some("https"));
        }
        let token = plain.replace("token: t", "token: \" t-1\\n\"");
        let access = whole(token.as_bytes()).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(access.config.auth_info.token.unwrap().expose_secret(), "t-1");
    }

    #[tokio::test]
    async fn what_is_wrong_is_told_with_its_field_and_without_its_value() {
        let wrong = [
            (
                "certificate-authority-data: 'h*hunter2'",
                "",
                "FILE: certificate-authority-data: it is not base64: it holds a character that base64 has not",
            ),
            (
                "certificate-authority-data: aGVsbG8=",
                "",
                "FILE: certificate-authority-data: it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)",
            ),
            (
                "tls-server-name: 'a b'",
                "",
                "FILE: tls-server-name: it is neither a host's name nor an IP address",
            ),
            (
                "proxy-url: 'ftp://u:hunter2@proxy'",
                "",
                "proxy-url in FILE names a proxy of the kind 'ftp', which is not supported; http://, https:// and socks5:// are",
            ),
            (
                "proxy-url: 'http://u:hunter2@'",
                "",
                "proxy-url in FILE is not a proxy's address; it is written as http://host:port",
            ),
            (
                "",
                "client-certificate-data: aGVsbG8=",
                "FILE: client-certificate-data is there, and no client-key-data",
            ),
            (
                "",
                "client-key-data: aHVudGVyMg==",
                "FILE: client-key-data is there, and no client-certificate-data",
            ),
        ];
        for (cluster, user, wanted) in wrong {
            let text = PLAIN.replace("CLUSTER", cluster).replace("USER", user);
            assert_eq!(whole(text.as_bytes()).await.err().as_deref(), Some(wanted));
        }
        let plain = PLAIN.replace("CLUSTER", "").replace("USER", "");
        let texts = [
            ("current-context: c\n", "", "FILE: current-context is missing; the file has the contexts 'c'"),
            (
                "current-context: c",
                "current-context: d",
                "FILE: current-context: there is no context 'd'; the file has 'c'",
            ),
            (
                "{cluster: c,",
                "{cluster: d,",
                "FILE: the context 'c' is for the cluster 'd', which is not in the file; it has 'c'",
            ),
            (
                "server: 'https://127.0.0.1:1'",
                "x: y",
                "FILE: server is missing: the cluster's address, https://host:port",
            ),
            ("https://127.0.0.1:1", "https://", "FILE: server: it is not an address (https://host:port)"),
            ("token: t", "token: 'a hunter2'", "FILE: token: it holds white space or control characters"),
            ("users: [", "users: [{token: hunter2", "FILE: line 7 column"),
        ];
        for (from, to, wanted) in texts {
            let error = whole(plain.replace(from, to).as_bytes())
                .await
                .err()
                .unwrap_or_else(|| panic!("{to} passes"));
            assert!(error.starts_with(wanted), "{error}");
        }
        assert_eq!(
            whole(&[0xc3, 0x28]).await.err().as_deref(),
            Some("FILE: it is not text in UTF-8 or UTF-16")
        );
    }
}
