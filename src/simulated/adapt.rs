//! Between simulated clusters and clients of real ones.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tower::{BoxError, Layer as _, Service, ServiceExt as _};

use fairlead_cluster::{ObserveLayer, RequestObserver};

/// A client of a cluster in this process. `observer` hears of every request.
pub fn client<S, B>(service: S, observer: Option<RequestObserver>) -> kube::Client
where
    S: Service<Request<Bytes>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError> + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    kube::Client::new(ObserveLayer(observer).layer(InProcess(service)), "default")
}

/// Takes requests as clients make them.
#[derive(Clone)]
struct InProcess<S>(S);

impl<S, B> Service<Request<kube::client::Body>> for InProcess<S>
where
    S: Service<Request<Bytes>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError> + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            service.oneshot(Request::from_parts(parts, body)).await.map_err(Into::into)
        })
    }
}
