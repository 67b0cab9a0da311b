//! What a forge is shown: a token from a file, or a GitHub App's installation token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Mutex;

use super::api::{Call, Reply};
use super::http::Http;
use super::secret::SecretFile;
use super::{ForgeError, GitHubApp};

/// How long before its end a token is replaced.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_mins(5);

pub(super) enum Credential {
    Token(SecretFile),
    App(App),
}

/// An installation of a GitHub App. Its tokens live for an hour.
pub(super) struct App {
    id: String,
    installation: u64,
    key: SecretFile,
    token: Mutex<Option<(Arc<str>, Timestamp)>>,
}

impl App {
    pub(super) fn open(settings: &GitHubApp) -> Result<Self, ForgeError> {
        let key = SecretFile::open(&settings.private_key_file, 0)?;
        read_key(&key.get()?)?;
        let (id, installation) = (settings.id.clone(), settings.installation);
        Ok(Self { id, installation, key, token: Mutex::default() })
    }

    async fn token(&self, http: &Http, base: &str, now: Timestamp) -> Result<Arc<str>, ForgeError> {
        let mut kept = self.token.lock().await;
        if let Some((token, until)) = &*kept
            && now + RENEW_BEFORE < *until
        {
            return Ok(token.clone());
        }
        let jwt = jwt(&self.id, &self.key.get()?, now)?;
        let path = format!("/app/installations/{}/access_tokens", self.installation);
        let headers =
            [("authorization", format!("Bearer {jwt}")), ("accept", "application/vnd.github+json".into())];
        let reply = http.call(base, &Call::send(Method::POST, path, json!({})), &headers).await?;
        let found = read_token(&reply, now);
        let (token, until) = found.ok_or_else(|| reply.refused())?;
        *kept = Some((token.clone(), until));
        Ok(token)
    }
}

fn read_token(reply: &Reply, now: Timestamp) -> Option<(Arc<str>, Timestamp)> {
    let token = reply.body["token"].as_str().filter(|_| reply.is_success())?;
    let until = reply.body["expires_at"].as_str().and_then(|text| text.parse().ok());
    Some((token.into(), until.unwrap_or(now + SignedDuration::from_mins(30))))
}

impl Credential {
    pub(super) async fn token(
        &self,
        http: &Http,
        base: &str,
        now: Timestamp,
    ) -> Result<Arc<str>, ForgeError> {
        match self {
            Self::Token(file) => file.get(),
            Self::App(app) => app.token(http, base, now).await,
        }
    }

    /// The forge says that the token is no good. Gives whether there may be a better one now: what is kept of an App's is
    /// forgotten. A file is read before each request.
    pub(super) async fn refused(&self, token: &str) -> bool {
        let Self::App(app) = self else { return false };
        let mut kept = app.token.lock().await;
        kept.take_if(|(kept, _)| **kept == *token);
        true
    }
}

/// What an App proves itself with: a JWT signed by its key, RS256, good for nine minutes. The clock may be a
/// minute ahead of GitHub's.
fn jwt(id: &str, key: &str, now: Timestamp) -> Result<String, ForgeError> {
    let key = read_key(key)?;
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let now = now.as_second();
    let claims = json!({"iss": id, "iat": now - 60, "exp": now + 540});
    let message = format!("{}.{}", part(json!({"alg": "RS256", "typ": "JWT"})), part(claims));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)
        .map_err(|_| ForgeError::Settings("the App's private key can't sign".to_owned()))?;
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn read_key(pem: &str) -> Result<RsaKeyPair, ForgeError> {
    let bad = || ForgeError::Settings("app.privateKeyFile is not an RSA private key in PEM".to_owned());
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| bad())?;
    let pair = match &key {
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
        _ => return Err(bad()),
    };
    pair.map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_jwt_is_signed_by_the_key_and_ends_within_ten_minutes() {
        let pem = include_str!("testdata/app-key.pem");
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let jwt = jwt("Iv1.abc", pem, now).unwrap();
        let (message, signature) = jwt.rsplit_once('.').unwrap();
        let public = read_key(pem).unwrap().public().as_ref().to_vec();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public);
        key.verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
        let claims = message.split_once('.').unwrap().1;
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!(claims, json!({"iss": "Iv1.abc", "iat": 1_699_999_940, "exp": 1_700_000_540}));
        for bad in ["", "secret", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"] {
            let error = read_key(bad).unwrap_err().to_string();
            assert!(error.contains("privateKeyFile") && !error.contains("secret\""), "{error}");
        }
    }
}
