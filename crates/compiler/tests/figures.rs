//! What filters of known profiles come to, counted: the same on every machine, so that no change makes them longer unseen.
//! Where a change makes them shorter, the new figures go here.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::Path;

use callgate_compiler::arch::X32_BIT;
use callgate_compiler::{Arch, Call, Context, Filter, KernelVersion, Profile, profile, syscalls};

const KERNEL: KernelVersion = KernelVersion {
    major: 6,
    minor: 18,
};

fn filter(json: &[u8], native: Arch) -> Filter {
    let context = Context {
        newer_calls: false,
        ..Context::new(native, KERNEL)
    };
    Filter::compile(&Profile::parse(json).unwrap(), &context).unwrap()
}

/// A published profile, or `None` with a word on standard error.
fn published(name: &str) -> Option<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/profiles")
        .join(name);
    let read = std::fs::read(&path);
    if read.is_err() {
        eprintln!("skipped: figures of {name}: it isn't there");
    }
    read.ok()
}

/// Instructions, the same once the kernel has converted them, the longest path, the paths of all native numbers together
/// (the kernel takes each of them once when it loads the filter), and how many native numbers its cache answers.
fn figures(json: &[u8], native: Arch) -> [usize; 5] {
    let filter = filter(json, native);
    let program = filter.program();
    let numbers = || syscalls::table(native).map(|(nr, _)| nr);
    let path = |nr| program.simulate(&Call::new(native, nr, [0; 6])).executed;
    let is_cached = |nr: &u32| program.is_constant_allow(native.audit(), *nr);
    [
        program.insns().len(),
        program.converted_length(),
        program.paths().longest,
        numbers().map(path).sum(),
        numbers().filter(is_cached).count(),
    ]
}

#[test]
fn the_built_in_profile() {
    let json = profile::DEFAULT.as_bytes();
    let found = [Arch::X86_64, Arch::Aarch64, Arch::S390x].map(|native| figures(json, native));
    let expected = [
        [202, 283, 24, 4436, 303],
        [170, 247, 21, 3792, 263],
        [159, 220, 23, 4994, 304],
    ];
    assert_eq!(found, expected);
}

#[test]
fn dockers_profile() {
    let Some(json) = published("moby-default.json") else {
        return;
    };
    let found = [Arch::X86_64, Arch::Aarch64].map(|native| figures(&json, native));
    assert_eq!(
        found,
        [[176, 248, 19, 4031, 306], [149, 217, 16, 3545, 264]]
    );
}

/// Docker's profile without its architectures beside the native one.
#[test]
fn dockers_profile_for_one_architecture() {
    let Some(json) = published("moby-default.json") else {
        return;
    };
    let mut document: serde_json::Value = serde_json::from_slice(&json).unwrap();
    document["archMap"] = serde_json::json!([]);
    let json = document.to_string().into_bytes();
    let found = [Arch::X86_64, Arch::Aarch64].map(|native| figures(&json, native));
    assert_eq!(found, [[60, 91, 13, 3900, 306], [62, 95, 13, 3543, 264]]);
}

#[test]
fn calls_that_run_dockers_filter_each_time() {
    let Some(json) = published("moby-default.json") else {
        return;
    };
    let filter = filter(&json, Arch::X86_64);
    let call = |arch, name, arg: u64| {
        Call::new(
            arch,
            syscalls::number(arch, name).unwrap(),
            [arg, 0, 0, 0, 0, 0],
        )
    };
    let calls = [
        (call(Arch::X86_64, "clone", 17), 10),
        (call(Arch::X86_64, "clone3", 0), 7),
        (call(Arch::X86_64, "socket", 2), 12),
        (call(Arch::X86_64, "personality", 0), 12),
        (Call::new(Arch::X86_64, 1000, [0; 6]), 10),
        (call(Arch::X32, "read", 0), 13),
        (Call::new(Arch::X32, X32_BIT | 1000, [0; 6]), 10),
        (call(Arch::X86, "clone", 17), 9),
        (Call::new(Arch::X86, 1000, [0; 6]), 11),
    ];
    let found = calls.map(|(call, _)| filter.program().simulate(&call).executed);
    assert_eq!(found, calls.map(|(_, expected)| expected));
}

/// Whatever a policy simply allows, the kernel's cache answers: on each number of the native and the compat table.
#[test]
fn the_kernel_caches_all_that_is_simply_allowed() {
    let json = published("moby-default.json");
    for json in json
        .iter()
        .map(Vec::as_slice)
        .chain([profile::DEFAULT.as_bytes()])
    {
        for native in [Arch::X86_64, Arch::Aarch64, Arch::S390x] {
            let filter = filter(json, native);
            let policy = filter.policy();
            for (arch, abi) in policy.abis().filter(|(arch, _)| *arch != Arch::X32) {
                for (nr, rules) in abi.rules() {
                    let simply = rules[0].is_unconditional()
                        && rules[0].action == callgate_compiler::Action::Allow;
                    let cached = filter.program().is_constant_allow(arch.audit(), nr);
                    assert_eq!(cached, simply, "{arch} {nr}");
                }
            }
        }
    }
}
