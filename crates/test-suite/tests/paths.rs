//! Every way through the filters of the default profiles, taken by calls that the live kernel is asked about.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // A test throughout.

use std::collections::BTreeSet;
use std::fs;

use callgate::compiler::profile;
use callgate::{Arch, Call, Context, Filter, Profile, probe};
use callgate_test_suite::naive::Naive;
use callgate_test_suite::paths::{Path, Question, paths};
use callgate_test_suite::sample::Sampler;
use callgate_test_suite::{case, live};

/// Byte offsets in `seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// What is known of calls that this machine can make: of x86_64 and x32, without the two that the kernel shows to no filter
/// (`uretprobe`, `uprobe`), and of i386, whose arguments have 32 bits.
fn makeable() -> [Vec<Question>; 2] {
    let arch = |arch: Arch| Question::equal(ARCH, arch.audit(), true);
    let native = vec![
        arch(Arch::X86_64),
        Question::equal(NUMBER, 335, false),
        Question::equal(NUMBER, 336, false),
    ];
    let high_halves = (20..64).step_by(8);
    let narrow = high_halves.map(|offset| Question::equal(offset, 0, true));
    let i386 = [arch(Arch::X86)].into_iter().chain(narrow).collect();
    [native, i386]
}

fn every_way_is_as_predicted(name: &str, json: &[u8]) {
    let context = Context::new(Arch::X86_64, "6.18".parse().unwrap());
    let filter = Filter::compile(&Profile::parse(json).unwrap(), &context).unwrap();
    let (policy, program) = (filter.policy(), filter.program());
    let naive = Naive::read(json, &context).unwrap();

    let [native, i386] = makeable().map(|known| paths(program, &known).unwrap());
    let others = [Arch::X86_64, Arch::X86].map(|arch| Question::equal(ARCH, arch.audit(), false));
    let others = paths(program, &others).unwrap();
    let made: Vec<&Path> = native.iter().chain(&i386).collect();
    for path in made.iter().copied().chain(&others) {
        for call in &path.witnesses {
            let run = program.simulate(call);
            assert_eq!(
                (run.action, run.executed),
                (path.action, path.instructions.len()),
                "{name}: {call:x?}"
            );
            assert_eq!(
                policy.decide(call).action,
                path.action,
                "{name}: policy: {call:x?}"
            );
            assert_eq!(
                naive.verdict(call),
                path.action,
                "{name}: naive reading: {call:x?}"
            );
        }
    }
    all_calls_take_one(&filter, &paths(program, &[]).unwrap());

    if probe::native_arch() != Some(Arch::X86_64) || !probe::has_filters() {
        eprintln!("skipped: {name} by the live kernel: needs seccomp on x86_64");
        return;
    }
    let calls: Vec<Call> = made.iter().flat_map(|path| path.witnesses).collect();
    let actions = made.iter().flat_map(|path| [path.action; 2]);
    let answers = live::answers(program, &calls).unwrap();
    for ((call, action), answer) in calls.iter().zip(actions).zip(answers) {
        assert_eq!(answer, Some(action), "{name}: kernel: {call:x?}");
    }
    let on_way: BTreeSet<usize> = made
        .iter()
        .flat_map(|path| path.instructions.clone())
        .collect();
    println!(
        "{name}: {} ways of x86_64 and x32 calls, {} of i386: {} calls by the live kernel, on {} of {} instructions; {} ways of other calls",
        native.len(),
        i386.len(),
        calls.len(),
        on_way.len(),
        program.insns().len(),
        others.len()
    );
    assert!(native.len() > 50 && i386.len() > 50, "{name}: few ways");
}

/// No way is missing, and no call takes two.
fn all_calls_take_one(filter: &Filter, paths: &[Path]) {
    let program = filter.program();
    let mut sampler = Sampler::new(filter.policy(), program, 0xca11);
    for _ in 0..1000 {
        let call = sampler.draw();
        let taken = |path: &&Path| path.is_taken_by(&call, program.byte_order());
        assert_eq!(paths.iter().filter(taken).count(), 1, "{call:x?}");
    }
    let on_way: BTreeSet<usize> = paths
        .iter()
        .flat_map(|path| path.instructions.clone())
        .collect();
    assert_eq!(
        on_way.len(),
        program.insns().len(),
        "there are instructions that no call gets to"
    );
}

#[test]
fn every_way_through_the_built_in_profile() {
    every_way_is_as_predicted("default", profile::DEFAULT.as_bytes());
}

#[test]
fn every_way_through_profiles_of_others() {
    for name in ["moby-default", "containers-common-default"] {
        let path = case::workspace().join(format!("../shared/data/profiles/{name}.json"));
        match fs::read(&path) {
            Ok(json) => every_way_is_as_predicted(name, &json),
            Err(error) => eprintln!("skipped: {name}: {}: {error}", path.display()),
        }
    }
}
