//! Profiles that are taken: what is said of odd ones, what real ones come to, and that great ones take little time.
#![allow(clippy::unwrap_used, clippy::panic)] // It is a test throughout.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use callgate_compiler::notice::Notice;
use callgate_compiler::policy::{Resolved, RuleOrder, resolve};
use callgate_compiler::profile::{DEFAULT, Format};
use callgate_compiler::{Action, Arch, Capabilities, Code, Context, Profile};

fn context(arch: Arch) -> Context {
    Context::new(arch, "6.18".parse().unwrap())
}

fn resolved(json: &str, context: &Context) -> Resolved {
    let profile = Profile::parse(json.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{json}"));
    resolve(&profile, context).unwrap_or_else(|error| panic!("{error}\n{json}"))
}

/// A profile for x86_64 with x86 beside it.
fn profile(members: &str, entries: &str) -> String {
    format!(
        r#"{{ "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"], {members} "syscalls": [{entries}] }}"#
    )
}

fn entry(name: &str, action: &str, args: &[(u8, &str, u64)]) -> String {
    let args: Vec<String> = args
        .iter()
        .map(|(index, op, value)| {
            format!(r#"{{ "index": {index}, "value": {value}, "op": "SCMP_CMP_{op}" }}"#)
        })
        .collect();
    let args = args.join(",");
    format!(r#"{{ "names": ["{name}"], "action": "SCMP_ACT_{action}", "args": [{args}] }}"#)
}

/// Each notice as `CG0102 syscalls[0].names[0]`.
fn places(notices: &[Notice]) -> Vec<String> {
    notices
        .iter()
        .map(|notice| format!("{} {}", notice.code, notice.path))
        .collect()
}

#[test]
fn odd_profiles_get_their_notices() {
    let two = |a: String, b: String| format!("{a}, {b}");
    let masked = r#"{ "names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 1, "value": 8, "valueTwo": 24, "op": "SCMP_CMP_MASKED_EQ" }] }"#;
    let ignored = r#"{ "names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 1, "value": 8, "valueTwo": 24, "op": "SCMP_CMP_EQ" }] }"#;
    let (read, write) = (entry("read", "ALLOW", &[]), entry("write", "LOG", &[]));
    let cases: &[(&str, String, &[&str])] = &[
        ("", two(read.clone(), write.clone()), &[]),
        (r#""sycalls": [],"#, read.clone(), &["CG0101 sycalls"]),
        (r#""sycalls": null,"#, read.clone(), &[]),
        (
            "",
            entry("raed", "ALLOW", &[]),
            &["CG0102 syscalls[0].names[0]"],
        ),
        (
            "",
            r#"{ "names": [], "action": "SCMP_ACT_ALLOW" }"#.to_owned(),
            &["CG0103 syscalls[0].names"],
        ),
        (
            "",
            masked.to_owned(),
            &["CG0105 syscalls[0].args[0].valueTwo"],
        ),
        (
            "",
            ignored.to_owned(),
            &["CG0111 syscalls[0].args[0].valueTwo"],
        ),
        ("", ignored.replace("24", "0"), &[]),
        (
            "",
            entry("lseek", "ALLOW", &[(2, "EQ", 0), (1, "GE", 1 << 32)]),
            &["CG0106 syscalls[0].args[1]"],
        ),
        // Not to be met by 32 bits, cut or not.
        (
            "",
            entry("lseek", "ALLOW", &[(1, "GT", (2 << 32) - 1)]),
            &[],
        ),
        (
            "",
            entry(
                "ioctl",
                "ALLOW",
                &[(1, "GE", 5), (2, "EQ", 0), (1, "LE", 9)],
            ),
            &["CG0107 syscalls[0].args[2]"],
        ),
        (
            "",
            two(read.clone(), entry("read", "LOG", &[(0, "EQ", 0)])),
            &["CG0108 syscalls[1].names[0]"],
        ),
        // It wins wherever it stands, so the order of the document would tell.
        (
            "",
            two(entry("read", "LOG", &[(0, "EQ", 0)]), read.clone()),
            &["CG0108 syscalls[0].names[0]", "CG0114 syscalls[0].names[0]"],
        ),
        (
            "",
            two(read.clone(), read.clone()),
            &["CG0108 syscalls[1].names[0]"],
        ),
        (
            "",
            entry("socket", "ALLOW", &[(0, "EQ", 2)]),
            &["CG0109 syscalls[0].args[0]"],
        ),
        ("", entry("socket", "ALLOW", &[(1, "EQ", 2)]), &[]),
        (
            "",
            two(
                entry("socketcall", "ALLOW", &[]),
                entry("socket", "ALLOW", &[(0, "EQ", 2)]),
            ),
            &[],
        ),
        (
            "",
            entry("read", "ERRNO", &[]),
            &["CG0110 syscalls[0].names[0]"],
        ),
        (
            r#""flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],"#,
            read.clone(),
            &["CG0112 flags[1]"],
        ),
        (
            "",
            two(
                entry("mmap", "LOG", &[(2, "EQ", 1), (3, "EQ", 2)]),
                entry("mmap", "ALLOW", &[(2, "EQ", 1)]),
            ),
            &["CG0113 syscalls[0].names[0]", "CG0114 syscalls[0].names[0]"],
        ),
        (
            "",
            two(
                entry("mmap", "LOG", &[(2, "LE", 9)]),
                entry("mmap", "ALLOW", &[(2, "EQ", 1)]),
            ),
            &["CG0114 syscalls[0].names[0]"],
        ),
        (
            "",
            two(
                entry("mmap", "ALLOW", &[(2, "EQ", 1)]),
                entry("mmap", "LOG", &[(2, "LE", 9)]),
            ),
            &[],
        ),
        // What does as the default action is dropped, so it hides nothing.
        (
            "",
            two(
                entry("mmap", "ERRNO", &[(2, "EQ", 1)]),
                entry("mmap", "LOG", &[]),
            ),
            &["CG0110 syscalls[0].names[0]", "CG0114 syscalls[0].names[0]"],
        ),
    ];
    for (members, entries, expected) in cases {
        let json = profile(members, entries);
        let resolved = resolved(&json, &context(Arch::X86_64));
        assert_eq!(places(&resolved.notices), *expected, "{json}");
        for notice in &resolved.notices {
            assert!(!notice.code.is_error());
            let shown = matches!(
                notice.code,
                Code::DatumTooWide | Code::RepeatedArgument | Code::OrderDependent
            );
            assert_eq!(notice.witness.is_some(), shown, "{notice}");
        }
    }
    let foreign = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_S390X"] }"#;
    let resolved = resolved(foreign, &context(Arch::X86_64));
    assert_eq!(places(&resolved.notices), ["CG0104 architectures[1]"]);
}

/// The call of the only notice, and what it comes to.
fn shown(json: &str, context: &Context) -> (Arch, [u64; 6], Action) {
    let resolved = resolved(json, context);
    let [notice] = &resolved.notices[..] else {
        panic!("{:?}", resolved.notices);
    };
    let call = notice.witness.unwrap();
    let arch = Arch::of_call(call.audit, call.nr).unwrap();
    (arch, call.args, resolved.policy.decide(&call).action)
}

#[test]
fn witnesses_show_what_notices_say() {
    let native = context(Arch::X86_64);
    let range = profile("", &entry("ioctl", "ALLOW", &[(1, "GE", 5), (1, "LE", 9)]));
    let (arch, args, action) = shown(&range, &native);
    assert_eq!((arch, action), (Arch::X86_64, Action::Allow));
    assert!(!(5..=9).contains(&args[1]), "{args:?}");

    let wide = profile("", &entry("lseek", "ALLOW", &[(1, "GE", 1 << 32)]));
    let (arch, args, action) = shown(&wide, &native);
    assert_eq!((arch, action), (Arch::X86, Action::Allow));
    assert!(args[1] < 1 << 32, "{args:?}");

    let orders = [RuleOrder::Runtime, RuleOrder::Document];
    let overlap = [
        entry("mmap", "LOG", &[(2, "LE", 9)]),
        entry("mmap", "ALLOW", &[(2, "EQ", 1)]),
    ];
    let overlap = profile("", &overlap.join(","));
    for (rule_order, expected) in orders.into_iter().zip([Action::Allow, Action::Log]) {
        let context = Context {
            rule_order,
            ..native.clone()
        };
        let (_, args, action) = shown(&overlap, &context);
        assert_eq!((args[2], action), (1, expected));
    }
}

#[test]
fn strict_is_strict_about_names_only() {
    let strict = Context {
        strict: true,
        ..context(Arch::X86_64)
    };
    let known_elsewhere = profile("", &entry("arm_fadvise64_64", "ALLOW", &[]));
    assert_eq!(resolved(&known_elsewhere, &strict).notices, []);
    let unknown = profile("", &entry("raed", "ALLOW", &[]));
    let error = resolve(&Profile::parse(unknown.as_bytes()).unwrap(), &strict).unwrap_err();
    assert_eq!(
        error.to_string(),
        "CG0013: syscalls[0].names[0]: no architecture has a system call `raed` (did you mean `read`?)"
    );
}

#[test]
fn forms_are_told_apart() {
    let format = |json: &str| Profile::parse(json.as_bytes()).unwrap().format;
    let oci = profile("", &entry("read", "ALLOW", &[]));
    assert_eq!(format(&oci), Format::OciSeccomp);
    let docker = oci.replace(r#""action""#, r#""comment": "", "action""#);
    assert_eq!(format(&docker), Format::Docker);
    // Null is as if it weren't there.
    let null = oci.replace(
        r#""action""#,
        r#""comment": null, "includes": null, "action""#,
    );
    assert_eq!(format(&null), Format::OciSeccomp);
    let config = format!(r#"{{ "ociVersion": "1.2.0", "linux": {{ "seccomp": {oci} }} }}"#);
    assert_eq!(format(&config), Format::OciConfig);
    let with_path = Profile::parse(config.as_bytes()).unwrap();
    assert_eq!(
        with_path.entries[0].path.to_string(),
        "linux.seccomp.syscalls[0]"
    );
}

/// What only Docker knows is ignored in a config.json, with a notice, and not followed.
#[test]
fn docker_members_mean_nothing_in_a_config() {
    let seccomp = r#"{ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS",
        "archMap": [{ "architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"] }] }"#;
    let config = format!(r#"{{ "ociVersion": "1.2.0", "linux": {{ "seccomp": {seccomp} }} }}"#);
    let in_config = resolved(&config, &context(Arch::X86_64));
    assert_eq!(
        places(&in_config.notices),
        [
            "CG0101 linux.seccomp.defaultErrno",
            "CG0101 linux.seccomp.archMap"
        ]
    );
    assert_eq!(in_config.policy.default_action(), Action::Errno(1));
    assert_eq!(in_config.policy.abis().count(), 1);
    let alone = resolved(seccomp, &context(Arch::X86_64));
    assert_eq!(alone.policy.default_action(), Action::Errno(38));
    assert_eq!(alone.policy.abis().count(), 2);
}

/// Our own profile, and others' where they are.
fn real_profiles() -> Vec<(&'static str, String)> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/profiles");
    let mut profiles = vec![("default", DEFAULT.to_owned())];
    for name in ["moby-default.json", "containers-common-default.json"] {
        match fs::read_to_string(shared.join(name)) {
            Ok(profile) => profiles.push((name, profile)),
            Err(error) => eprintln!("skipped: real profiles: {name}: {error}"),
        }
    }
    profiles
}

#[test]
fn real_profiles_resolve_for_every_architecture_they_list() {
    for (name, json) in real_profiles() {
        let profile = Profile::parse(json.as_bytes()).unwrap();
        let listed = |arch: &Arch| {
            let mut entries = profile.arch_map.iter();
            entries.any(|entry| entry.architecture.arch == Some(*arch))
        };
        let natives = Arch::ALL.into_iter().filter(|arch| arch.is_native());
        assert!(natives.clone().filter(listed).count() >= 5, "{name}");
        let known = [Code::DeadRule, Code::LostCondition, Code::RedundantRule];
        // Also for those that it doesn't list: they stand alone then.
        for arch in natives {
            for capabilities in [
                Capabilities::default(),
                Capabilities::none(),
                Capabilities::all(),
            ] {
                let context = Context {
                    capabilities,
                    ..context(arch)
                };
                let resolved = resolve(&profile, &context).unwrap();
                let unexpected = resolved.notices.iter().find(|n| !known.contains(&n.code));
                assert_eq!(unexpected, None, "{name} on {arch}");
                assert!(!resolved.needs_listener);
                let rules: usize = resolved
                    .policy
                    .abis()
                    .map(|(_, abi)| abi.rules().count())
                    .sum();
                assert!(rules > 200, "{name} on {arch}: {rules} numbers with rules");
            }
        }
    }
}

/// The plain object means what the Docker profile means, and is its own plain object.
#[test]
fn the_plain_object_means_the_same() {
    for (name, json) in real_profiles() {
        let profile = Profile::parse(json.as_bytes()).unwrap();
        for arch in Arch::ALL.into_iter().filter(|arch| arch.is_native()) {
            let context = context(arch);
            let plain_json = profile.to_oci_json(&context);
            let plain = Profile::parse(plain_json.as_bytes()).unwrap();
            assert_eq!(plain.format, Format::OciSeccomp, "{name}");
            assert_eq!(plain.to_oci_json(&context), plain_json, "{name} on {arch}");
            let meant = resolve(&profile, &context).unwrap();
            let written = resolve(&plain, &context).unwrap();
            assert_eq!(meant.policy, written.policy, "{name} on {arch}");
            assert_eq!(meant.flags, written.flags);
        }
    }
}

#[test]
fn great_profiles_take_little_time() {
    let repeat = |n: usize, f: &dyn Fn(usize) -> String| -> String {
        (0..n).map(f).collect::<Vec<_>>().join(",")
    };
    let names = |names: String| format!(r#"{{ "names": [{names}], "action": "SCMP_ACT_ALLOW" }}"#);
    let rule = |i: usize, op| {
        let action = ["ALLOW", "LOG", "TRAP"][i % 3];
        entry(
            "ioctl",
            action,
            &[(5, op, 1), (1, "EQ", u64::try_from(i).unwrap())],
        )
    };
    let overlapping = |i| rule(i, ["NE", "GE"][i % 2]);
    let cases = [
        (
            "unknown names",
            names(repeat(20_000, &|i| format!(r#""set_robust_lost{i}""#))),
        ),
        (
            "one name",
            names(repeat(20_000, &|_| r#""read""#.to_owned())),
        ),
        ("rules", repeat(4_000, &|i| rule(i, "EQ"))),
        ("overlapping rules", repeat(4_000, &overlapping)),
    ];
    for (what, entries) in cases {
        let json = profile("", &entries);
        for rule_order in [RuleOrder::Runtime, RuleOrder::Document] {
            let context = Context {
                rule_order,
                ..context(Arch::X86_64)
            };
            let start = Instant::now();
            resolved(&json, &context);
            let taken = start.elapsed();
            assert!(taken < Duration::from_secs(20), "{what}: {taken:?}");
        }
    }
}
