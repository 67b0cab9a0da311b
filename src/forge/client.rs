//! One forge, reached with one credential.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;
use serde_json::Value;

use super::address::Site;
use super::api::{Call, Comment, Forge, NewPull, Pull, Reply, Verdict};
use super::credential::{App, Credential};
use super::findings::FindingsRecord;
use super::http::Http;
use super::secret::SecretFile;
use super::{ForgeError, ForgeSettings};
use crate::repo::RepositoryUrl;

/// Pages of a list that are read at most.
const MAX_PAGES: u32 = 20;
/// Without a word from the forge: GitHub asks for at least a minute.
const LIMITED: Duration = Duration::from_secs(60);

/// Speaks to a forge. Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    forge: &'static dyn Forge,
    base: String,
    http: Http,
    credential: Credential,
    repository: String,
}

impl Client {
    /// None: the settings name no credential, so there is nothing to say.
    pub fn open(settings: &ForgeSettings, repository: &RepositoryUrl) -> Result<Option<Self>, ForgeError> {
        let credential = match (&settings.token_file, &settings.app) {
            (Some(file), _) => Credential::Token(SecretFile::open(file, 0)?),
            (None, Some(app)) => Credential::App(App::open(app)?),
            (None, None) => return Ok(None),
        };
        let Some(forge) = settings.kind.forge() else { return Ok(None) };
        let site = Site::of(settings, repository);
        let name = site.named()?;
        let base = match (&settings.url, &site.pages) {
            (Some(url), _) => checked(url, settings.plain_http, repository)?,
            (None, Some(pages)) => forge.base(pages),
            (None, None) => {
                let text = "the repository's url does not say where the forge's API is; set forge.url";
                return Err(ForgeError::Settings(text.to_owned()));
            }
        };
        let plain = base.starts_with("http://");
        let http = Http::new(settings.ca_file.as_deref(), plain)?;
        Ok(Some(Self(Arc::new(Inner { forge, base, http, credential, repository: name }))))
    }

    /// `owner/name`
    pub fn repository(&self) -> &str {
        &self.0.repository
    }

    pub(super) fn forge(&self) -> &'static dyn Forge {
        self.0.forge
    }

    /// Longest comment, in characters.
    pub fn max_comment(&self) -> usize {
        self.0.forge.max_comment()
    }

    /// The ref of a pull request's head in the repository that it asks.
    pub fn pull_ref(&self, pull: &Pull) -> String {
        self.0.forge.pull_ref(pull)
    }

    pub(super) async fn call(&self, call: &Call) -> Result<Reply, ForgeError> {
        let (token, reply) = self.attempt(call).await?;
        // An App's token may be withdrawn before its time; the next one is as good as the App.
        if reply.status == 401 && self.0.credential.refused(&token).await {
            return Ok(self.attempt(call).await?.1);
        }
        Ok(reply)
    }

    /// Gives the token that was shown, too.
    async fn attempt(&self, call: &Call) -> Result<(Arc<str>, Reply), ForgeError> {
        let Inner { forge, base, http, credential, .. } = &*self.0;
        let token = credential.token(http, base, Timestamp::now()).await?;
        let (name, value) = forge.authorization(&token);
        let mut headers = vec![(name, value)];
        headers.extend(forge.headers().iter().map(|(name, value)| (*name, (*value).to_owned())));
        let reply = http.call(base, call, &headers).await?;
        Ok((token, reply))
    }

    /// Writes, and says what the answer means.
    pub(super) async fn write(&self, call: &Call) -> Verdict {
        match self.call(call).await {
            Ok(reply) => self.judge(&reply),
            // Not reached, or not let in: neither are the others.
            Err(error) => Verdict::Later { after: None, everything: true, reason: error.to_string() },
        }
    }

    pub(super) fn judge(&self, reply: &Reply) -> Verdict {
        self.0.forge.judge(reply).unwrap_or_else(|| judge(reply, Timestamp::now()))
    }

    pub(super) async fn read(&self, call: &Call) -> Result<Value, ForgeError> {
        let reply = self.call(call).await?;
        if reply.is_success() { Ok(reply.body) } else { Err(reply.refused()) }
    }

    /// All pages of a list, until one brings nothing new.
    pub(super) async fn list<T: PartialEq>(
        &self,
        page: impl Fn(u32) -> Call,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Vec<T>, ForgeError> {
        let mut all: Vec<T> = Vec::new();
        for number in 1..=MAX_PAGES {
            let body = self.read(&page(number)).await?;
            let Some(items) = self.forge().items(&body) else { break };
            let before = all.len();
            for item in items.iter().filter_map(&read) {
                if !all.contains(&item) {
                    all.push(item);
                }
            }
            if all.len() == before {
                break;
            }
        }
        Ok(all)
    }

    pub async fn open_pulls(&self) -> Result<Vec<Pull>, ForgeError> {
        let (forge, repository) = (self.forge(), self.repository());
        self.list(|page| forge.open_pulls(repository, page), |value| forge.read_pull(value)).await
    }

    pub async fn pull(&self, number: u64) -> Result<Pull, ForgeError> {
        let body = self.read(&self.forge().pull(self.repository(), number)).await?;
        self.forge().read_pull(&body).ok_or(ForgeError::Answer("it is no pull request"))
    }

    /// Opens a pull request; gives the address of its page.
    pub async fn new_pull(&self, pull: &NewPull) -> Result<String, ForgeError> {
        let body = self.read(&self.forge().new_pull(self.repository(), pull)).await?;
        self.forge().read_link(&body).ok_or(ForgeError::Answer("it is no pull request"))
    }

    /// Whether findings can be shown at their lines.
    pub fn annotates(&self, findings: &FindingsRecord) -> bool {
        self.annotation(findings).is_some()
    }

    pub(super) fn annotation(&self, findings: &FindingsRecord) -> Option<Call> {
        let app = matches!(self.0.credential, Credential::App(_));
        self.forge().annotate(self.repository(), findings, app)
    }

    /// Who the credential is, where the forge can say. An App's installation is no user: then a comment's marker alone
    /// tells whose it is.
    pub(super) async fn myself(&self) -> Result<Option<String>, ForgeError> {
        if matches!(self.0.credential, Credential::App(_)) {
            return Ok(None);
        }
        let body = self.read(&self.forge().myself()).await?;
        Ok(self.forge().read_myself(&body))
    }

    pub(super) async fn comments(&self, pull: u64) -> Result<Vec<Comment>, ForgeError> {
        let (forge, repository) = (self.forge(), self.repository());
        self.list(|page| forge.comments(repository, pull, page), |value| forge.read_comment(value)).await
    }
}

/// An API's address as a person wrote it. A token in the clear goes no further than this machine, but where a setting
/// says so for that host.
fn checked(url: &str, plain_http: bool, repository: &RepositoryUrl) -> Result<String, ForgeError> {
    let bad = |what: &str| ForgeError::Settings(format!("forge.url '{url}' {what}"));
    let uri: http::Uri = url.parse().map_err(|_| bad("is not an address"))?;
    let host = uri.host().unwrap_or_default();
    let loopback = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
    let asked_for =
        plain_http || repository.is_plain() && repository.host() == Some(&host.to_ascii_lowercase());
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if loopback || asked_for => {}
        Some("http") => {
            return Err(bad(
                "is not encrypted; use https, or set forge.plainHttp to true to let the token go over the network \
                 unencrypted",
            ));
        }
        _ => return Err(bad("is not an https address")),
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) || uri.query().is_some() {
        return Err(bad("holds a user or a query"));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// What an answer means by HTTP, and by the headers that forges use for their limits.
pub(super) fn judge(reply: &Reply, now: Timestamp) -> Verdict {
    let later = |after, everything| Verdict::Later { after, everything, reason: reply.message() };
    let named = retry_after(&reply.headers, now);
    match reply.status {
        200..=299 => Verdict::Done,
        // A redirect would take the credential elsewhere.
        300..=399 => Verdict::Never(reply.message()),
        401 => later(Some(LIMITED), true),
        429 => later(Some(named.unwrap_or(LIMITED)), true),
        403 if named.is_some() => later(named, true),
        403 => later(Some(LIMITED), false),
        // It may not have the commit yet.
        404 | 408 | 409 | 425 => later(None, false),
        500.. => later(named, true),
        _ => Verdict::Never(reply.message()),
    }
}

/// `retry-after`, else the reset of a limit that is used up.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    if let Some(seconds) = number("retry-after") {
        return Some(Duration::from_secs(seconds.clamp(1, 3_600).unsigned_abs()));
    }
    let remaining = number("x-ratelimit-remaining").or_else(|| number("ratelimit-remaining"));
    let reset = number("x-ratelimit-reset").or_else(|| number("ratelimit-reset"))?;
    let left = reset.saturating_sub(now.as_second()).clamp(1, 3_600).unsigned_abs();
    (remaining == Some(0)).then(|| Duration::from_secs(left))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn reply(status: u16, headers: &[(&'static str, &'static str)]) -> Reply {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        Reply {
            status,
            headers: headers.iter().map(header).collect(),
            body: Value::Null,
            asked: String::new(),
        }
    }

    #[test]
    fn limits_are_obeyed_as_the_forge_words_them() {
        let now = Timestamp::from_second(1_000).unwrap();
        let wait =
            |status, headers: &[(&'static str, &'static str)]| match judge(&reply(status, headers), now) {
                Verdict::Later { after, everything, .. } => (after.map(|after| after.as_secs()), everything),
                other => panic!("{status}: {other:?}"),
            };
        assert_eq!(wait(429, &[("retry-after", "7")]), (Some(7), true));
        assert_eq!(wait(429, &[]), (Some(60), true));
        assert_eq!(wait(403, &[("retry-after", "90")]), (Some(90), true));
        assert_eq!(
            wait(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1300")]),
            (Some(300), true)
        );
        assert_eq!(
            wait(403, &[("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", "1300")]),
            (Some(60), false)
        );
        assert_eq!(wait(429, &[("ratelimit-remaining", "0"), ("ratelimit-reset", "1030")]), (Some(30), true));
        assert_eq!(wait(429, &[("retry-after", "-5")]), (Some(1), true));
        assert_eq!(wait(503, &[("retry-after", "99999999")]), (Some(3_600), true));
        assert_eq!(wait(502, &[]), (None, true));
        assert_eq!(wait(404, &[]), (None, false));
        assert_eq!(wait(401, &[]), (Some(60), true));
        assert_eq!(judge(&reply(201, &[]), now), Verdict::Done);
        for status in [301, 400, 422] {
            assert!(matches!(judge(&reply(status, &[]), now), Verdict::Never(_)), "{status}");
        }
    }

    #[test]
    fn a_token_is_not_sent_in_the_clear() {
        let repository: RepositoryUrl = "https://git.example.com/platform/fleet.git".parse().unwrap();
        for good in ["https://api.example.com", "http://127.0.0.1:3000/api/v1/", "http://localhost/x"] {
            assert!(checked(good, false, &repository).is_ok(), "{good}");
        }
        for bad in ["http://git.example.com", "ftp://x", "x", "https://me:pw@x", "https://x/?a=b", ""] {
            assert!(checked(bad, false, &repository).is_err(), "{bad}");
        }
        // Where a setting says so, and for that host alone.
        let address = "http://git.example.com/api/v1";
        let error = checked(address, false, &repository).unwrap_err().to_string();
        assert!(error.contains("forge.plainHttp"), "{error}");
        assert!(checked(address, true, &repository).is_ok());
        let plain = RepositoryUrl::parse("http://git.example.com:3000/platform/fleet.git", true).unwrap();
        assert!(checked(address, false, &plain).is_ok());
        assert!(checked("http://api.example.com", false, &plain).is_err());
    }
}
