//! Bodies that end otherwise than they should.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use tower::BoxError;

use super::Broken;

/// How a watch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// As if it were over.
    Close,
    /// It doesn't, and says nothing more.
    Silence,
    Break,
}

/// The body of an answer that went through faults.
pub struct Body<B>(Kind<B>);

enum Kind<B> {
    Whole(Option<Bytes>),
    Passing(B),
    Until { body: B, end: Pin<Box<dyn Future<Output = End> + Send>> },
    Closed,
    Silent,
}

impl<B> Body<B> {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self(Kind::Whole(Some(bytes)))
    }

    pub(super) fn passing(body: B) -> Self {
        Self(Kind::Passing(body))
    }

    pub(super) fn until(body: B, end: Pin<Box<dyn Future<Output = End> + Send>>) -> Self {
        Self(Kind::Until { body, end })
    }
}

impl<B> std::fmt::Debug for Body<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Body")
    }
}

impl<B> http_body::Body for Body<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Kind::Until { end, .. } = &mut self.0
            && let Poll::Ready(end) = end.as_mut().poll(context)
        {
            self.0 = match end {
                End::Close => Kind::Closed,
                End::Silence => Kind::Silent,
                End::Break => {
                    self.0 = Kind::Closed;
                    return Poll::Ready(Some(Err(Broken::Reset.into())));
                }
            };
        }
        match &mut self.0 {
            Kind::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Passing(body) | Kind::Until { body, .. } => {
                Pin::new(body).poll_frame(context).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            Kind::Closed => Poll::Ready(None),
            // Nobody will wake it; whoever listens must lose patience.
            Kind::Silent => Poll::Pending,
        }
    }
}
