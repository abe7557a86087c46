//! Any number of listeners, served by one loop.
//!
//! The loop alone receives, so a listener that is readable can be received from without asking again. It hands
//! each notification to the handler of its listener: in place, or to one of a number of threads. When these are all busy the loop waits,
//! and with it, in the kernel, all callers: nothing is queued that has no thread.

use std::any::Any;
use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, epoll, eventfd};

use super::{Listener, Notification};

/// Why a handler gave up on a notification.
pub type HandlerError = Box<dyn Error + Send + Sync>;

/// Answers the notifications of a listener.
///
/// A notification that it drops, by returning an error, by a panic, or just so, is answered with ENOSYS.
pub trait Handler: Send + Sync {
    /// Answers a call.
    ///
    /// # Errors
    /// Whatever kept it from it; [`failed`](Self::failed) hears of it.
    fn handle(&self, notification: Notification) -> Result<(), HandlerError>;

    /// Hears of a notification that could not be handled. Its caller has its answer already.
    fn failed(&self, failure: Failure) {
        let _ = failure;
    }

    /// Hears that the last process that had the filter is gone, after the last notification was handled. It is told by a thread for
    /// handlers, where there are such.
    fn ended(&self) {}
}

impl<F> Handler for F
where
    F: Fn(Notification) -> Result<(), HandlerError> + Send + Sync,
{
    fn handle(&self, notification: Notification) -> Result<(), HandlerError> {
        self(notification)
    }
}

/// What became of a notification that was not handled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The handler returned an error.
    #[error("{0}")]
    Error(HandlerError),
    /// The handler panicked, with this message.
    #[error("the handler panicked: {0}")]
    Panic(String),
    /// The listener could not be received from, and is not served any more.
    #[error(transparent)]
    Listener(super::NotifyError),
}

/// Serves listeners, each with a handler of its own.
///
/// ```no_run
/// use callgate::notify::{Listener, Notification, Supervisor};
/// # fn listener() -> Listener { unimplemented!() }
/// let supervisor = Supervisor::new()?;
/// supervisor.add(listener(), |notification: Notification| {
///     notification.fail_with(1)?;
///     Ok(())
/// })?;
/// supervisor.serve()?; // until the last process that has the filter is gone
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Supervisor {
    epoll: OwnedFd,
    /// Readable when the loop is to look at `stopped`.
    wake: OwnedFd,
    stopped: AtomicBool,
    threads: usize,
    served: Mutex<Served>,
    /// One loop at a time.
    serving: Mutex<()>,
}

#[derive(Debug, Default)]
struct Served {
    next_key: u64,
    by_key: HashMap<u64, Arc<Entry>>,
}

struct Entry {
    listener: Listener,
    handler: Box<dyn Handler>,
    /// Whether nobody else receives from it.
    alone: bool,
    /// Whether the last process is gone.
    ended: AtomicBool,
}

/// What the loop hands over.
enum Job {
    Handle(Arc<Entry>, Notification),
    /// To be dropped: with the last of its kind its handler hears of the end.
    Release(Arc<Entry>),
}

/// The key of what wakes the loop.
const WAKE: u64 = u64::MAX;

/// So many listeners that are ready are looked at before the kernel is asked again.
const EVENTS: usize = 64;

impl Supervisor {
    /// One that handles notifications one after the other, in the thread that [serves](Self::serve).
    ///
    /// # Errors
    /// `epoll_create1(2)` or `eventfd(2)` failed, as for want of descriptors.
    pub fn new() -> io::Result<Supervisor> {
        Supervisor::with_threads(0)
    }

    /// One with so many threads to handle notifications, for handlers that take their time. 0 is as [`new`](Self::new).
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_threads(threads: usize) -> io::Result<Supervisor> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let data = epoll::EventData::new_u64(WAKE);
        epoll::add(&epoll, &wake, data, epoll::EventFlags::IN)?;
        Ok(Supervisor {
            epoll,
            wake,
            stopped: AtomicBool::new(false),
            threads,
            served: Mutex::default(),
            serving: Mutex::default(),
        })
    }

    /// Serves one more listener from now on, also while [`serve`](Self::serve) runs.
    ///
    /// # Errors
    /// `epoll_ctl(2)` failed; the listener is dropped then, which answers its callers with ENOSYS.
    pub fn add(&self, listener: Listener, handler: impl Handler + 'static) -> io::Result<()> {
        let alone = listener.is_alone();
        let handler = Box::new(handler);
        let entry = Arc::new(Entry {
            listener,
            handler,
            alone,
            ended: AtomicBool::new(false),
        });
        let mut served = self.served();
        let key = served.next_key;
        let data = epoll::EventData::new_u64(key);
        epoll::add(
            &self.epoll,
            entry.listener.as_fd(),
            data,
            epoll::EventFlags::IN,
        )?;
        served.next_key += 1;
        served.by_key.insert(key, entry);
        Ok(())
    }

    /// How many listeners there are to serve.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.served().by_key.len()
    }

    /// Serves until the last process of the last listener is gone, or [`stop`](Self::stop) is called. What was received is handled
    /// then.
    ///
    /// # Errors
    /// `epoll_wait(2)` failed, or a thread could not be started.
    pub fn serve(&self) -> io::Result<()> {
        self.run(|| self.listeners() > 0)
    }

    /// As [`serve`](Self::serve), but waits for more listeners when there are none.
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    pub fn serve_until_stopped(&self) -> io::Result<()> {
        self.run(|| true)
    }

    /// Ends [`serve`](Self::serve), for good. Callers that wait then go on waiting until the supervisor is dropped, which answers
    /// them with ENOSYS.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // It can't be full: it is written to this once.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    fn run(&self, goes_on: impl Fn() -> bool) -> io::Result<()> {
        let _alone = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        if self.threads == 0 {
            return self.receive_all(goes_on, Job::run);
        }
        // Without room: what is handed over when all are busy waits, and the loop with it.
        let (sender, receiver) = sync_channel::<Job>(0);
        let receiver = &Mutex::new(receiver);
        thread::scope(|scope| {
            for _ in 0..self.threads {
                thread::Builder::new().spawn_scoped(scope, move || handle_all(receiver))?;
            }
            // If all have ended, the notification is dropped with the error, and so answered.
            let result = self.receive_all(goes_on, |job| {
                let _ = sender.send(job);
            });
            // The threads end with it.
            drop(sender);
            result
        })
    }

    fn receive_all(&self, goes_on: impl Fn() -> bool, hand_over: impl Fn(Job)) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        while goes_on() && !self.stopped.load(Ordering::Acquire) {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other?,
            };
            for event in &events {
                self.receive_one(event, &hand_over);
            }
        }
        Ok(())
    }

    fn receive_one(&self, event: &epoll::Event, hand_over: &impl Fn(Job)) {
        let key = event.data.u64();
        // Copied: one can't be referred to within a packed structure.
        let flags = event.flags;
        let Some(entry) = self.served().by_key.get(&key).map(Arc::clone) else {
            return;
        };
        if !flags.contains(epoll::EventFlags::IN) {
            self.remove(key, &entry);
            entry.ended.store(true, Ordering::Release);
            hand_over(Job::Release(entry));
            return;
        }
        let received = if entry.alone {
            entry.listener.receive_ready()
        } else {
            entry.listener.take()
        };
        match received {
            Ok(Some(notification)) => hand_over(Job::Handle(entry, notification)),
            Ok(None) => {}
            Err(error) => {
                self.remove(key, &entry);
                entry.failed(Failure::Listener(error));
            }
        }
    }

    fn remove(&self, key: u64, entry: &Entry) {
        // It is in it, so it can be taken out.
        let _ = epoll::delete(&self.epoll, entry.listener.as_fd());
        self.served().by_key.remove(&key);
    }

    fn served(&self) -> MutexGuard<'_, Served> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a thread does, until the loop has ended.
fn handle_all(receiver: &Mutex<Receiver<Job>>) {
    loop {
        let next = receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        let Ok(job) = next else {
            return;
        };
        job.run();
    }
}

impl Job {
    fn run(self) {
        match self {
            Job::Handle(entry, notification) => entry.handle(notification),
            Job::Release(entry) => drop(entry),
        }
    }
}

impl Entry {
    fn handle(&self, notification: Notification) {
        let handled = catch_unwind(AssertUnwindSafe(|| self.handler.handle(notification)));
        match handled {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.failed(Failure::Error(error)),
            Err(panic) => self.failed(Failure::Panic(message(panic.as_ref()))),
        }
    }

    /// Tells the handler, which can't break the loop by that either.
    fn failed(&self, failure: Failure) {
        let _ = catch_unwind(AssertUnwindSafe(|| self.handler.failed(failure)));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.ended.load(Ordering::Acquire) {
            let _ = catch_unwind(AssertUnwindSafe(|| self.handler.ended()));
        }
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "with no message".to_owned())
}
