//! The stream of views.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use http::StatusCode;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::api::App;
use super::command::Caller;
use super::problem::Problem;
use super::view::{StatusView, Views};

/// Streams open at a time, whoever has them; and more for those with a name.
const MAX_STREAMS: usize = 48;
const MAX_NAMED: usize = 16;
/// A stream gives a view at most this often; changes between are in the next one.
const PACE: Duration = Duration::from_millis(250);
/// The last thing that a stream says when it has lasted too long, and may be asked for again.
const AGAIN: &[u8] = b"event: again\ndata: {}\n\n";
/// A silent stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What all streams share.
pub(super) struct Events {
    views: Views,
    stop: CancellationToken,
    longest: Duration,
    places: Arc<Semaphore>,
    for_named: Arc<Semaphore>,
    /// The last view as an event: made once, whatever the number of streams.
    last: Mutex<(Arc<StatusView>, Bytes)>,
}

struct Stream {
    events: Arc<Events>,
    views: Views,
    not_before: Option<Instant>,
    /// None: it has ended.
    until: Option<Instant>,
    _place: OwnedSemaphorePermit,
}

impl Events {
    pub(super) fn new(views: Views, stop: CancellationToken, longest: Duration) -> Self {
        let view = views.borrow().clone();
        let last = Mutex::new((Arc::clone(&view), frame(&view)));
        Self {
            views,
            stop,
            longest,
            places: Arc::new(Semaphore::new(MAX_STREAMS)),
            for_named: Arc::new(Semaphore::new(MAX_NAMED)),
            last,
        }
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
        let until = self.until?;
        if Instant::now() >= until {
            self.until = None;
            return Some((Bytes::from_static(AGAIN), self));
        }
        if let Some(not_before) = self.not_before {
            let stop = self.events.stop.clone();
            let changed = async {
                tokio::time::sleep_until(not_before).await;
                let wait = until.min(Instant::now() + KEEP_ALIVE);
                tokio::time::timeout_at(wait, self.views.changed()).await
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

pub(super) async fn events(State(app): State<App>, caller: Option<Extension<Caller>>) -> Response {
    let events = Arc::clone(&app.events);
    let place = Arc::clone(&events.places).try_acquire_owned();
    let place = match (place, caller) {
        (Err(_), Some(_)) => Arc::clone(&events.for_named).try_acquire_owned(),
        (place, _) => place,
    };
    let Ok(place) = place else {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many event streams are open");
        return ([(RETRY_AFTER, "5")], problem).into_response();
    };
    let (views, until) = (events.views.clone(), Instant::now().checked_add(events.longest));
    let stream = Stream { views, events, not_before: None, until, _place: place };
    let pieces = stream::unfold(stream, async |stream| {
        let (piece, stream) = stream.next().await?;
        Some((Ok::<_, Infallible>(piece), stream))
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(pieces)).into_response()
}
