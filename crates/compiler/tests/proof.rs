//! The proof holds for what the compiler makes, and refutes what differs, with a call that shows it.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // A test throughout.

use callgate_compiler::bpf::check::check;
use callgate_compiler::bpf::{Insn, op};
use callgate_compiler::filter::compile;
use callgate_compiler::policy::{Condition, Policy, PolicyBuilder, RuleId, Test};
use callgate_compiler::proof::{ProofError, compare, prove};
use callgate_compiler::{Action, Arch, ByteOrder};
use proptest::prelude::*;

fn datum() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..5u64,
        Just(u64::MAX),
        Just(0x1_0000_0001),
        Just(0xffff_ffff),
        any::<u64>()
    ]
}

fn test() -> impl Strategy<Value = Test> {
    prop_oneof![
        datum().prop_map(Test::Eq),
        datum().prop_map(Test::Ne),
        datum().prop_map(Test::Lt),
        datum().prop_map(Test::Le),
        datum().prop_map(Test::Gt),
        datum().prop_map(Test::Ge),
        (datum(), datum()).prop_map(|(mask, value)| Test::Masked { mask, value }),
    ]
}

type Draft = (u32, Action, Vec<(u8, Test)>);

fn drafts() -> impl Strategy<Value = Vec<Draft>> {
    let actions = prop::sample::select(vec![Action::Allow, Action::Errno(13), Action::Trap]);
    let conditions = prop::collection::vec((0..2u8, test()), 0..3);
    prop::collection::vec((0..3u32, actions, conditions), 0..8)
}

fn policy(native: Arch, drafts: &[Draft]) -> Policy {
    let mut builder = PolicyBuilder::new(native, Action::Errno(1));
    let guests: Vec<Arch> = Arch::ALL
        .into_iter()
        .filter(|arch| native.runs(*arch))
        .collect();
    for (i, (nr, action, conditions)) in drafts.iter().enumerate() {
        let arch = guests[i % guests.len()];
        builder.abi(arch).unwrap();
        let nr = if arch == Arch::X32 {
            nr | 0x4000_0000
        } else {
            *nr
        };
        let conditions: Vec<_> = conditions
            .iter()
            .map(|&(arg, test)| Condition { arg, test })
            .collect();
        // A conflict leaves the rule out.
        let _ = builder.rule(
            arch,
            nr,
            RuleId(u32::try_from(i).unwrap()),
            *action,
            &conditions,
        );
    }
    builder.build()
}

fn natives() -> impl Strategy<Value = Arch> {
    prop::sample::select(vec![Arch::X86_64, Arch::S390x, Arch::Aarch64, Arch::M68k])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn what_is_compiled_is_proved(native in natives(), drafts in drafts()) {
        let policy = policy(native, &drafts);
        prop_assert!(prove(&policy, &compile(&policy).unwrap()).is_ok());
    }

    #[test]
    fn another_policy_is_refuted_by_a_call_or_is_the_same(native in natives(), a in drafts(), b in drafts()) {
        let (a, b) = (policy(native, &a), policy(native, &b));
        let program = compile(&b).unwrap();
        match prove(&a, &program) {
            Ok(_) => prop_assert_eq!(compare(&compile(&a).unwrap(), &program), Ok(None)),
            Err(ProofError::Refuted { witness, expected, found }) => {
                prop_assert_ne!(expected, found);
                prop_assert_eq!(a.decide(&witness).action, expected);
                prop_assert_eq!(program.simulate(&witness).action, found);
            }
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        }
    }
}

/// A small generator (xorshift).
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn what_cannot_be_followed_is_said() {
    let multiply = vec![
        Insn {
            code: op::LD_W_ABS,
            jt: 0,
            jf: 0,
            k: 0,
        },
        Insn {
            code: 0x24,
            jt: 0,
            jf: 0,
            k: 3,
        },
        Insn {
            code: op::JEQ_K,
            jt: 0,
            jf: 0,
            k: 9,
        },
        Insn {
            code: op::RET_K,
            jt: 0,
            jf: 0,
            k: 0,
        },
    ];
    let program = check(multiply, ByteOrder::Little).unwrap();
    assert_eq!(compare(&program, &program), Err(ProofError::Unsupported(1)));
}

#[test]
fn constants_and_scratch_words_are_followed() {
    // A = nr, kept in M[3]; X = 7; A = M[3]; is A above X? Said twice, in two ways.
    let by_index = [
        Insn {
            code: 0x01,
            jt: 0,
            jf: 0,
            k: 7,
        },
        Insn {
            code: op::LD_W_ABS,
            jt: 0,
            jf: 0,
            k: 0,
        },
        Insn {
            code: 0x02,
            jt: 0,
            jf: 0,
            k: 3,
        },
        Insn {
            code: 0x00,
            jt: 0,
            jf: 0,
            k: 1,
        },
        Insn {
            code: 0x60,
            jt: 0,
            jf: 0,
            k: 3,
        },
        Insn {
            code: 0x2d,
            jt: 0,
            jf: 1,
            k: 0,
        },
        Insn {
            code: op::RET_K,
            jt: 0,
            jf: 0,
            k: 0x7fff_0000,
        },
        Insn {
            code: op::RET_K,
            jt: 0,
            jf: 0,
            k: 0,
        },
    ];
    let plain = [
        Insn {
            code: op::LD_W_ABS,
            jt: 0,
            jf: 0,
            k: 0,
        },
        Insn {
            code: op::JGE_K,
            jt: 1,
            jf: 0,
            k: 8,
        },
        Insn {
            code: op::RET_K,
            jt: 0,
            jf: 0,
            k: 0,
        },
        Insn {
            code: op::RET_K,
            jt: 0,
            jf: 0,
            k: 0x7fff_0000,
        },
    ];
    let [by_index, plain] =
        [by_index.to_vec(), plain.to_vec()].map(|insns| check(insns, ByteOrder::Little).unwrap());
    assert_eq!(compare(&by_index, &plain), Ok(None));
}

#[test]
fn a_proof_that_would_take_too_much_is_given_up() {
    let mut builder = PolicyBuilder::new(Arch::X86_64, Action::Errno(1));
    let mut seed = 7;
    for i in 0..400 {
        let conditions = [0, 1, 2, 3, 4, 5].map(|arg| {
            let (mask, value) = (random(&mut seed), random(&mut seed));
            Condition {
                arg,
                test: Test::Masked { mask, value },
            }
        });
        builder
            .rule(
                Arch::X86_64,
                16,
                RuleId(i),
                Action::Trace(u16::try_from(i).unwrap()),
                &conditions,
            )
            .unwrap();
    }
    let policy = builder.build();
    let program = check(
        vec![Insn {
            code: op::RET_K,
            jt: 0,
            jf: 0,
            k: 0,
        }],
        ByteOrder::Little,
    )
    .unwrap();
    let outcome = prove(&policy, &program);
    assert!(
        matches!(
            outcome,
            Err(ProofError::TooLarge | ProofError::Refuted { .. })
        ),
        "{outcome:?}"
    );
}

/// A hundred rules over two arguments of six each, with five actions: as a diagram they are too large for any machine.
fn pairs(native: Arch, kinds: u64, seed: &mut u64) -> Policy {
    let actions = [
        Action::Allow,
        Action::Errno(13),
        Action::Trap,
        Action::Log,
        Action::Trace(7),
    ];
    let mut builder = PolicyBuilder::new(native, Action::Errno(1));
    for i in 0..100 {
        let mut condition = |arg: u8| {
            let datum = random(seed) >> (random(seed) % 64);
            let test = match random(seed) % kinds {
                0 => Test::Eq(datum),
                1 => Test::Masked {
                    mask: random(seed),
                    value: random(seed),
                },
                2 => Test::Lt(datum),
                3 => Test::Le(datum),
                4 => Test::Ge(datum),
                5 => Test::Gt(datum),
                _ => Test::Ne(datum),
            };
            Condition { arg, test }
        };
        let first = u8::try_from(i % 6).unwrap();
        let second = (first + 1 + u8::try_from(i / 6 % 5).unwrap()) % 6;
        let conditions = [condition(first), condition(second)];
        let action = actions[usize::try_from(random(seed) % 5).unwrap()];
        // A conflict leaves the rule out.
        let _ = builder.rule(native, 16, RuleId(i), action, &conditions);
    }
    builder.build()
}

#[test]
fn a_hundred_rules_over_pairs_of_arguments_are_proved_rule_by_rule() {
    let mut seed = 0xca11;
    for native in [Arch::X86_64, Arch::M68k] {
        // Equalities alone, with masks, and all comparisons.
        for kinds in [1, 2, 7] {
            let policy = pairs(native, kinds, &mut seed);
            let proof = prove(&policy, &compile(&policy).unwrap());
            assert!(proof.is_ok(), "{native}, {kinds} kinds of tests: {proof:?}");
        }
    }
}
