//! Faults in front of a simulated cluster: a layer that delays, refuses, loses and breaks what passes through it.
//!
//! In: requests, and [`Rule`]s from a script ([`Script`]) or from the one who holds [`Faults`]. Out: what the cluster
//! answers, or worse. Which request is struck depends on the rules, the seed and the order of the requests alone.

mod answers;
mod asked;
mod body;
mod script;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use tower::{BoxError, Service, ServiceExt as _};

pub use asked::{Asked, Verb};
pub use body::Body;
use body::End;
pub use script::{Fault, Rule, Script, ScriptError, Wait};

/// What becomes of a request that does not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("the simulated cluster is dead")]
    Dead,
    #[error("the connection to the simulated cluster broke before the answer came")]
    Reset,
}

/// The faults of one cluster; clones are the same.
#[derive(Clone)]
pub struct Faults(Arc<Inner>);

struct Inner {
    cluster: String,
    since: Instant,
    dead: watch::Sender<bool>,
    state: Mutex<State>,
}

struct State {
    rng: fastrand::Rng,
    rules: Vec<Armed>,
    struck: BTreeMap<Fault, u32>,
}

struct Armed {
    rule: Rule,
    met: u32,
    struck: u32,
}

/// What is done to one request.
#[derive(Default)]
struct Plan {
    delay: Duration,
    instead: Option<Instead>,
    lose_answer: bool,
    watch: Option<(Duration, End)>,
    /// Merge patches of another writer, sent after a write that succeeded.
    others: Vec<(Duration, String, Value)>,
}

enum Instead {
    Answer(Response<Bytes>),
    /// Nothing, ever.
    Silence,
    Dead,
}

impl Faults {
    /// Those rules of a script that are about this cluster. The same seed strikes the same requests.
    pub fn new(cluster: &str, seed: u64, rules: &[Rule]) -> Self {
        let name = cluster.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let rules = rules.iter().filter(|rule| rule.is_about(cluster)).cloned().map(arm).collect();
        let state = State { rng: fastrand::Rng::with_seed(name), rules, struck: BTreeMap::new() };
        let (dead, _) = watch::channel(false);
        let (cluster, since) = (cluster.to_owned(), Instant::now());
        Self(Arc::new(Inner { cluster, since, dead, state: Mutex::new(state) }))
    }

    /// From now on, this too.
    pub fn add(&self, rule: Rule) {
        self.with(|state| state.rules.push(arm(rule)));
    }

    /// No more faults, but for a cluster that is dead.
    pub fn clear(&self) {
        self.with(|state| state.rules.clear());
    }

    /// Dead: no request gets through, and what is open breaks. Alive again: new requests are answered.
    pub fn set_dead(&self, dead: bool) {
        self.0.dead.send_replace(dead);
    }

    /// How often a fault has struck.
    pub fn struck(&self, fault: Fault) -> u32 {
        self.with(|state| state.struck.get(&fault).copied().unwrap_or_default())
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn plan(&self, asked: &Asked) -> Plan {
        let elapsed = self.0.since.elapsed();
        self.with(|state| state.plan(asked, elapsed))
    }

    /// Waits until the cluster is dead.
    async fn death(&self) {
        let mut dead = self.0.dead.subscribe();
        // The sender lives as long as we do.
        let _ = dead.wait_for(|dead| *dead).await;
    }

    fn is_dead(&self) -> bool {
        *self.0.dead.borrow()
    }
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Faults").field(&self.0.cluster).finish()
    }
}

fn arm(rule: Rule) -> Armed {
    Armed { rule, met: 0, struck: 0 }
}

impl State {
    fn plan(&mut self, asked: &Asked, elapsed: Duration) -> Plan {
        let mut plan = Plan::default();
        for armed in &mut self.rules {
            let rule = &armed.rule;
            if !rule.meets(asked, elapsed) {
                continue;
            }
            armed.met += 1;
            let spent = rule.times.is_some_and(|times| armed.struck >= times);
            if armed.met <= rule.skip || spent || self.rng.u8(..100) >= rule.percent {
                continue;
            }
            let fault =
                if rule.fault == Fault::Any { Fault::any(asked.verb, &mut self.rng) } else { rule.fault };
            if plan.take(fault, rule, asked, &mut self.rng) {
                armed.struck += 1;
                *self.struck.entry(fault).or_default() += 1;
            }
        }
        plan
    }
}

impl Plan {
    /// Adds a fault, unless it does nothing to such a request.
    fn take(&mut self, fault: Fault, rule: &Rule, asked: &Asked, rng: &mut fastrand::Rng) -> bool {
        let wait = |default: u64| rule.wait.map_or(Duration::from_millis(default), Wait::get);
        let answer = match fault {
            Fault::Latency => {
                // Half of it is certain.
                self.delay += wait(200).mul_f64(0.5 + rng.f64() / 2.0);
                return true;
            }
            Fault::LostReply => {
                self.lose_answer |= asked.is_write();
                return asked.is_write();
            }
            Fault::CloseWatch | Fault::SilentWatch | Fault::BreakWatch => {
                let end = match fault {
                    Fault::CloseWatch => End::Close,
                    Fault::SilentWatch => End::Silence,
                    _ => End::Break,
                };
                let is_watch = asked.verb == Verb::Watch;
                self.watch = self.watch.take().or_else(|| is_watch.then(|| (wait(1_000), end)));
                return is_watch;
            }
            Fault::NeverReady | Fault::CrashLoop => {
                let Some(patch) = answers::fails(asked, fault == Fault::CrashLoop) else { return false };
                self.others.push((Duration::ZERO, "fault-injector".to_owned(), patch));
                return true;
            }
            Fault::ForeignWriter => {
                let manager = rule.manager.clone().unwrap_or_else(|| "fault-injector".to_owned());
                let patch =
                    rule.patch.clone().unwrap_or_else(|| json!({"metadata": {"labels": {"by": "another"}}}));
                let writes = asked.is_write() && asked.verb != Verb::Delete;
                self.others.extend(writes.then(|| (wait(0), manager, patch)));
                return writes;
            }
            Fault::HalfOpen => Some(Instead::Silence),
            Fault::Dead => Some(Instead::Dead),
            Fault::Throttle => Some(Instead::Answer(answers::throttled(wait(1_000)))),
            Fault::Error => {
                Some(Instead::Answer(answers::error(rule.code.unwrap_or(503), rule.message.as_deref())))
            }
            Fault::Gone => answers::gone(asked).map(Instead::Answer),
            Fault::Quota => asked.is_write().then(|| Instead::Answer(answers::quota(asked))),
            Fault::Admission => {
                asked.is_write().then(|| Instead::Answer(answers::denied(asked, rule.message.as_deref())))
            }
            Fault::WebhookDown => asked.is_write().then(|| Instead::Answer(answers::webhook_down())),
            Fault::Any => None,
        };
        let strikes = answer.is_some() && self.instead.is_none();
        self.instead = self.instead.take().or(answer);
        strikes
    }
}

/// A cluster behind its faults.
#[derive(Clone, Debug)]
pub struct Faulty<S> {
    inner: S,
    faults: Faults,
}

impl<S> Faulty<S> {
    pub fn new(inner: S, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

impl<S, B> Service<Request<Bytes>> for Faulty<S>
where
    S: Service<Request<Bytes>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body<B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (faults, inner) = (self.faults.clone(), self.inner.clone());
        Box::pin(async move {
            if faults.is_dead() {
                return Err(Broken::Dead.into());
            }
            let answer = pass(&faults, inner, request);
            tokio::select! {
                () = faults.death() => Err(Broken::Dead.into()),
                answer = answer => answer,
            }
        })
    }
}

async fn pass<S, B>(faults: &Faults, inner: S, request: Request<Bytes>) -> Result<Response<Body<B>>, BoxError>
where
    S: Service<Request<Bytes>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
{
    let asked = Asked::of(&request);
    let plan = faults.plan(&asked);
    if !plan.delay.is_zero() {
        tokio::time::sleep(plan.delay).await;
    }
    match plan.instead {
        None => {}
        Some(Instead::Answer(answer)) => return Ok(answer.map(Body::whole)),
        Some(Instead::Silence) => std::future::pending().await,
        Some(Instead::Dead) => return Err(Broken::Dead.into()),
    }
    let answer = inner.clone().oneshot(request).await.map_err(Into::into)?;
    if answer.status().is_success() && !asked.dry_run {
        for (wait, manager, patch) in plan.others {
            let Some(request) = patch_by(&asked, &manager, &patch) else { continue };
            if wait.is_zero() {
                inner.clone().oneshot(request).await.map_err(Into::into)?;
            } else {
                let inner = inner.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    let _ = inner.oneshot(request).await;
                });
            }
        }
    }
    if plan.lose_answer {
        return Err(Broken::Reset.into());
    }
    if asked.verb != Verb::Watch {
        return Ok(answer.map(Body::passing));
    }
    let faults = faults.clone();
    let end = plan.watch;
    let end = Box::pin(async move {
        match end {
            None => faults.death().await,
            Some((after, end)) => tokio::select! {
                () = faults.death() => {}
                () = tokio::time::sleep(after) => return end,
            },
        }
        End::Break
    });
    Ok(answer.map(|body| Body::until(body, end)))
}

/// Another writer's change of the object that was just written.
fn patch_by(asked: &Asked, manager: &str, patch: &Value) -> Option<Request<Bytes>> {
    let path = asked.object.as_deref()?;
    Request::builder()
        .method(Method::PATCH)
        .uri(format!("{path}?fieldManager={manager}"))
        .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
        .header(http::header::ACCEPT, "application/json")
        .body(Bytes::from(patch.to_string()))
        .ok()
}
