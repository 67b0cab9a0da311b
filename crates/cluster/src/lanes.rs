//! Which connection carries which request.
//!
//! One HTTP/2 connection carries about 100 requests at a time, and a watch is a request that does not end: when as
//! many watches stand on a connection as it takes requests, every other request waits for ever. So a connection
//! takes no more than [`WATCHES`], the next watch opens another one, and requests go where there is most room.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::{Body, Frame, SizeHint};
use tower::Service;

use super::observe::is_watch;

/// Watches on one connection. What is left of 100 is for lists and writes.
pub const WATCHES: usize = 80;

/// A client for each connection: each keeps a pool of its own, which over HTTP/2 is one connection.
pub struct Lanes<S>(Arc<Shared<S>>);

struct Shared<S> {
    lanes: Mutex<Vec<Lane<S>>>,
    make: Box<dyn Fn() -> S + Send + Sync>,
}

struct Lane<S> {
    client: S,
    watches: Arc<AtomicUsize>,
}

impl<S> Clone for Lanes<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Clone> Lanes<S> {
    pub fn new(make: impl Fn() -> S + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared { lanes: Mutex::default(), make: Box::new(make) }))
    }

    /// The client for a request, and for a watch its place, which it keeps until it is dropped.
    fn choose(&self, watch: bool) -> (S, Option<Place>) {
        let mut lanes = self.0.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let watches = |lane: &Lane<S>| lane.watches.load(Ordering::Relaxed);
        let found = if watch {
            lanes.iter().find(|lane| watches(lane) < WATCHES)
        } else {
            lanes.iter().min_by_key(|lane| watches(lane))
        };
        if let Some(lane) = found {
            return (lane.client.clone(), watch.then(|| Place::take(&lane.watches)));
        }
        let lane = Lane { client: (self.0.make)(), watches: Arc::default() };
        let chosen = (lane.client.clone(), watch.then(|| Place::take(&lane.watches)));
        lanes.push(lane);
        chosen
    }
}

/// Counts one watch.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S, A, B> Service<Request<A>> for Lanes<S>
where
    S: Service<Request<A>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Placed<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    /// The clients are always ready: they queue by themselves.
    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let (mut client, place) = self.choose(is_watch(&request));
        let answer = client.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            Ok(answer.map(|body| Placed { body, _place: place }))
        })
    }
}

/// An answer's body, with its place.
pub struct Placed<B> {
    body: B,
    _place: Option<Place>,
}

impl<B: Body + Unpin> Body for Placed<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_open_connections_as_they_need_them_and_requests_go_where_there_is_room() {
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let lanes = Lanes::new(move || count.fetch_add(1, Ordering::Relaxed));
        assert_eq!(lanes.choose(false).0, 0);
        let first: Vec<_> = (0..WATCHES).map(|_| lanes.choose(true)).collect();
        assert!(first.iter().all(|(lane, _)| *lane == 0));
        assert_eq!(lanes.choose(false).0, 0, "no connection for a request alone");
        let second = lanes.choose(true);
        assert_eq!(second.0, 1);
        assert_eq!(lanes.choose(false).0, 1);
        drop(first);
        assert_eq!(lanes.choose(false).0, 0);
        assert_eq!(lanes.choose(true).0, 0, "places are given back");
        assert_eq!(made.load(Ordering::Relaxed), 2);
    }
}
