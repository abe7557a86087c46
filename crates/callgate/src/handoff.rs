//! From a runtime to an agent: a container's listener over the Unix socket of its `listenerPath`
//! (runtime-spec, `config-linux.md`, "The Container Process State").
//!
//! The runtime connects, sends one state as JSON with its descriptors (`SCM_RIGHTS`) at the first byte, and closes. Since
//! whoever may connect may say what it likes, the receiving side takes nothing on trust: all is bounded in bytes,
//! descriptors and time, and what is refused is closed.
//!
//! The right to connect is the right to write to the socket's file, so [`bind`] makes one that is its owner's alone. Who
//! has connected is in [`Container::peer`].

use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use oci_spec::runtime::{ContainerProcessState, SECCOMP_FD_NAME};
use rustix::fs::{Mode, fchmod};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::notify::{Listener, NotifyError};
use crate::sys;

/// The most bytes that a state may have. Real ones have a few hundred, and annotations.
pub const MAX_STATE_BYTES: usize = 1 << 20;
/// The most descriptors that may come with one. The runtime-spec names a single one.
pub const MAX_DESCRIPTORS: usize = 16;

/// A container that a runtime has announced.
#[derive(Debug)]
#[non_exhaustive]
pub struct Container {
    /// What the runtime says of it. Its `pid` is as the *runtime* sees it, and only said: see [`peer`](Self::peer).
    pub state: ContainerProcessState,
    /// Its listener.
    pub listener: Listener,
    /// The other descriptors that came, with their names.
    pub others: Vec<(String, OwnedFd)>,
    /// Who has sent it, as the kernel says.
    pub peer: Peer,
}

/// The process at the other end of a socket, when it connected (`SO_PEERCRED`, `unix(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its id, 0 if it is in a pid namespace that can't be seen from here.
    pub pid: i32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

/// A listener could not be handed over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandoffError {
    /// A call on the socket failed.
    #[error("{call}: {error}")]
    Socket {
        /// The call.
        call: &'static str,
        /// Why.
        error: io::Error,
    },
    /// The peer did not send all of it in time.
    #[error("the runtime did not finish in time")]
    TimedOut,
    /// It is longer than [`MAX_STATE_BYTES`].
    #[error("the container process state is longer than {MAX_STATE_BYTES} bytes")]
    TooLong,
    /// There are more than [`MAX_DESCRIPTORS`].
    #[error("more than {MAX_DESCRIPTORS} descriptors came")]
    TooManyDescriptors,
    /// Descriptors came after the first message.
    #[error("descriptors came after the first message")]
    LateDescriptors,
    /// It isn't the JSON of a container process state.
    #[error("the container process state: {0}")]
    Json(#[from] serde_json::Error),
    /// A member that must be there is missing, or says nothing.
    #[error("the container process state has no {0}")]
    Missing(&'static str),
    /// There are not as many descriptors as names.
    #[error("{named} descriptors are named, and {sent} came")]
    Count {
        /// How many names there are.
        named: usize,
        /// How many descriptors came.
        sent: usize,
    },
    /// There must be one listener.
    #[error("{0} descriptors are named `seccompFd`, where one must be")]
    Listeners(usize),
    /// What is named as the listener is none.
    #[error("`seccompFd`: {0}")]
    Listener(#[from] NotifyError),
}

/// Sends a container's listener to the agent at `path`. The `fds` of the state are set to name it.
///
/// This makes system calls that a filter may stop, with nobody there to answer yet: it is for a process that doesn't have the
/// filter.
///
/// # Errors
/// [`HandoffError::Socket`]: nobody listens, or the agent has hung up, or took nothing for `timeout`;
/// [`HandoffError::Json`] for a bundle path that is not UTF-8.
pub fn send(
    path: &Path,
    state: &ContainerProcessState,
    listener: BorrowedFd<'_>,
    timeout: Duration,
) -> Result<(), HandoffError> {
    let mut state = state.clone();
    state.set_fds(vec![SECCOMP_FD_NAME.to_owned()]);
    let json = serde_json::to_vec(&state)?;
    let mut stream = UnixStream::connect(path).map_err(failed("connect"))?;
    let timeout = Some(timeout.max(Duration::from_millis(1)));
    stream
        .set_write_timeout(timeout)
        .map_err(failed("setsockopt"))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [listener];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let sent = rustix::net::sendmsg(
        &stream,
        &[IoSlice::new(&json)],
        &mut control,
        SendFlags::NOSIGNAL,
    );
    let sent = sent.map_err(|errno| failed("sendmsg")(errno.into()))?;
    // The descriptors have gone with the first byte; what didn't fit follows without them.
    stream.write_all(&json[sent..]).map_err(failed("write"))
}

/// Receives a container from a runtime that has connected, which has `timeout` for all of it, an hour at most.
///
/// # Errors
/// [`HandoffError`]; all descriptors that came are closed then, as is the connection in any case.
pub fn receive(stream: UnixStream, timeout: Duration) -> Result<Container, HandoffError> {
    let peer = sys::peer(stream.as_fd())
        .map_err(|errno| failed("getsockopt")(io::Error::from_raw_os_error(errno.0)))?;
    let (json, descriptors) = receive_all(&stream, timeout)?;
    drop(stream);
    let state: ContainerProcessState = serde_json::from_slice(&json)?;
    // The types have defaults where the runtime-spec has REQUIRED.
    let required = [
        ("ociVersion", !state.version().is_empty()),
        ("pid", *state.pid() > 0),
        ("state.id", !state.state().id().is_empty()),
    ];
    if let Some((member, _)) = required.into_iter().find(|(_, there)| !there) {
        return Err(HandoffError::Missing(member));
    }
    let (named, sent) = (state.fds().len(), descriptors.len());
    if named != sent {
        return Err(HandoffError::Count { named, sent });
    }
    let named = state.fds().iter().cloned().zip(descriptors);
    let (mut listeners, others): (Vec<_>, Vec<_>) =
        named.partition(|(name, _)| name == SECCOMP_FD_NAME);
    let count = listeners.len();
    let (Some((_, listener)), 1) = (listeners.pop(), count) else {
        return Err(HandoffError::Listeners(count));
    };
    Ok(Container {
        state,
        listener: Listener::new(listener)?,
        others,
        peer,
    })
}

/// Listens at a path, with a socket that only its owner may write to, from its first moment on. A socket at which nobody
/// listens any more is replaced.
///
/// # Errors
/// [`HandoffError::Socket`], with EADDRINUSE if something else is there, or somebody listens.
pub fn bind(path: &Path) -> Result<UnixListener, HandoffError> {
    remove_stale(path);
    let call = |call: &'static str| move |errno: rustix::io::Errno| failed(call)(errno.into());
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(call("socket"))?;
    // Linux makes the file with the mode of the socket, so there is no moment at which others may connect.
    fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(call("fchmod"))?;
    let address = SocketAddrUnix::new(path).map_err(call("bind"))?;
    rustix::net::bind(&socket, &address).map_err(call("bind"))?;
    rustix::net::listen(&socket, 128).map_err(call("listen"))?;
    Ok(UnixListener::from(socket))
}

/// Removes what a listener that is gone has left.
fn remove_stale(path: &Path) {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(path).is_err_and(|error| refused(&error)) {
        // If it can't be removed, to bind fails and says so.
        let _ = fs::remove_file(path);
    }
}

/// A whole document, or all bytes up to the end, and the descriptors that came with the first of them.
///
/// The runtime-spec has the connection closed behind the state. runc leaves it open for as long as it runs.
fn receive_all(
    stream: &UnixStream,
    timeout: Duration,
) -> Result<(Vec<u8>, Vec<OwnedFd>), HandoffError> {
    let deadline = Instant::now() + timeout.min(Duration::from_secs(3600));
    let mut json = Vec::new();
    let mut descriptors = Vec::new();
    let mut nesting = Nesting::default();
    let mut piece = vec![0; 64 << 10];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(HandoffError::TimedOut);
        }
        stream
            .set_read_timeout(Some(left))
            .map_err(failed("setsockopt"))?;
        let first = json.is_empty();
        // The first byte by itself, since the kernel joins messages up to the one with descriptors.
        let room = if first { 1 } else { piece.len() };
        let (count, came) = receive_piece(stream, &mut piece[..room])?;
        if !first && !came.is_empty() {
            return Err(HandoffError::LateDescriptors);
        }
        descriptors.extend(came);
        if count == 0 {
            return Ok((json, descriptors));
        }
        json.extend_from_slice(&piece[..count]);
        if json.len() > MAX_STATE_BYTES {
            return Err(HandoffError::TooLong);
        }
        if nesting.ends_within(&piece[..count]) {
            return Ok((json, descriptors));
        }
    }
}

/// How deep within a JSON document its bytes so far have led.
#[derive(Default)]
struct Nesting {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    /// Whether the outermost object or array ends within the next bytes. Whether it is JSON is for others to say.
    fn ends_within(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth <= 1 => return true,
                b'}' | b']' => self.depth -= 1,
                _ => {}
            }
        }
        false
    }
}

fn receive_piece(
    stream: &UnixStream,
    piece: &mut [u8],
) -> Result<(usize, Vec<OwnedFd>), HandoffError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut into = [IoSliceMut::new(piece)];
        match rustix::net::recvmsg(stream, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return Err(HandoffError::TimedOut),
            other => break other.map_err(|errno| failed("recvmsg")(errno.into()))?,
        }
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(came) = message {
            descriptors.extend(came);
        }
    }
    // The room is rounded up.
    if received.flags.contains(ReturnFlags::CTRUNC) || descriptors.len() > MAX_DESCRIPTORS {
        return Err(HandoffError::TooManyDescriptors);
    }
    Ok((received.bytes, descriptors))
}

fn failed(call: &'static str) -> impl Fn(io::Error) -> HandoffError {
    move |error| HandoffError::Socket { call, error }
}
