//! Findings are there where they should be, and only there: every kind with its counterpart that is as it should be.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // A test throughout.

use callgate_compiler::findings::findings;
use callgate_compiler::policy::resolve;
use callgate_compiler::{Action, Arch, Capabilities, Code, Context, Notice, Profile, profile};

fn found_in(document: &str, context: &Context) -> Vec<Notice> {
    let profile = Profile::parse(document.as_bytes()).unwrap();
    let resolved = resolve(&profile, context).unwrap();
    let found = findings(&profile, context, &resolved);
    for notice in &found {
        // A witness of something open is open.
        let open = !matches!(notice.code, Code::WrongErrno);
        if let Some(witness) = notice.witness {
            let action = resolved.policy.decide(&witness).action;
            assert_eq!(
                matches!(action, Action::Allow | Action::Log),
                open,
                "{notice:?}"
            );
        }
    }
    found
}

fn codes(document: &str, arch: Arch) -> Vec<Code> {
    let context = Context::new(arch, "6.18".parse().unwrap());
    found_in(document, &context)
        .iter()
        .map(|notice| notice.code)
        .collect()
}

/// A profile with a default action, entries, and architectures beside the native one.
fn profile(default: &str, entries: &str, archs: &str) -> String {
    format!(
        r#"{{"defaultAction":"SCMP_ACT_{default}","architectures":[{archs}],"syscalls":[{entries}]}}"#
    )
}

fn entry(names: &str, action: &str, args: &str) -> String {
    let names: Vec<String> = names.split(' ').map(|name| format!("\"{name}\"")).collect();
    format!(
        r#"{{"names":[{}],"action":"SCMP_ACT_{action}","args":[{args}]}}"#,
        names.join(",")
    )
}

fn arg(index: u8, op: &str, value: u64, two: u64) -> String {
    format!(r#"{{"index":{index},"op":"SCMP_CMP_{op}","value":{value},"valueTwo":{two}}}"#)
}

/// With rings denied, which would void much of it.
fn on_x86_64(default: &str, entries: &[String]) -> Vec<Code> {
    let rings = entry(RINGS, "ERRNO", "");
    let entries = [entries, &[rings]].concat();
    codes(&profile(default, &entries.join(","), ""), Arch::X86_64)
}

const RINGS: &str = "io_uring_setup io_uring_enter";

#[test]
fn the_default_profile_has_but_the_hole_that_its_page_describes() {
    for arch in Arch::ALL.into_iter().filter(|arch| arch.is_native()) {
        for capabilities in [
            Capabilities::none(),
            Capabilities::default(),
            Capabilities::all(),
        ] {
            let context = Context {
                capabilities,
                ..Context::new(arch, "6.18".parse().unwrap())
            };
            for notice in found_in(profile::DEFAULT, &context) {
                assert_eq!(notice.code, Code::OpenMultiplexer, "{arch}: {notice}");
                assert!(notice.message.contains("`socketcall`"), "{notice}");
            }
        }
    }
}

#[test]
fn high_bits_matter_where_they_let_something_through() {
    let int = 0xffff_ffff;
    let socket = |op, value, two, action| entry("socket", action, &arg(0, op, value, two));
    assert_eq!(
        on_x86_64("ALLOW", &[socket("EQ", 40, 0, "ERRNO")]),
        [Code::HighBits]
    );
    assert_eq!(
        on_x86_64("ALLOW", &[socket("MASKED_EQ", int, 40, "ERRNO")]),
        []
    );
    assert_eq!(
        on_x86_64("ERRNO", &[socket("NE", 40, 0, "ALLOW")]),
        [Code::HighBits]
    );
    assert_eq!(
        on_x86_64("ERRNO", &[socket("GT", 40, 0, "ALLOW")]),
        [Code::HighBits]
    );
    // What isn't as listed is denied.
    assert_eq!(on_x86_64("ERRNO", &[socket("EQ", 2, 0, "ALLOW")]), []);
    assert_eq!(on_x86_64("ERRNO", &[socket("LT", 38, 0, "ALLOW")]), []);
    assert_eq!(
        on_x86_64("ERRNO", &[socket("MASKED_EQ", int, 2, "ALLOW")]),
        []
    );
    // A size has 64 bits, and on a 32-bit ABI there are no others.
    assert_eq!(
        on_x86_64("ALLOW", &[entry("mmap", "ERRNO", &arg(1, "EQ", 4096, 0))]),
        []
    );
    let entries = [socket("EQ", 40, 0, "ERRNO"), entry(RINGS, "ERRNO", "")].join(",");
    let document = profile("ALLOW", &entries, "");
    assert_eq!(codes(&document, Arch::Riscv64), [Code::HighBits]);
    // Of a mode the kernel takes 16 bits.
    let mode = entry("fchmod", "ERRNO", &arg(1, "MASKED_EQ", 0xffff_ffff, 0o4755));
    assert_eq!(on_x86_64("ALLOW", &[mode]), [Code::HighBits]);
    let mode = entry("fchmod", "ERRNO", &arg(1, "MASKED_EQ", 0o4000, 0o4000));
    assert_eq!(on_x86_64("ALLOW", &[mode]), []);
}

#[test]
fn conditions_that_are_settled_are_told() {
    let settled = |call, arg: String| on_x86_64("ERRNO", &[entry(call, "ALLOW", &arg)]);
    assert_eq!(settled("ioctl", arg(1, "LT", 0, 0)), [Code::NeverHolds]);
    assert_eq!(
        settled("personality", arg(0, "EQ", u64::MAX, 0)),
        [Code::NeverHolds]
    );
    assert_eq!(settled("personality", arg(0, "EQ", 0xffff_ffff, 0)), []);
    assert_eq!(settled("ptrace", arg(0, "EQ", u64::MAX, 0)), []);
    assert_eq!(settled("ioctl", arg(1, "GE", 0, 0)), [Code::AlwaysHolds]);
    assert_eq!(
        settled("ioctl", arg(1, "MASKED_EQ", 0, 0)),
        [Code::AlwaysHolds]
    );
    assert_eq!(
        settled("ioctl", arg(1, "MASKED_EQ", 1 << 40, 1 << 40)),
        [Code::NeverHolds]
    );
    assert_eq!(settled("ioctl", arg(1, "MASKED_EQ", 1, 0)), []);
}

#[test]
fn a_multiplexer_is_a_hole_where_there_is_something_to_hide() {
    let socket = entry("socket", "ALLOW", &arg(0, "EQ", 1, 0));
    let both = [entry("read socketcall", "ALLOW", ""), socket.clone()].join(",");
    let x86 = r#""SCMP_ARCH_X86""#;
    assert_eq!(
        codes(&profile("ERRNO", &both, x86), Arch::X86_64),
        [Code::OpenMultiplexer]
    );
    assert_eq!(codes(&profile("ERRNO", &both, ""), Arch::X86_64), []);
    assert_eq!(codes(&profile("ERRNO", &socket, x86), Arch::X86_64), []);
    let all = entry("read socketcall socket", "ALLOW", "");
    assert_eq!(codes(&profile("ERRNO", &all, x86), Arch::X86_64), []);
}

#[test]
fn a_way_around_is_told_if_the_call_is_restricted_by_name() {
    let denied = |names: &str| on_x86_64("ALLOW", &[entry(names, "ERRNO", "")]);
    assert_eq!(denied("ptrace process_vm_readv"), [Code::WayAround]);
    assert_eq!(denied("ptrace process_vm_readv process_vm_writev"), []);
    assert_eq!(denied("open openat"), [Code::WayAround, Code::WayAround]);
    assert_eq!(denied("open openat openat2"), []);
    assert_eq!(denied("mount"), [Code::WayAround]);
    assert_eq!(denied("unshare"), [Code::WayAround]);
    let clone = entry("clone", "ALLOW", &arg(0, "MASKED_EQ", 0x7e02_0000, 0));
    let with = |other: &str| on_x86_64("ERRNO", &[clone.clone(), entry(other, "ALLOW", "")]);
    assert_eq!(with("clone3"), [Code::WayAround]);
    assert_eq!(with("fork"), []);
    // What isn't named isn't meant, and ENOSYS sends to the other call.
    assert_eq!(
        on_x86_64(
            "ERRNO",
            &[entry("open", "ALLOW", ""), entry("openat", "ALLOW", "")]
        ),
        []
    );
    let enosys = r#"{"names":["openat2"],"action":"SCMP_ACT_ERRNO","errnoRet":38}"#;
    assert_eq!(on_x86_64("ALLOW", &[enosys.to_owned()]), []);
    // Twins by their suffix, on the ABI that has them.
    let chown = profile("ALLOW", &entry("setuid", "ERRNO", ""), r#""SCMP_ARCH_X86""#);
    assert_eq!(codes(&chown, Arch::X86_64), [Code::WayAround]);
    assert_eq!(on_x86_64("ALLOW", &[entry("setuid", "ERRNO", "")]), []);
}

#[test]
fn rings_reach_what_is_denied() {
    let with = |default, names: &str, action| {
        codes(
            &profile(default, &entry(names, action, ""), ""),
            Arch::X86_64,
        )
    };
    assert_eq!(with("ERRNO", RINGS, "ALLOW"), [Code::OpenRing]);
    assert_eq!(with("ALLOW", "socket", "ERRNO"), [Code::OpenRing]);
    assert_eq!(with("ALLOW", &format!("socket {RINGS}"), "ERRNO"), []);
    assert_eq!(with("ALLOW", "sethostname", "ERRNO"), []);
}

#[test]
fn what_the_kernel_does_not_show_is_told() {
    assert_eq!(
        on_x86_64("ALLOW", &[entry("uretprobe", "ERRNO", "")]),
        [Code::UnseenCall]
    );
    assert_eq!(on_x86_64("ERRNO", &[entry("uretprobe", "ALLOW", "")]), []);
}

#[test]
fn clone_on_s390_has_its_flags_elsewhere() {
    let clone = |index| {
        profile(
            "ERRNO",
            &entry("clone", "ALLOW", &arg(index, "MASKED_EQ", 0x7e02_0000, 0)),
            "",
        )
    };
    assert_eq!(codes(&clone(0), Arch::S390x), [Code::MovedArgument]);
    assert_eq!(codes(&clone(1), Arch::S390x), []);
    assert_eq!(codes(&clone(0), Arch::X86_64), []);
}

#[test]
fn newer_calls_want_enosys() {
    let clone3 =
        |errno| format!(r#"{{"names":["clone3"],"action":"SCMP_ACT_ERRNO","errnoRet":{errno}}}"#);
    let clone = entry("clone", "ALLOW", "");
    assert_eq!(
        on_x86_64("ERRNO", &[clone.clone(), clone3(1)]),
        [Code::WrongErrno]
    );
    assert_eq!(on_x86_64("ERRNO", &[clone.clone(), clone3(38)]), []);
    // Above all that is named, ENOSYS comes by itself; and without clone there is nothing to fall back to.
    assert_eq!(on_x86_64("ERRNO", std::slice::from_ref(&clone)), []);
    assert_eq!(on_x86_64("ERRNO", &[clone3(1)]), []);
    let newer = entry("clone mseal", "ALLOW", "");
    assert_eq!(on_x86_64("ERRNO", &[newer]), [Code::WrongErrno]);
    // 38 is another errno on mips.
    let mips = profile("ERRNO", &[clone, clone3(38)].join(","), "");
    assert_eq!(codes(&mips, Arch::Mips64), [Code::WrongErrno]);
}

#[test]
fn targets_are_told_what_they_lack() {
    use callgate_compiler::findings::portability::{Target, portability};
    let found = |document: &str, targets: &str| {
        let profile = Profile::parse(document.as_bytes()).unwrap();
        let context = Context::new(Arch::X86_64, "6.18".parse().unwrap());
        let targets: Vec<Target> = targets
            .split(',')
            .map(|target| target.parse().unwrap())
            .collect();
        let found = portability(&profile, &context, &targets);
        found.iter().map(|notice| notice.code).collect::<Vec<_>>()
    };
    let open = profile("ERRNO", &entry("open", "ALLOW", ""), "");
    assert_eq!(found(&open, "x86_64"), []);
    assert_eq!(found(&open, "riscv64"), [Code::MissingEquivalent]);
    assert_eq!(found(&open, "x86"), [Code::MissingArchitecture]);
    let both = profile("ERRNO", &entry("open openat", "ALLOW", ""), "");
    assert_eq!(found(&both, "riscv64"), []);
    let clone3 = profile("ERRNO", &entry("clone3", "ALLOW", ""), "");
    assert_eq!(found(&clone3, "linux-5.3"), []);
    assert_eq!(
        found(&clone3, "linux-5.2"),
        [Code::NewerThanTarget, Code::MissingEquivalent]
    );
    assert_eq!(found(&clone3, "libseccomp-2.5.4"), []);
    assert_eq!(found(&clone3, "libseccomp-2.4.1"), [Code::NewerThanTarget]);
    assert_eq!(
        found(&clone3, "libseccomp-2.6,crun-1.8"),
        [Code::UnknownTarget, Code::UnknownTarget]
    );
    let notify = profile("ERRNO", &entry("mount", "NOTIFY", ""), "");
    assert_eq!(found(&notify, "runc-1.1,linux-5.0,libseccomp-2.5"), []);
    assert_eq!(
        found(&notify, "runc-1.0,linux-4.20,libseccomp-2.4"),
        [Code::MissingFeature; 3]
    );
    for bad in [
        "",
        "linux",
        "linux-",
        "linux-5",
        "linux-5.x",
        "linux-5.1.2.3",
        "z80",
        "gvisor-1.0",
        "runc-1.0-rc1",
    ] {
        assert!(bad.parse::<Target>().is_err(), "{bad}");
    }
    // A profile for all natives holds on all of them.
    let default = Arch::ALL.into_iter().filter(|arch| {
        [
            "x86_64",
            "aarch64",
            "riscv64",
            "s390x",
            "ppc64le",
            "loongarch64",
        ]
        .contains(&arch.name())
    });
    for arch in default {
        assert_eq!(found(profile::DEFAULT, arch.name()), [], "{arch}");
    }
    assert_eq!(found(profile::DEFAULT, "linux-7.2,runc-1.0"), []);
}

#[test]
fn who_notifies_wants_a_listener_that_is_served() {
    let with = |more: &str| {
        let notify = entry("mknod mknodat", "NOTIFY", "");
        let document = profile("ALLOW", &notify, "").replacen('{', &format!("{{{more}"), 1);
        codes(&document, Arch::X86_64)
    };
    let (path, flag) = (
        r#""listenerPath":"/run/x","#,
        r#""flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],"#,
    );
    assert_eq!(with(""), [Code::NoListenerPath, Code::InterruptedNotify]);
    assert_eq!(with(path), [Code::InterruptedNotify]);
    assert_eq!(with(flag), [Code::NoListenerPath]);
    assert_eq!(with(&[path, flag].concat()), []);
}
