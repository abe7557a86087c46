//! What a call's pointers point to: the caller's memory, through `/proc/PID/mem`.
//!
//! A thread id is no handle: the caller may die, and another thread get its id. So the notification is looked at after the file
//! is opened, which ties the file to the caller, and again after each read, since a caller that has left its call may have
//! used the memory for something else (`seccomp_unotify(2)`, "Caveats").

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::unix::fs::FileExt;

use super::Notification;

/// The memory of a caller that waits for its answer. Its other threads can change it at any time.
#[derive(Debug)]
pub struct Memory<'a> {
    notification: &'a Notification,
    file: File,
}

/// The caller's memory could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The caller doesn't wait any more, so what was read means nothing. An ordinary event.
    #[error("the caller is gone")]
    CallerGone,
    /// The caller has no id in the supervisor's pid namespace.
    #[error("the caller is in a pid namespace that can't be seen from here")]
    NotVisible,
    /// `/proc/PID/mem` can't be opened, as without the right to trace the caller.
    #[error("/proc/{pid}/mem: {error}")]
    Open {
        /// The thread.
        pid: u32,
        /// Why.
        error: io::Error,
    },
    /// There is no memory at the address, or not that much: the kernel's own answer would be EFAULT.
    #[error("no memory at 0x{0:x}")]
    Unmapped(u64),
    /// The string has no end within so many bytes.
    #[error("no end of the string within {0} bytes")]
    TooLong(usize),
    /// The structure is shorter than its kind is, or longer: the kernel's own answer would be EINVAL or E2BIG.
    #[error("a structure of {0} bytes is none of this kind")]
    Length(u64),
}

/// A socket address (`struct sockaddr`), by its family.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketAddress {
    /// `AF_UNIX`, with a path; empty if it has none.
    UnixPath(Vec<u8>),
    /// `AF_UNIX`, with a name that no file has, without its leading zero.
    UnixAbstract(Vec<u8>),
    /// `AF_INET`.
    V4(SocketAddrV4),
    /// `AF_INET6`.
    V6(SocketAddrV6),
    /// `AF_NETLINK`: port id and groups.
    Netlink(u32, u32),
    /// Another family, and what follows its two bytes.
    Other(u16, Vec<u8>),
}

/// `struct open_how`, the third argument of `openat2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenHow {
    /// `O_*`.
    pub flags: u64,
    /// The mode of a file that is made.
    pub mode: u64,
    /// `RESOLVE_*`.
    pub resolve: u64,
}

/// Reads don't cross a page that need not be there. Every page size is a multiple of this.
const PAGE: u64 = 4096;
/// `sizeof(struct sockaddr_storage)`, the longest address the kernel takes.
const LONGEST_ADDRESS: u64 = 128;

impl<'a> Memory<'a> {
    pub(super) fn open(notification: &'a Notification) -> Result<Memory<'a>, MemoryError> {
        let pid = notification.pid();
        if pid == 0 {
            return Err(MemoryError::NotVisible);
        }
        let opened = File::open(format!("/proc/{pid}/mem"));
        // Only if the caller waits still, the file is of the caller and not of a later holder of its id.
        if !notification.is_alive() {
            return Err(MemoryError::CallerGone);
        }
        let file = opened.map_err(|error| MemoryError::Open { pid, error })?;
        Ok(Memory { notification, file })
    }

    /// Fills a buffer from an address.
    ///
    /// # Errors
    /// [`MemoryError::Unmapped`] with the first address where nothing is; [`MemoryError::CallerGone`].
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), MemoryError> {
        let read = self.fill(address, buffer);
        if self.notification.is_alive() {
            read
        } else {
            Err(MemoryError::CallerGone)
        }
    }

    /// So many bytes from an address.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn bytes(&self, address: u64, length: usize) -> Result<Vec<u8>, MemoryError> {
        let mut bytes = vec![0; length];
        self.read(address, &mut bytes)?;
        Ok(bytes)
    }

    /// The string at an address, up to its zero byte, which must be among the first `limit` bytes (4096 for paths).
    ///
    /// # Errors
    /// [`MemoryError::TooLong`]; else as [`read`](Self::read).
    pub fn c_string(&self, address: u64, limit: usize) -> Result<CString, MemoryError> {
        let mut bytes = Vec::new();
        while bytes.len() < limit {
            let at = address.wrapping_add(bytes.len() as u64);
            let to_page_end = usize::try_from(PAGE - at % PAGE).unwrap_or(1);
            let piece = self.bytes(at, to_page_end.min(limit - bytes.len()))?;
            let end = piece.iter().position(|byte| *byte == 0);
            bytes.extend_from_slice(&piece[..end.unwrap_or(piece.len())]);
            if end.is_some() {
                return CString::new(bytes).map_err(|_| MemoryError::TooLong(limit));
            }
        }
        Err(MemoryError::TooLong(limit))
    }

    /// The socket address of `length` bytes at an address, as `connect`, `bind` and `sendto` take it.
    ///
    /// # Errors
    /// [`MemoryError::Length`] if the family's addresses aren't so short, or none is so long; else as
    /// [`read`](Self::read).
    pub fn socket_address(&self, address: u64, length: u64) -> Result<SocketAddress, MemoryError> {
        if !(2..=LONGEST_ADDRESS).contains(&length) {
            return Err(MemoryError::Length(length));
        }
        let length = usize::try_from(length).map_err(|_| MemoryError::Length(length))?;
        SocketAddress::parse(&self.bytes(address, length)?)
    }

    /// The `struct open_how` of `size` bytes at an address.
    ///
    /// # Errors
    /// [`MemoryError::Length`] if it is shorter than the first version, or longer with something in the part that is
    /// not known; else as [`read`](Self::read).
    pub fn open_how(&self, address: u64, size: u64) -> Result<OpenHow, MemoryError> {
        if !(24..=PAGE).contains(&size) {
            return Err(MemoryError::Length(size));
        }
        let length = usize::try_from(size).map_err(|_| MemoryError::Length(size))?;
        let bytes = self.bytes(address, length)?;
        if bytes[24..].iter().any(|byte| *byte != 0) {
            return Err(MemoryError::Length(size));
        }
        let word = |i: usize| u64::from_ne_bytes(std::array::from_fn(|j| bytes[8 * i + j]));
        Ok(OpenHow {
            flags: word(0),
            mode: word(1),
            resolve: word(2),
        })
    }

    fn fill(&self, address: u64, buffer: &mut [u8]) -> Result<(), MemoryError> {
        let mut done = 0;
        while done < buffer.len() {
            let at = address.wrapping_add(done as u64);
            match self.file.read_at(&mut buffer[done..], at) {
                Ok(0) => return Err(MemoryError::Unmapped(at)),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(MemoryError::Unmapped(at)),
            }
        }
        Ok(())
    }
}

impl SocketAddress {
    /// From the bytes of a `struct sockaddr`: the family in this machine's byte order, then what the family has there.
    fn parse(bytes: &[u8]) -> Result<SocketAddress, MemoryError> {
        let short = || MemoryError::Length(bytes.len() as u64);
        let (family, rest) = bytes.split_first_chunk().ok_or_else(short)?;
        let family = u16::from_ne_bytes(*family);
        let u16_at = |at: usize| Some([*rest.get(at)?, *rest.get(at + 1)?]);
        let u32_at = |at: usize| rest.get(at..at + 4).and_then(|word| word.try_into().ok());
        Ok(match i32::from(family) {
            libc::AF_UNIX => match rest {
                [0, name @ ..] => SocketAddress::UnixAbstract(name.to_vec()),
                path => {
                    let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
                    SocketAddress::UnixPath(path.to_vec())
                }
            },
            libc::AF_INET if bytes.len() >= 16 => {
                let port = u16::from_be_bytes(u16_at(0).ok_or_else(short)?);
                let address: [u8; 4] = u32_at(2).ok_or_else(short)?;
                SocketAddress::V4(SocketAddrV4::new(Ipv4Addr::from(address), port))
            }
            // The scope came later, so the kernel takes an address without it.
            libc::AF_INET6 if bytes.len() >= 24 => {
                let port = u16::from_be_bytes(u16_at(0).ok_or_else(short)?);
                let flow = u32_at(2).map_or(0, u32::from_be_bytes);
                let address: [u8; 16] = std::array::from_fn(|i| rest[6 + i]);
                let scope = u32_at(22).map_or(0, u32::from_ne_bytes);
                let address = Ipv6Addr::from(address);
                SocketAddress::V6(SocketAddrV6::new(address, port, flow, scope))
            }
            libc::AF_NETLINK if bytes.len() >= 12 => SocketAddress::Netlink(
                u32_at(2).map_or(0, u32::from_ne_bytes),
                u32_at(6).map_or(0, u32::from_ne_bytes),
            ),
            libc::AF_INET | libc::AF_INET6 | libc::AF_NETLINK => return Err(short()),
            _ => SocketAddress::Other(family, rest.to_vec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(family: i32, rest: &[u8]) -> Option<SocketAddress> {
        let family = u16::try_from(family).unwrap().to_ne_bytes();
        SocketAddress::parse(&[&family, rest].concat()).ok()
    }

    #[test]
    fn addresses_of_every_family() {
        let v4 = [0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            parse(libc::AF_INET, &v4),
            Some(SocketAddress::V4("127.0.0.1:80".parse().unwrap()))
        );
        assert_eq!(parse(libc::AF_INET, &v4[..13]), None);
        let mut v6 = [0; 26];
        (v6[1], v6[21]) = (81, 1);
        assert_eq!(
            parse(libc::AF_INET6, &v6),
            Some(SocketAddress::V6("[::1]:81".parse().unwrap()))
        );
        assert_eq!(parse(libc::AF_INET6, &v6[..22]), parse(libc::AF_INET6, &v6));
        assert_eq!(parse(libc::AF_INET6, &v6[..21]), None);
        assert_eq!(
            parse(libc::AF_UNIX, b"/run/x\0rest"),
            Some(SocketAddress::UnixPath(b"/run/x".to_vec()))
        );
        assert_eq!(
            parse(libc::AF_UNIX, b""),
            Some(SocketAddress::UnixPath(vec![]))
        );
        assert_eq!(
            parse(libc::AF_UNIX, b"\0a\0b"),
            Some(SocketAddress::UnixAbstract(b"a\0b".to_vec()))
        );
        let netlink = [&[0, 0][..], &7_u32.to_ne_bytes(), &1_u32.to_ne_bytes()].concat();
        assert_eq!(
            parse(libc::AF_NETLINK, &netlink),
            Some(SocketAddress::Netlink(7, 1))
        );
        assert_eq!(
            parse(40, &[1, 2]),
            Some(SocketAddress::Other(40, vec![1, 2]))
        );
        assert!(SocketAddress::parse(&[1]).is_err());
    }
}
