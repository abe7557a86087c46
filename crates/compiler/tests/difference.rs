//! What is said of two filters' differences is so: of each call on which they differ one difference tells, and of no other any.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // A test throughout.

use callgate_compiler::filter::compile;
use callgate_compiler::policy::{Condition, Policy, PolicyBuilder, RuleId, Test};
use callgate_compiler::proof::{
    Difference, Part, ProofError, Set, Side, Values, differences, digest, prove_together,
};
use callgate_compiler::{Action, Arch, Call};

/// A small generator (xorshift).
fn random(state: &mut u64, below: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % below
}

fn pick<T: Copy>(state: &mut u64, from: &[T]) -> T {
    from[usize::try_from(random(state, u64::try_from(from.len()).unwrap())).unwrap()]
}

const DATA: [u64; 9] = [0, 1, 2, 3, 7, 0xffff_ffff, 1 << 32, 1 << 32 | 1, u64::MAX];

fn policy(native: Arch, seed: &mut u64) -> Policy {
    let mut builder = PolicyBuilder::new(native, Action::Errno(1));
    for i in 0..u32::try_from(random(seed, 6)).unwrap() {
        let conditions: Vec<Condition> = (0..random(seed, 3))
            .map(|_| {
                let datum = pick(seed, &DATA);
                let tests = [
                    Test::Eq(datum),
                    Test::Ne(datum),
                    Test::Lt(datum),
                    Test::Le(datum),
                    Test::Gt(datum),
                    Test::Ge(datum),
                    Test::Masked {
                        mask: datum,
                        value: pick(seed, &DATA),
                    },
                ];
                Condition {
                    arg: pick(seed, &[0, 1, 5]),
                    test: pick(seed, &tests),
                }
            })
            .collect();
        let action = pick(seed, &[Action::Allow, Action::Trap, Action::Log]);
        let nr = pick(seed, &[0, 1, 2]);
        // A conflict leaves the rule out.
        let _ = builder.rule(native, nr, RuleId(i), action, &conditions);
    }
    builder.build()
}

fn call(native: Arch, seed: &mut u64) -> Call {
    let audit = pick(seed, &[native.audit(), native.audit(), Arch::S390.audit()]);
    let nr = pick(seed, &[0, 1, 2, 3, 0x4000_0000, u32::MAX]);
    let mut args = [0; 6];
    for arg in &mut args {
        *arg = pick(seed, &DATA).wrapping_add(random(seed, 2));
        if !native.has_64bit_arguments() || audit != native.audit() {
            *arg &= 0xffff_ffff;
        }
    }
    Call {
        audit,
        nr,
        ..Call::new(native, nr, args)
    }
}

fn has(values: &Values, call: &Call) -> bool {
    let value = call.args[usize::from(values.argument)];
    let value = match values.part {
        Part::Whole => value,
        Part::Low => value & 0xffff_ffff,
        Part::High => value >> 32,
    };
    let within = |ranges: &[(u64, u64)]| ranges.iter().any(|(a, b)| (*a..=*b).contains(&value));
    let bits = |bits: &[(u64, u64)]| bits.iter().any(|(mask, wanted)| value & mask == *wanted);
    match &values.set {
        Set::In(ranges) => within(ranges),
        Set::NotIn(ranges) => !within(ranges),
        Set::Bits(alternatives) => bits(alternatives),
        Set::NotBits(alternatives) => !bits(alternatives),
        Set::Intricate(..) => panic!("these are few"),
    }
}

fn tells_of(difference: &Difference, call: &Call) -> bool {
    let (first, last) = difference.audits;
    assert!(!difference.conditions.and_more);
    let alternatives = &difference.conditions.alternatives;
    (first..=last).contains(&call.audit)
        && difference
            .numbers
            .iter()
            .any(|(a, b)| (*a..=*b).contains(&call.nr))
        && alternatives
            .iter()
            .any(|all| all.iter().all(|values| has(values, call)))
}

#[test]
fn differences_are_all_there_are() {
    let mut seed = 0x5eed;
    let (mut told, mut equal) = (0, 0);
    for native in [Arch::X86_64, Arch::M68k] {
        for _ in 0..150 {
            let (a, b) = (policy(native, &mut seed), policy(native, &mut seed));
            let program = [compile(&b).unwrap()];
            let found = differences(Side::Policy(&a), Side::Policy(&b)).unwrap();
            assert_eq!(
                found,
                differences(Side::Policy(&a), Side::Programs(&program)).unwrap()
            );
            assert_eq!(found.is_empty(), digest(&a) == digest(&b));
            equal += u32::from(found.is_empty());
            for difference in &found {
                assert_eq!(a.decide(&difference.witness).action, difference.from);
                assert_eq!(b.decide(&difference.witness).action, difference.to);
                assert!(tells_of(difference, &difference.witness), "{difference:?}");
            }
            for _ in 0..100 {
                let call = call(native, &mut seed);
                let answers = (a.decide(&call).action, b.decide(&call).action);
                let telling: Vec<_> = found.iter().filter(|d| tells_of(d, &call)).collect();
                match telling[..] {
                    [] => assert_eq!(answers.0, answers.1, "{call:x?}"),
                    [one] => assert_eq!(answers, (one.from, one.to), "{call:x?}"),
                    _ => panic!("{call:x?} is told of twice: {telling:?}"),
                }
                told += telling.len();
            }
        }
    }
    assert!(told > 1000 && equal > 2, "{told} {equal}");
}

#[test]
fn filters_of_a_process_answer_together() {
    let policy = |numbers: &[u32]| {
        let mut builder = PolicyBuilder::new(Arch::X86_64, Action::Errno(1));
        builder.newer_calls(false);
        for nr in numbers {
            builder
                .rule(Arch::X86_64, *nr, RuleId(*nr), Action::Allow, &[])
                .unwrap();
        }
        builder.build()
    };
    let filters = [&[0, 1, 2][..], &[1, 2, 3]].map(|numbers| compile(&policy(numbers)).unwrap());
    assert!(prove_together(&policy(&[1, 2]), &filters).is_ok());
    let Err(ProofError::Refuted {
        witness,
        expected,
        found,
    }) = prove_together(&policy(&[1, 2, 3]), &filters)
    else {
        panic!("the first filter denies 3");
    };
    assert_eq!(
        (witness.nr, expected, found),
        (3, Action::Allow, Action::Errno(1))
    );
}
