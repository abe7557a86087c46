//! What Rust can't check: the C library that is measured, and system calls made by number.
//!
//! The only `unsafe` of this crate. It declares no more of libseccomp than is needed to build a filter the way
//! container runtimes do (`seccomp.h`, version 2.5), and lets [`Context`] own what it hands out.

use std::ffi::{CString, c_char, c_int, c_long, c_uint, c_void};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

/// `enum scmp_filter_attr`: the attributes that are set here.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum Attribute {
    /// `SCMP_FLTATR_CTL_NNP`
    NoNewPrivileges = 3,
    /// `SCMP_FLTATR_CTL_OPTIMIZE`: 1 sorts by priority, 2 makes a tree of numbers.
    Optimize = 8,
}

/// `struct scmp_arg_cmp`: a condition on one argument.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Comparison {
    /// Which argument, 0 to 5.
    pub(crate) arg: c_uint,
    /// `enum scmp_compare`, 1 to 7.
    pub(crate) op: c_uint,
    /// The datum, or the mask of a masked comparison.
    pub(crate) datum_a: u64,
    /// The datum of a masked comparison.
    pub(crate) datum_b: u64,
}

/// `struct scmp_version`
#[repr(C)]
struct Version {
    major: c_uint,
    minor: c_uint,
    micro: c_uint,
}

// Linked by the build script.
unsafe extern "C" {
    fn seccomp_version() -> *const Version;
    fn seccomp_init(default_action: u32) -> *mut c_void;
    fn seccomp_release(context: *mut c_void);
    fn seccomp_attr_set(context: *mut c_void, attribute: c_uint, value: u32) -> c_int;
    fn seccomp_arch_native() -> u32;
    fn seccomp_arch_add(context: *mut c_void, arch: u32) -> c_int;
    fn seccomp_arch_remove(context: *mut c_void, arch: u32) -> c_int;
    fn seccomp_syscall_resolve_name(name: *const c_char) -> c_int;
    fn seccomp_syscall_resolve_name_arch(arch: u32, name: *const c_char) -> c_int;
    fn seccomp_rule_add_array(
        context: *mut c_void,
        action: u32,
        syscall: c_int,
        count: c_uint,
        comparisons: *const Comparison,
    ) -> c_int;
    fn seccomp_export_bpf(context: *mut c_void, fd: c_int) -> c_int;
}

/// A call of the library failed: which, and the errno it gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    /// The function.
    pub(crate) call: &'static str,
    /// The errno, positive.
    pub(crate) errno: i32,
}

impl std::error::Error for Failed {}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let error = std::io::Error::from_raw_os_error(self.errno);
        write!(f, "{}: {error}", self.call)
    }
}

/// A filter under construction.
#[derive(Debug)]
pub(crate) struct Context(NonNull<c_void>);

impl Context {
    /// A filter of the library's native architecture, with this default action (`SECCOMP_RET_*`).
    pub(crate) fn new(default_action: u32) -> Result<Context, Failed> {
        // SAFETY: takes a number, and gives null or a context that is ours to release.
        let context = unsafe { seccomp_init(default_action) };
        let failed = Failed {
            call: "seccomp_init",
            errno: libc::EINVAL,
        };
        NonNull::new(context).map(Context).ok_or(failed)
    }

    /// Sets an attribute.
    pub(crate) fn set(&mut self, attribute: Attribute, value: u32) -> Result<(), Failed> {
        // SAFETY: the context lives until `self` is dropped, and nothing else uses it meanwhile.
        let done = unsafe { seccomp_attr_set(self.0.as_ptr(), attribute as c_uint, value) };
        result("seccomp_attr_set", done)
    }

    /// Takes an architecture in, by its token.
    pub(crate) fn add_arch(&mut self, token: u32) -> Result<(), Failed> {
        // SAFETY: as in `set`.
        let done = unsafe { seccomp_arch_add(self.0.as_ptr(), token) };
        result("seccomp_arch_add", done)
    }

    /// Leaves an architecture out again.
    pub(crate) fn remove_arch(&mut self, token: u32) -> Result<(), Failed> {
        // SAFETY: as in `set`.
        let done = unsafe { seccomp_arch_remove(self.0.as_ptr(), token) };
        result("seccomp_arch_remove", done)
    }

    /// Adds a rule: the action (`SECCOMP_RET_*`) where all comparisons hold. The number is the native
    /// architecture's, or the library's own negative one for calls which that lacks.
    pub(crate) fn add_rule(
        &mut self,
        action: u32,
        syscall: i32,
        comparisons: &[Comparison],
    ) -> Result<(), Failed> {
        let count = c_uint::try_from(comparisons.len()).unwrap_or(c_uint::MAX);
        let array = comparisons.as_ptr();
        let context = self.0.as_ptr();
        // SAFETY: as in `set`; the array has `count` elements and is only read during the call.
        let done = unsafe { seccomp_rule_add_array(context, action, syscall, count, array) };
        result("seccomp_rule_add_array", done)
    }

    /// Writes the program, an array of `struct sock_filter` in the byte order of its architecture, to a file.
    pub(crate) fn export(&self, file: BorrowedFd<'_>) -> Result<(), Failed> {
        // SAFETY: as in `set`; the descriptor is open during the call.
        let done = unsafe { seccomp_export_bpf(self.0.as_ptr(), file.as_raw_fd()) };
        result("seccomp_export_bpf", done)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: it was given by `seccomp_init`, and this is its last use.
        unsafe { seccomp_release(self.0.as_ptr()) }
    }
}

/// The library's version.
pub(crate) fn version() -> String {
    // SAFETY: has no preconditions.
    let version = unsafe { seccomp_version() };
    // SAFETY: it is null or points to a structure that lives as long as the program.
    let version = unsafe { version.as_ref() };
    version.map_or_else(
        || "of unknown version".to_owned(),
        |v| format!("{}.{}.{}", v.major, v.minor, v.micro),
    )
}

/// The token of the architecture that the library was built for.
pub(crate) fn native_arch() -> u32 {
    // SAFETY: has no preconditions.
    unsafe { seccomp_arch_native() }
}

/// The number of a call as [`Context::add_rule`] wants it, or `None` if the library has no such name.
pub(crate) fn resolve(name: &str) -> Option<i32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the string ends in 0 and is only read during the call.
    let number = unsafe { seccomp_syscall_resolve_name(name.as_ptr()) };
    (number != UNKNOWN_NAME).then_some(number)
}

/// The number of a call on an architecture, or `None` if the library has none there.
pub(crate) fn number(token: u32, name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: as in `resolve`.
    let number = unsafe { seccomp_syscall_resolve_name_arch(token, name.as_ptr()) };
    u32::try_from(number).ok()
}

/// Makes a system call whose arguments are all numbers, and drops what it returns.
///
/// For measurements only: the calls made here take no pointers, or are answered by a filter.
pub(crate) fn system_call(number: c_long, args: [c_long; 3]) {
    // SAFETY: the caller passes calls that touch no memory of this process.
    unsafe { libc::syscall(number, args[0], args[1], args[2]) };
}

/// `__NR_SCMP_ERROR`
const UNKNOWN_NAME: c_int = -1;

fn result(call: &'static str, done: c_int) -> Result<(), Failed> {
    let failed = |errno| Failed { call, errno };
    if done < 0 { Err(failed(-done)) } else { Ok(()) }
}
