//! The stream of views.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use http::StatusCode;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::api::App;
use super::problem::Problem;
use super::view::{StatusView, Views};

/// Streams open at a time.
const MAX_STREAMS: usize = 64;
/// A stream gives a view at most this often; changes between are in the next one.
const PACE: Duration = Duration::from_millis(250);
/// A silent stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What all streams share.
pub(super) struct Events {
    views: Views,
    stop: CancellationToken,
    places: Arc<Semaphore>,
    /// The last view as an event: made once, whatever the number of streams.
    last: Mutex<(Arc<StatusView>, Bytes)>,
}

struct Stream {
    events: Arc<Events>,
    views: Views,
    not_before: Option<Instant>,
    _place: OwnedSemaphorePermit,
}

impl Events {
    pub(super) fn new(views: Views, stop: CancellationToken) -> Self {
        let view = views.borrow().clone();
        let last = Mutex::new((Arc::clone(&view), frame(&view)));
        Self { views, stop, places: Arc::new(Semaphore::new(MAX_STREAMS)), last }
    }

    fn framed(&self, view: &Arc<StatusView>) -> Bytes {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&last.0, view) {
            *last = (Arc::clone(view), frame(view));
        }
        last.1.clone()
    }
}

/// JSON has no line breaks of its own, so it is one `data` line.
fn frame(view: &StatusView) -> Bytes {
    match serde_json::to_string(view) {
        Ok(json) => format!("event: status\nid: {}\ndata: {json}\n\n", view.version).into(),
        Err(error) => {
            tracing::error!(%error, "cannot write the view");
            Bytes::from_static(b": the view can't be shown\n\n")
        }
    }
}

impl Stream {
    /// The next piece; none when the server stops or the daemon is gone. The first comes at once.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        if let Some(not_before) = self.not_before {
            let stop = self.events.stop.clone();
            let changed = async {
                tokio::time::sleep_until(not_before).await;
                tokio::time::timeout(KEEP_ALIVE, self.views.changed()).await
            };
            match stop.run_until_cancelled(changed).await? {
                Err(_) => return Some((Bytes::from_static(b": still here\n\n"), self)),
                Ok(Err(_)) => return None,
                Ok(Ok(())) => {}
            }
        }
        let view = self.views.borrow_and_update().clone();
        self.not_before = Some(Instant::now() + PACE);
        Some((self.events.framed(&view), self))
    }
}

pub(super) async fn events(State(app): State<App>) -> Response {
    let events = Arc::clone(&app.events);
    let Ok(place) = Arc::clone(&events.places).try_acquire_owned() else {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many event streams are open");
        return ([(RETRY_AFTER, "5")], problem).into_response();
    };
    let stream = Stream { views: events.views.clone(), events, not_before: None, _place: place };
    let pieces = stream::unfold(stream, async |stream| {
        let (piece, stream) = stream.next().await?;
        Some((Ok::<_, Infallible>(piece), stream))
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(pieces)).into_response()
}
