//! From a kubeconfig file to what a connection needs, by an allow-list.

use std::path::{Path, PathBuf};

use kube::config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig};

/// Largest kubeconfig that is read.
const MAX_KUBECONFIG: u64 = 1 << 20;

/// Why there is no connection to a target.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("no cluster source knows the target {0}")]
    UnknownTarget(crate::model::name::TargetName),
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is larger than {MAX_KUBECONFIG} bytes")]
    TooLarge { path: PathBuf },
    #[error(
        "{path}: the field '{field}' is not allowed in a kubeconfig; embed certificates and tokens, or set \
         'trusted: true' on its folder in the settings"
    )]
    KubeconfigRejected { path: PathBuf, field: &'static str },
    #[error("{path} is not a kubeconfig that can be used")]
    KubeconfigInvalid { path: PathBuf, source: Box<kube::config::KubeconfigError> },
    #[error("{path}: the proxy-url is not supported: {reason}")]
    Proxy { path: PathBuf, reason: String },
    #[error("no TLS or credentials for {path}")]
    Client { path: PathBuf, source: Box<kube::Error> },
}

/// Reads a kubeconfig. Without `trusted`, what runs programs, reads further files or weakens TLS is refused.
pub(super) async fn read_kubeconfig(path: &Path, trusted: bool) -> Result<kube::Config, ConnectError> {
    let read = |source| ConnectError::Read { path: path.to_owned(), source };
    let size = tokio::fs::metadata(path).await.map_err(read)?.len();
    if size > MAX_KUBECONFIG {
        return Err(ConnectError::TooLarge { path: path.to_owned() });
    }
    let text = tokio::fs::read_to_string(path).await.map_err(read)?;
    let invalid =
        |source| ConnectError::KubeconfigInvalid { path: path.to_owned(), source: Box::new(source) };
    let mut kubeconfig = Kubeconfig::from_yaml(&text).map_err(invalid)?;
    if trusted {
        resolve_paths(&mut kubeconfig, path.parent().unwrap_or(Path::new("")));
    } else if let Some(field) = forbidden(&kubeconfig) {
        return Err(ConnectError::KubeconfigRejected { path: path.to_owned(), field });
    }
    if let Some(field) = never(&kubeconfig) {
        return Err(ConnectError::KubeconfigRejected { path: path.to_owned(), field });
    }
    let options = KubeConfigOptions::default();
    kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(invalid)
}

fn users(kubeconfig: &Kubeconfig) -> impl Iterator<Item = &AuthInfo> {
    kubeconfig.auth_infos.iter().filter_map(|named| named.auth_info.as_ref())
}

fn clusters(kubeconfig: &Kubeconfig) -> impl Iterator<Item = &Cluster> {
    kubeconfig.clusters.iter().filter_map(|named| named.cluster.as_ref())
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
        let plain =
            cluster.server.as_deref().is_some_and(|s| !s.to_ascii_lowercase().starts_with("https://"));
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

    async fn read(cluster: &str, user: &str, trusted: bool) -> Result<kube::Config, ConnectError> {
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
        assert!(matches!(read_kubeconfig(&path, false).await, Err(ConnectError::TooLarge { .. })));
    }
}
