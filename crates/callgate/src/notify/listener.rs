//! The supervisor's end: where notifications come from.
//!
//! The kernel's own receive waits for ever, also when nobody is left to notify. So it is polled first, and received by one thread
//! at a time: what one saw by polling another can't take. Threads beside the one that waits for it poll only to know when to try again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Notification, NotifyError};
use crate::abi::{Roomy, SYNC_WAKE_UP, SeccompNotif, SeccompNotifResp};
use crate::probe;
use crate::sys::{self, Errno};

/// The listener of a filter: it owns the descriptor. It can be polled ([`AsFd`]: readable when a notification waits, hung up
/// when the last process that has the filter is gone, on kernels since 5.9), and used by many threads at once.
#[derive(Clone, Debug)]
pub struct Listener {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) fd: OwnedFd,
    receiving: Mutex<()>,
}

/// What a wait for a notification came to.
#[derive(Debug)]
pub enum Received {
    /// A call waits for its answer.
    Notification(Notification),
    /// There was none in time.
    Nothing,
    /// There will be none: the last process that had the filter is gone.
    Ended,
}

impl Listener {
    /// Takes a descriptor as a listener.
    ///
    /// # Errors
    /// [`NotifyError::NotAListener`] if it is something else; the descriptor is closed then.
    pub fn new(fd: OwnedFd) -> Result<Listener, NotifyError> {
        // No notification has this id: the kernel counts from a random number.
        match sys::check_id(fd.as_fd(), 0) {
            Ok(()) | Err(Errno(libc::ENOENT)) => {}
            Err(_) => return Err(NotifyError::NotAListener),
        }
        let sizes = probe::notification_sizes().ok_or(NotifyError::NotAListener)?;
        if usize::from(sizes.notification) > size_of::<Roomy<SeccompNotif>>()
            || usize::from(sizes.response) > size_of::<Roomy<SeccompNotifResp>>()
        {
            return Err(NotifyError::Size);
        }
        let receiving = Mutex::new(());
        Ok(Listener {
            shared: Arc::new(Shared { fd, receiving }),
        })
    }

    /// Waits for a notification. `None`: the last process that had the filter is gone, so there will be none.
    ///
    /// # Errors
    /// [`NotifyError::Kernel`].
    pub fn receive(&self) -> Result<Option<Notification>, NotifyError> {
        loop {
            match self.wait_until(None)? {
                Received::Notification(notification) => return Ok(Some(notification)),
                Received::Nothing => {}
                Received::Ended => return Ok(None),
            }
        }
    }

    /// Waits for a notification, for so long at most; not at all with [`Duration::ZERO`].
    ///
    /// # Errors
    /// [`NotifyError::Kernel`].
    pub fn receive_within(&self, timeout: Duration) -> Result<Received, NotifyError> {
        // One that the clock can't hold is for ever.
        self.wait_until(Instant::now().checked_add(timeout))
    }

    /// Asks the kernel to wake the caller on the supervisor's CPU, and the other way round, for where
    /// each waits for the other (`SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`). Returns whether the kernel can,
    /// which it does since 6.6.
    pub fn wake_synchronously(&self) -> bool {
        sys::set_listener_flags(self.as_fd(), SYNC_WAKE_UP).is_ok()
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<Received, NotifyError> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            // Who waits alone need not look again whether another thread was faster.
            let alone = self.alone();
            let events = self.poll(left)?;
            if events.contains(PollFlags::IN) {
                match alone {
                    Some(_) => {
                        if let Some(notification) = self.receive_ready()? {
                            return Ok(Received::Notification(notification));
                        }
                        // The caller has died.
                    }
                    // The one who waits alone takes it.
                    None => thread::yield_now(),
                }
            } else if events.contains(PollFlags::HUP) {
                return Ok(Received::Ended);
            }
            if left == Some(Duration::ZERO) {
                return Ok(Received::Nothing);
            }
        }
    }

    /// The right to receive, if no other thread has it.
    fn alone(&self) -> Option<MutexGuard<'_, ()>> {
        match self.shared.receiving.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Takes a notification if one is there, and no other thread is about to.
    pub(super) fn take(&self) -> Result<Option<Notification>, NotifyError> {
        let Some(_alone) = self.alone() else {
            return Ok(None);
        };
        if !self.poll(Some(Duration::ZERO))?.contains(PollFlags::IN) {
            return Ok(None);
        }
        self.receive_ready()
    }

    /// Whether nobody else can receive from it.
    pub(super) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.shared) == 1
    }

    /// Takes a notification that a poll has shown to be there; `None` if its caller has died since. Another receiver may have
    /// been faster, and then this waits for the next.
    pub(super) fn receive_ready(&self) -> Result<Option<Notification>, NotifyError> {
        match sys::receive(self.as_fd()) {
            Ok(received) => Ok(Some(Notification::new(&self.shared, &received))),
            Err(Errno(libc::ENOENT | libc::EINTR)) => Ok(None),
            Err(errno) => Err(NotifyError::kernel(
                "ioctl(SECCOMP_IOCTL_NOTIF_RECV)",
                errno,
            )),
        }
    }

    fn poll(&self, timeout: Option<Duration>) -> Result<PollFlags, NotifyError> {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut polled = [PollFd::new(&self.shared.fd, PollFlags::IN)];
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) => Ok(polled[0].revents()),
            Err(rustix::io::Errno::INTR) => Ok(PollFlags::empty()),
            Err(errno) => Err(NotifyError::kernel("poll", Errno(errno.raw_os_error()))),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.fd.as_fd()
    }
}
