//! Notifications on tokio.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{Listener, Notification, NotifyError, Received};

/// A [`Listener`] within a tokio runtime: a stream of notifications, which ends with the last process that has the filter. The answers
/// are given as ever; they don't wait.
#[derive(Debug)]
pub struct AsyncListener {
    fd: AsyncFd<Descriptor>,
}

/// A listener by its number, as the reactor takes it.
#[derive(Debug)]
struct Descriptor(Listener);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl AsyncListener {
    /// Registers a listener with the runtime in which this is called.
    ///
    /// # Errors
    /// If the runtime's reactor takes no more.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn new(listener: Listener) -> io::Result<AsyncListener> {
        // What came in its place is unsafe, for types that change their descriptor. A listener owns its own.
        #[allow(deprecated)]
        let fd = AsyncFd::with_interest(Descriptor(listener), Interest::READABLE)?;
        Ok(AsyncListener { fd })
    }

    /// Waits for a notification. `None`: the last process that had the filter is gone. Nothing is lost if this is cancelled.
    ///
    /// # Errors
    /// [`NotifyError::Kernel`].
    pub async fn receive(&self) -> Result<Option<Notification>, NotifyError> {
        std::future::poll_fn(|context| self.poll_receive(context)).await
    }

    fn poll_receive(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Notification>, NotifyError>> {
        loop {
            let ready = ready!(self.fd.poll_read_ready(context));
            let mut ready = ready.map_err(|error| NotifyError::Kernel {
                call: "epoll_wait",
                errno: error.raw_os_error().unwrap_or(libc::EIO),
            })?;
            match ready.get_inner().0.receive_within(Duration::ZERO)? {
                Received::Notification(notification) => return Poll::Ready(Ok(Some(notification))),
                Received::Ended => return Poll::Ready(Ok(None)),
                Received::Nothing => ready.clear_ready(),
            }
        }
    }
}

impl Stream for AsyncListener {
    type Item = Result<Notification, NotifyError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_receive(context).map(Result::transpose)
    }
}
