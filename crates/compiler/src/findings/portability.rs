//! Where a profile doesn't hold: kernels, architectures, runtimes and libraries other than those at hand.
//!
//! What is known of versions is written down here and in `syscalls/since.txt`. Of what is not known, that is said.

use std::fmt;
use std::str::FromStr;

use super::{Subject, is_open};
use crate::action::Action;
use crate::arch::Arch;
use crate::context::{Context, KernelVersion};
use crate::notice::{Code, JsonPath, Notice};
use crate::policy::{Resolved, resolve};
use crate::profile::{Entry, Flag, Profile};
use crate::syscalls;

/// Something that a profile is to be used with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Programs of an ABI.
    Abi(Arch),
    /// A kernel.
    Linux(Version),
    /// The runtime runc.
    Runc(Version),
    /// The runtime crun.
    Crun(Version),
    /// The library that runtimes hand profiles to.
    Libseccomp(Version),
}

/// A version, `MAJOR.MINOR.PATCH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u16, pub u16, pub u16);

/// The text is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a target: an architecture, or linux-X.Y, runc-X.Y, crun-X.Y or libseccomp-X.Y with its version"
)]
pub struct NotATarget(pub String);

impl FromStr for Target {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Target, NotATarget> {
        let refused = || NotATarget(text.to_owned());
        let Some((name, version)) = text.split_once('-') else {
            return text.parse().map(Target::Abi).map_err(|_| refused());
        };
        let version = parse_version(version).ok_or_else(refused)?;
        match name {
            "linux" => Ok(Target::Linux(version)),
            "runc" => Ok(Target::Runc(version)),
            "crun" => Ok(Target::Crun(version)),
            "libseccomp" => Ok(Target::Libseccomp(version)),
            _ => Err(refused()),
        }
    }
}

fn parse_version(text: &str) -> Option<Version> {
    let mut parts = text.split('.').map(|part| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u16>().ok().filter(|_| digits)
    });
    let (major, minor) = (parts.next()??, parts.next()??);
    let patch = match parts.next() {
        Some(patch) => patch?,
        None => 0,
    };
    parts
        .next()
        .is_none()
        .then_some(Version(major, minor, patch))
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Version(major, minor, patch) = self;
        match patch {
            0 => write!(f, "{major}.{minor}"),
            _ => write!(f, "{major}.{minor}.{patch}"),
        }
    }
}

/// Says where a profile doesn't hold on some targets.
///
/// ```
/// use callgate_compiler::findings::portability::{Target, portability};
/// use callgate_compiler::{Arch, Code, Context, Profile};
///
/// let profile = Profile::parse(br#"{ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
///     { "names": ["open", "close"], "action": "SCMP_ACT_ALLOW" }
/// ] }"#)?;
/// let context = Context::new(Arch::X86_64, "6.18".parse()?);
/// let found = portability(&profile, &context, &["aarch64".parse::<Target>()?]);
/// // aarch64 has no open, and openat, which does the same there, isn't allowed.
/// assert_eq!(found[0].code, Code::MissingEquivalent);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn portability(profile: &Profile, context: &Context, targets: &[Target]) -> Vec<Notice> {
    let mut found = Vec::new();
    for target in targets {
        match *target {
            Target::Abi(arch) => found.extend(on_abi(profile, context, arch)),
            Target::Linux(version) => found.extend(on_linux(profile, context, version)),
            Target::Runc(version) => {
                found.extend(features(profile, context, "runc", version, RUNC))
            }
            Target::Crun(version) => found.push(unknown(profile, &format!("crun {version}"))),
            Target::Libseccomp(version) => found.extend(with_libseccomp(profile, context, version)),
        }
    }
    found
}

/// The profile as it is under a kernel that runs an ABI.
fn resolved_for(profile: &Profile, context: &Context, arch: Arch) -> Option<(Context, Resolved)> {
    let natives = [context.arch, arch].into_iter().chain(Arch::ALL);
    let native = natives
        .into_iter()
        .find(|native| native.is_native() && native.runs(arch))?;
    let context = Context {
        arch: native,
        ..context.clone()
    };
    let resolved = resolve(profile, &context).ok()?;
    Some((context, resolved))
}

fn on_abi(profile: &Profile, context: &Context, arch: Arch) -> Vec<Notice> {
    let Some((context, resolved)) = resolved_for(profile, context, arch) else {
        return vec![unknown(profile, arch.name())];
    };
    let subject = Subject {
        profile,
        context: &context,
        resolved: &resolved,
    };
    if !subject.archs().contains(&arch) {
        let message = format!("programs of {arch} can't run: it is not among the architectures");
        return vec![Notice::new(
            Code::MissingArchitecture,
            profile.path.clone(),
            message,
        )];
    }
    let exists = |call: &str| syscalls::number(arch, call).is_some();
    missing_equivalents(&subject, arch, &exists, &format!("on {arch}"))
}

fn on_linux(profile: &Profile, context: &Context, version: Version) -> Vec<Notice> {
    let kernel = KernelVersion {
        major: version.0.into(),
        minor: version.1.into(),
    };
    let context = Context {
        kernel,
        ..context.clone()
    };
    let Ok(resolved) = resolve(profile, &context) else {
        return Vec::new();
    };
    let subject = Subject {
        profile,
        context: &context,
        resolved: &resolved,
    };
    let is_newer =
        |call: &str| syscalls::since(call).is_some_and(|since| since > (version.0, version.1));
    let name = format!("Linux {version}");
    let mut found = newer_names(&subject, &name, &is_newer, "don't exist there");
    for arch in subject.archs() {
        let exists = |call: &str| syscalls::number(arch, call).is_some() && !is_newer(call);
        found.extend(missing_equivalents(
            &subject,
            arch,
            &exists,
            &format!("under {name} on {arch}"),
        ));
    }
    found.extend(features(profile, &context, "Linux", version, LINUX));
    found
}

fn with_libseccomp(profile: &Profile, context: &Context, version: Version) -> Vec<Notice> {
    let mut found = features(profile, context, "libseccomp", version, LIBSECCOMP);
    let newest = LIBSECCOMP_TABLES.last().map(|(known, _)| *known);
    let table = LIBSECCOMP_TABLES
        .iter()
        .rev()
        .find(|(known, _)| *known <= version);
    match (table, newest) {
        (Some((known, kernel)), Some(newest)) if version <= newest || *known == version => {
            let Some((context, resolved)) = resolved_for(profile, context, context.arch) else {
                return found;
            };
            let subject = Subject {
                profile,
                context: &context,
                resolved: &resolved,
            };
            let is_newer = |call: &str| syscalls::since(call).is_some_and(|since| since > *kernel);
            let name = format!("libseccomp {version}");
            found.extend(newer_names(
                &subject,
                &name,
                &is_newer,
                "aren't known to it, and runtimes pass them over",
            ));
        }
        _ => found.push(unknown(
            profile,
            &format!("the system calls of libseccomp {version}"),
        )),
    }
    found
}

/// Through which kernel the tables of the library's releases go, by its own change log.
const LIBSECCOMP_TABLES: &[(Version, (u16, u16))] = &[
    (Version(2, 2, 0), (3, 19)),
    (Version(2, 3, 0), (4, 5)),
    (Version(2, 3, 2), (4, 10)),
    (Version(2, 3, 3), (4, 15)),
    (Version(2, 4, 0), (5, 0)),
    (Version(2, 4, 2), (5, 4)),
    (Version(2, 5, 0), (5, 8)),
    (Version(2, 5, 2), (5, 14)),
    (Version(2, 5, 3), (5, 15)),
    (Version(2, 5, 4), (5, 17)),
];

/// What a profile may ask for.
#[derive(Clone, Copy)]
enum Feature {
    Action(Action),
    Flag(Flag),
}

type Since = (Feature, Version);

/// `seccomp(2)`.
const LINUX: &[Since] = &[
    (Feature::Flag(Flag::Tsync), Version(3, 17, 0)),
    (Feature::Flag(Flag::Log), Version(4, 14, 0)),
    (Feature::Action(Action::Log), Version(4, 14, 0)),
    (Feature::Action(Action::KillProcess), Version(4, 14, 0)),
    (Feature::Flag(Flag::SpecAllow), Version(4, 17, 0)),
    (Feature::Action(Action::Notify), Version(5, 0, 0)),
    (Feature::Flag(Flag::WaitKillableRecv), Version(5, 19, 0)),
];
/// Its change log.
const RUNC: &[Since] = &[
    (Feature::Action(Action::KillProcess), Version(1, 1, 0)),
    (Feature::Action(Action::Notify), Version(1, 1, 0)),
    (Feature::Flag(Flag::WaitKillableRecv), Version(1, 4, 1)),
];
/// Its change log.
const LIBSECCOMP: &[Since] = &[
    (Feature::Action(Action::KillProcess), Version(2, 4, 0)),
    (Feature::Action(Action::Log), Version(2, 4, 0)),
    (Feature::Action(Action::Notify), Version(2, 5, 0)),
];

/// Actions and flags of a profile that came later.
fn features(
    profile: &Profile,
    context: &Context,
    name: &str,
    version: Version,
    known: &[Since],
) -> Vec<Notice> {
    let later = known.iter().filter(|(_, since)| *since > version);
    let notices = later.flat_map(|(feature, since)| {
        let (what, places) = match feature {
            Feature::Action(action) => {
                let same = |entry: &&Entry| entry.action.on(context.arch) == *action;
                let entries = profile.entries_in(context).filter(same);
                let mut places: Vec<JsonPath> =
                    entries.map(|entry| entry.path.member("action")).collect();
                if profile.default_action.on(context.arch) == *action {
                    places.push(profile.path.member("defaultAction"));
                }
                (action.oci_name(), places)
            }
            Feature::Flag(flag) => {
                let at = profile.flags.iter().position(|known| known == flag);
                let place = at.map(|index| profile.path.member("flags").index(index));
                (flag.oci_name(), place.into_iter().collect())
            }
        };
        places.into_iter().map(move |place| {
            let message = format!("{name} {version} doesn't have {what}, which came with {since}");
            Notice::new(Code::MissingFeature, place, message)
        })
    });
    notices.collect()
}

/// Names of each entry that came later, in one notice an entry.
fn newer_names(
    subject: &Subject<'_>,
    target: &str,
    is_newer: &dyn Fn(&str) -> bool,
    so: &str,
) -> Vec<Notice> {
    let notices = subject.entries().filter_map(|entry| {
        let newer: Vec<&str> = entry
            .names
            .iter()
            .map(String::as_str)
            .filter(|name| is_newer(name))
            .collect();
        let first = entry
            .names
            .iter()
            .position(|name| Some(name.as_str()) == newer.first().copied())?;
        let listed: Vec<String> = newer
            .iter()
            .take(8)
            .map(|name| format!("`{name}`"))
            .collect();
        let more = match newer.len().saturating_sub(8) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let message = format!(
            "newer than {target}: {}{more}; they {so}",
            listed.join(", ")
        );
        Some(Notice::new(
            Code::NewerThanTarget,
            entry.name_path(first),
            message,
        ))
    });
    notices.collect()
}

/// Calls that the profile allows and the target lacks, where nothing that does the same there is allowed.
fn missing_equivalents(
    subject: &Subject<'_>,
    arch: Arch,
    exists: &dyn Fn(&str) -> bool,
    there: &str,
) -> Vec<Notice> {
    let notices = EQUIVALENTS.iter().filter_map(|(call, equivalents)| {
        let open = |call: &str| exists(call) && subject.plainly(arch, call).is_some_and(|(_, action)| is_open(action));
        let mut allowing = subject.naming(call).filter(|(entry, _)| is_open(entry.action.on(subject.context.arch)));
        let (_, path) = allowing.next().filter(|_| !exists(call))?;
        let here: Vec<&str> = equivalents.iter().copied().filter(|call| exists(call)).collect();
        if here.is_empty() || here.iter().any(|call| open(call)) {
            return None;
        }
        let witness = subject.plainly(arch, here[0]).map(|(call, _)| call);
        let names: Vec<String> = here.iter().map(|name| format!("`{name}`")).collect();
        let message = format!(
            "{there} there is no `{call}`, and {}, which programs call there instead, isn't allowed",
            names.join(" or ")
        );
        let notice = Notice::new(Code::MissingEquivalent, path, message).help(format!("allow {} as well", names[0]));
        Some(match witness {
            Some(witness) => notice.witness(witness),
            None => notice,
        })
    });
    notices.collect()
}

/// Calls, and what C libraries call where those don't exist.
const EQUIVALENTS: &[(&str, &[&str])] = &[
    ("open", &["openat"]),
    ("creat", &["openat"]),
    ("openat2", &["openat"]),
    ("stat", &["newfstatat", "fstatat64", "statx"]),
    ("lstat", &["newfstatat", "fstatat64", "statx"]),
    ("fstat", &["newfstatat", "fstat64", "statx"]),
    ("statx", &["newfstatat", "fstatat64", "stat64"]),
    ("newfstatat", &["fstatat64", "statx"]),
    ("access", &["faccessat"]),
    ("faccessat2", &["faccessat"]),
    ("unlink", &["unlinkat"]),
    ("rmdir", &["unlinkat"]),
    ("rename", &["renameat", "renameat2"]),
    ("renameat2", &["renameat"]),
    ("mkdir", &["mkdirat"]),
    ("mknod", &["mknodat"]),
    ("link", &["linkat"]),
    ("symlink", &["symlinkat"]),
    ("readlink", &["readlinkat"]),
    ("chmod", &["fchmodat"]),
    ("fchmodat2", &["fchmodat"]),
    ("chown", &["fchownat"]),
    ("lchown", &["fchownat"]),
    ("pipe", &["pipe2"]),
    ("dup2", &["dup3"]),
    ("fork", &["clone"]),
    ("vfork", &["clone"]),
    ("clone3", &["clone"]),
    ("epoll_create", &["epoll_create1"]),
    ("epoll_wait", &["epoll_pwait"]),
    ("epoll_pwait2", &["epoll_pwait"]),
    ("poll", &["ppoll", "ppoll_time64"]),
    ("select", &["pselect6", "_newselect", "pselect6_time64"]),
    ("eventfd", &["eventfd2"]),
    ("signalfd", &["signalfd4"]),
    ("inotify_init", &["inotify_init1"]),
    ("getdents", &["getdents64"]),
    ("time", &["clock_gettime", "gettimeofday"]),
    ("utimes", &["utimensat"]),
    ("utime", &["utimensat"]),
    ("futimesat", &["utimensat"]),
    ("alarm", &["setitimer"]),
    ("getpgrp", &["getpgid"]),
    ("execveat", &["execve"]),
    ("preadv2", &["preadv"]),
    ("pwritev2", &["pwritev"]),
    ("accept4", &["accept", "socketcall"]),
    ("mmap", &["mmap2"]),
    ("futex", &["futex_time64"]),
    ("clock_gettime", &["clock_gettime64"]),
];

fn unknown(profile: &Profile, what: &str) -> Notice {
    let message = format!("nothing is known here of {what}, so nothing is said about it");
    Notice::new(
        Code::UnknownTarget,
        profile.path.member("defaultAction"),
        message,
    )
}
