//! The built-in profile against what its page promises (`docs/default-profile.md`): every call that the tables know
//! is either in the profile or among what the page leaves out, and whatever is decided otherwise than by Docker's
//! own default stands on the page with its reason.
//!
//! "Otherwise" is a matter of allowing or not: which errno a denied call returns is left to the profile.
#![allow(clippy::unwrap_used)] // It is a test throughout.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use callgate_compiler::policy::resolve;
use callgate_compiler::policy::{Policy, Test};
use callgate_compiler::{Action, Arch, Call, Capabilities, Code, Context, Filter, Notice, Profile};
use callgate_compiler::{profile, syscalls};

/// Docker's default, where the data that checks use lies beside the workspace.
const DOCKER: &str = "../shared/data/profiles/moby-default.json";
const PAGE: &str = "docs/default-profile.md";

/// Before and after the one border that either profile has (`minKernel`).
const KERNELS: [&str; 2] = ["4.7", "4.8"];

/// A difference between the two profiles: on one call, in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// Ours allows what Docker's doesn't.
    Wider,
    /// Docker's allows what ours doesn't.
    Narrower,
}
use Difference::{Narrower, Wider};

/// A difference that the page gives a reason for, and where it may be met.
struct Reason {
    name: &'static str,
    difference: Difference,
    meets: fn(Arch, &Context) -> bool,
}

const fn reason(name: &'static str, difference: Difference) -> Reason {
    Reason {
        name,
        difference,
        meets: |_, _| true,
    }
}

const REASONS: &[Reason] = &[
    reason("socket", Narrower),
    reason("cachestat", Narrower),
    reason("vmsplice", Narrower),
    reason("modify_ldt", Narrower),
    reason("remap_file_pages", Narrower),
    reason("lookup_dcookie", Narrower),
    reason("epoll_ctl_old", Narrower),
    reason("epoll_wait_old", Narrower),
    Reason {
        meets: |_, context| !context.capabilities.contains("CAP_SYS_ADMIN"),
        ..reason("fanotify_mark", Narrower)
    },
    reason("file_getattr", Wider),
    reason("file_setattr", Wider),
    reason("rseq_slice_yield", Wider),
    reason("uprobe", Wider),
    Reason {
        meets: |_, context| context.capabilities.contains("CAP_SYS_ADMIN"),
        ..reason("open_tree_attr", Wider)
    },
    // Docker's entry is for arm alone.
    Reason {
        meets: |abi, _| abi != Arch::Arm,
        ..reason("cacheflush", Wider)
    },
    // Docker's entries are for ppc64le, and arm.
    reason("swapcontext", Wider),
    reason("sync_file_range2", Wider),
    // Docker's entry is for 64-bit kernels.
    Reason {
        meets: |abi, context| abi == Arch::X86 && context.arch == Arch::X86,
        ..reason("arch_prctl", Wider)
    },
];

#[test]
fn every_known_call_is_in_the_profile_or_left_out_on_the_page() {
    let entries = Profile::parse(profile::DEFAULT.as_bytes()).unwrap().entries;
    let named: BTreeSet<String> = entries.into_iter().flat_map(|entry| entry.names).collect();
    for name in &named {
        assert!(syscalls::numbers(name).is_some(), "no call is named {name}");
    }
    let page = read(PAGE).unwrap();
    let left_out = section(&page, "## Left out");
    let silent: Vec<&str> = syscalls::names()
        .filter(|name| !named.contains(*name) && !left_out.contains(&format!("`{name}`")))
        .collect();
    assert_eq!(silent, [""; 0], "neither in the profile nor on the page");
}

#[test]
fn it_compiles_for_every_kernel_that_it_lists_and_nothing_is_odd_but_socketcall() {
    let profile = Profile::parse(profile::DEFAULT.as_bytes()).unwrap();
    assert_eq!(profile.notices, []);
    let natives: Vec<Arch> = profile
        .arch_map
        .iter()
        .filter_map(|e| e.architecture.arch)
        .collect();
    assert_eq!(natives.len(), 8);
    for arch in natives {
        let context = Context::new(arch, KERNELS[1].parse().unwrap());
        let filter = Filter::compile(&profile, &context).unwrap();
        // The hole that the page speaks of.
        let is_known = |notice: &Notice| notice.code == Code::LostCondition;
        let odd: Vec<&Notice> = filter.notices().iter().filter(|n| !is_known(n)).collect();
        assert_eq!(odd, [] as [&Notice; 0], "{}", arch.name());
    }
}

#[test]
fn every_difference_from_dockers_default_has_a_reason_on_the_page() {
    let Some(docker) = read(DOCKER) else {
        eprintln!("skipped: default profile against Docker's: no {DOCKER}");
        return;
    };
    let docker = Profile::parse(docker.as_bytes()).unwrap();
    let ours = Profile::parse(profile::DEFAULT.as_bytes()).unwrap();
    let (mut met, mut unexplained) = (BTreeSet::new(), BTreeSet::new());
    for context in contexts(&[&docker, &ours]) {
        let docker = resolve(&docker, &context).unwrap().policy;
        let ours = resolve(&ours, &context).unwrap().policy;
        for (abi, name, difference) in differences(&ours, &docker) {
            let known = REASONS.iter().position(|reason| {
                let same = reason.name == name && reason.difference == difference;
                same && (reason.meets)(abi, &context)
            });
            match known {
                Some(index) => met.insert(index),
                None => unexplained.insert((name, difference, abi, context.arch)),
            };
        }
    }
    assert_eq!(unexplained, BTreeSet::new());
    let page = read(PAGE).unwrap();
    let compared = section(&page, "## Compared with Docker's default");
    for (index, Reason { name, .. }) in REASONS.iter().enumerate() {
        assert!(met.contains(&index), "no difference on {name}");
        assert!(compared.contains(&format!("`{name}`")), "no word on {name}");
    }
}

/// Every architecture that a kernel can have and both kernels, with no capability, Docker's, all, and each one that a profile mentions.
fn contexts(profiles: &[&Profile]) -> Vec<Context> {
    let entries = profiles.iter().flat_map(|profile| &profile.entries);
    let mentioned: BTreeSet<&str> = entries
        .flat_map(|entry| entry.includes.caps.iter().chain(&entry.excludes.caps))
        .copied()
        .collect();
    let mut sets = vec![
        Capabilities::none(),
        Capabilities::default(),
        Capabilities::all(),
    ];
    sets.extend(
        mentioned
            .iter()
            .map(|name| Capabilities::named([*name]).unwrap()),
    );
    let mut contexts = Vec::new();
    for arch in Arch::ALL.into_iter().filter(|arch| arch.is_native()) {
        for kernel in KERNELS {
            contexts.extend(sets.iter().map(|capabilities| Context {
                capabilities: capabilities.clone(),
                ..Context::new(arch, kernel.parse().unwrap())
            }));
        }
    }
    contexts
}

/// The calls that one of the policies allows and the other doesn't.
fn differences<'a>(
    ours: &'a Policy,
    docker: &'a Policy,
) -> BTreeSet<(Arch, &'static str, Difference)> {
    let abis = |policy: &Policy| -> BTreeSet<Arch> { policy.abis().map(|(abi, _)| abi).collect() };
    assert_eq!(abis(ours), abis(docker), "on {}", ours.native().name());
    let mut found = BTreeSet::new();
    for abi in abis(ours) {
        for (nr, name) in syscalls::table(abi) {
            for args in borders(abi, nr, [ours, docker]) {
                let call = Call::new(abi, nr, args);
                let allows = |policy: &Policy| policy.decide(&call).action == Action::Allow;
                match (allows(ours), allows(docker)) {
                    (true, false) => found.insert((abi, name, Wider)),
                    (false, true) => found.insert((abi, name, Narrower)),
                    _ => false,
                };
            }
        }
    }
    found
}

/// Arguments on both sides of every border that a condition of either policy draws: next to a datum, above 32 bits
/// as well, and each bit of a mask turned.
fn borders(abi: Arch, nr: u32, policies: [&Policy; 2]) -> Vec<[u64; 6]> {
    let mut values: [BTreeSet<u64>; 6] = std::array::from_fn(|_| BTreeSet::from([0]));
    for rule in policies.iter().flat_map(|policy| policy.rules(abi, nr)) {
        for condition in &rule.conditions {
            let datum = condition.test.datum();
            let near = [datum.wrapping_sub(1), datum, datum.wrapping_add(1)];
            let values = &mut values[usize::from(condition.arg)];
            values.extend(near.into_iter().flat_map(|near| [near, near | 1 << 32]));
            if let Test::Masked { .. } = condition.test {
                values.extend((0..64).map(|bit| datum ^ (1 << bit)));
            }
        }
    }
    let mut calls = vec![[0; 6]];
    for (index, values) in values.iter().enumerate() {
        calls = calls
            .into_iter()
            .flat_map(|call| {
                values.iter().map(move |value| {
                    let mut call = call;
                    call[index] = *value;
                    call
                })
            })
            .collect();
    }
    calls
}

/// A file of the workspace, or beside it; none if there is no such file.
fn read(path: &str) -> Option<String> {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(workspace.join(Path::new(path))).ok()
}

/// What stands under a heading, up to the next of its level.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let start = page.find(heading).expect(heading) + heading.len();
    let rest = &page[start..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}
