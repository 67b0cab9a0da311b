//! Tells somebody of every request to an API server, for metrics.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::CONTENT_TYPE;
use http::{Request, Response};
use tower::{Layer, Service};

use super::answers::Verb;

/// Hears of every request: its verb (`get`, `list`, `watch`, `create`, `apply`, `patch`, `update`, `delete`), and
/// the status of the answer (none: there was no answer).
pub type RequestObserver = Arc<dyn Fn(&'static str, Option<u16>) + Send + Sync>;

#[derive(Clone)]
pub struct ObserveLayer(pub Option<RequestObserver>);

#[derive(Clone)]
pub struct Observe<S> {
    inner: S,
    observer: Option<RequestObserver>,
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;
    fn layer(&self, inner: S) -> Observe<S> {
        Observe { inner, observer: self.0.clone() }
    }
}

impl<S, A, B> Service<Request<A>> for Observe<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let (verb, observer) = (verb(&request).name(), self.observer.clone());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            if let Some(observer) = observer {
                observer(verb, answer.as_ref().ok().map(|answer| answer.status().as_u16()));
            }
            answer
        })
    }
}

/// Whether the request is a watch: one whose answer does not end by itself.
pub(super) fn is_watch<A>(request: &Request<A>) -> bool {
    verb(request) == Verb::Watch
}

fn verb<A>(request: &Request<A>) -> Verb {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    Verb::of(request.method(), request.uri().query().unwrap_or_default(), kind.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn requests_have_kubernetes_verbs() {
        let ask = |method: Method, uri: &str, kind: &str| {
            verb(&Request::builder().method(method).uri(uri).header(CONTENT_TYPE, kind).body(()).unwrap())
                .name()
        };
        for (method, uri, kind, expected) in [
            (Method::GET, "/api/v1/pods?labelSelector=a&watch=true", "", "watch"),
            (Method::GET, "/api/v1/pods?labelSelector=a&limit=500", "", "list"),
            (Method::GET, "/api/v1/namespaces/a", "", "get"),
            (Method::PATCH, "/api/v1/namespaces/a?fieldManager=f", "application/apply-patch+yaml", "apply"),
            (Method::PATCH, "/api/v1/namespaces/a", "application/merge-patch+json", "patch"),
            (Method::DELETE, "/api/v1/namespaces/a", "", "delete"),
            (Method::POST, "/api/v1/namespaces", "", "create"),
            (Method::PUT, "/api/v1/namespaces/a", "", "update"),
        ] {
            assert_eq!(ask(method, uri, kind), expected, "{uri}");
        }
    }
}
