//! The body of a request: bytes that are there, and bytes that follow while it is being sent.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Parts that were added and not yet sent.
const PARTS_MAX: usize = 16;

/// A body. One that may grow has no length, and is sent in chunks.
#[derive(Debug, Default)]
pub struct Body {
    parts: VecDeque<Bytes>,
    bytes: u64,
    more: Option<Receiver<Bytes>>,
}

/// Adds to a body that may grow; dropping it ends the body.
#[derive(Debug)]
pub struct Feed(Sender<Bytes>);

impl Feed {
    /// Waits for room for one part; false where nobody takes any more.
    pub async fn room(&self) -> bool {
        self.0.reserve().await.is_ok()
    }

    /// Sends this too, once there is room.
    pub fn add(&self, part: Bytes) {
        // Nobody else adds, so room that was there is there. Where nobody takes any more, the
        // exchange says why.
        let _ = self.0.try_send(part);
    }
}

impl Body {
    /// A body of these parts, and no more.
    pub fn whole(parts: impl IntoIterator<Item = Bytes>) -> Body {
        let parts: VecDeque<Bytes> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let bytes = parts.iter().map(|part| part.len() as u64).sum();
        Body { parts, bytes, more: None }
    }

    /// A body that begins with these parts.
    pub fn growing(parts: impl IntoIterator<Item = Bytes>) -> (Body, Feed) {
        let (sender, more) = channel(PARTS_MAX);
        (Body { more: Some(more), ..Body::whole(parts) }, Feed(sender))
    }

    /// Bytes that are left of what is known.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(part) = self.parts.pop_front() {
            self.bytes -= part.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        let Some(more) = &mut self.more else { return Poll::Ready(None) };
        let part = ready!(more.poll_recv(context));
        if part.is_none() {
            self.more = None;
        }
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty() && self.more.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.more {
            Some(_) => SizeHint::default(),
            None => SizeHint::with_exact(self.bytes),
        }
    }
}
