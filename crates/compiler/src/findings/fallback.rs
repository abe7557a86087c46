//! Denials after which a C library gives up, where it would have had another way.
//!
//! A library that makes a newer call first learns from ENOSYS that the kernel lacks it, and makes the older one; of any other errno
//! it takes that the call was made and failed.

use super::{Subject, is_open};
use crate::action::Action;
use crate::arch::Arch;
use crate::errno;
use crate::notice::{Code, JsonPath, Notice};
use crate::policy::Ground;
use crate::syscalls;

/// A newer call, the older ones of which any may follow, and who relies on it.
struct Fallback {
    newer: &'static str,
    older: &'static [&'static str],
    who: &'static str,
}

const fn fallback(
    newer: &'static str,
    older: &'static [&'static str],
    who: &'static str,
) -> Fallback {
    Fallback { newer, older, who }
}

const FALLBACKS: &[Fallback] = &[
    fallback(
        "clone3",
        &["clone"],
        "glibc from 2.34 on starts no thread then",
    ),
    fallback(
        "faccessat2",
        &["faccessat"],
        "glibc from 2.33 on fails in `faccessat` and `euidaccess` then",
    ),
    fallback(
        "fchmodat2",
        &["fchmodat"],
        "glibc from 2.39 on fails in `fchmodat` with flags then",
    ),
    fallback(
        "statx",
        &["newfstatat", "fstatat64", "stat", "stat64"],
        "musl from 1.2.4 on and other C libraries fail in `stat` then",
    ),
    fallback(
        "openat2",
        &["openat"],
        "programs that fall back to `openat` don't then",
    ),
    fallback(
        "epoll_pwait2",
        &["epoll_pwait"],
        "glibc from 2.35 on fails in `epoll_pwait2` then",
    ),
    fallback("preadv2", &["preadv"], "glibc fails in `preadv2` then"),
    fallback("pwritev2", &["pwritev"], "glibc fails in `pwritev2` then"),
    fallback(
        "clock_gettime64",
        &["clock_gettime"],
        "32-bit programs with 64-bit times have no clock then",
    ),
    fallback(
        "clock_nanosleep_time64",
        &["clock_nanosleep"],
        "32-bit programs with 64-bit times can't sleep then",
    ),
    fallback(
        "futex_time64",
        &["futex"],
        "32-bit programs with 64-bit times can't wait then",
    ),
    fallback(
        "ppoll_time64",
        &["ppoll"],
        "32-bit programs with 64-bit times can't wait then",
    ),
    fallback(
        "pselect6_time64",
        &["pselect6"],
        "32-bit programs with 64-bit times can't wait then",
    ),
    fallback(
        "utimensat_time64",
        &["utimensat"],
        "32-bit programs with 64-bit times can't set times of files then",
    ),
];

pub(super) fn findings(subject: &Subject<'_>) -> Vec<Notice> {
    let mut found = Vec::new();
    for fallback in FALLBACKS {
        let on = subject
            .archs()
            .into_iter()
            .find_map(|arch| finding(subject, fallback, arch));
        found.extend(on);
    }
    found
}

fn finding(subject: &Subject<'_>, fallback: &Fallback, arch: Arch) -> Option<Notice> {
    let (call, action) = subject.plainly(arch, fallback.newer)?;
    let Action::Errno(number) = action else {
        return None;
    };
    let native = subject.context.arch;
    let has_older = fallback.older.iter().any(|older| {
        let on_abi = syscalls::number(arch, older).is_some();
        on_abi
            && subject
                .plainly(arch, older)
                .is_some_and(|(_, action)| is_open(action))
    });
    if number == errno::enosys(native) || !has_older {
        return None;
    }
    let verdict = subject.policy().decide(&call);
    let path = match verdict.ground {
        Ground::Rule(id) => subject.resolved.source(id)?.name,
        _ => named(subject, fallback.newer)
            .unwrap_or_else(|| subject.profile.path.member("defaultAction")),
    };
    let message = format!(
        "`{}` gets {} on {arch}, not ENOSYS: {}",
        fallback.newer,
        action.display(native),
        fallback.who
    );
    let help = format!(
        "add an entry on `{}` with SCMP_ACT_ERRNO and `errnoRet` {}, or allow it",
        fallback.newer,
        errno::enosys(native)
    );
    Some(
        Notice::new(Code::WrongErrno, path, message)
            .help(help)
            .witness(call),
    )
}

fn named(subject: &Subject<'_>, call: &str) -> Option<JsonPath> {
    subject.naming(call).map(|(_, path)| path).next()
}
