//! Random policies mean the same as a reference, as a graph, and as instructions.
#![allow(clippy::unwrap_used, clippy::panic)] // It is a test throughout.

use callgate_compiler::bpf::emit::emit;
use callgate_compiler::bpf::{Insn, op};
use callgate_compiler::decision::lower::{lower, lower_for};
use callgate_compiler::decision::workload::Workload;
use callgate_compiler::policy::{Condition, Policy, PolicyBuilder, RuleId, RuleOrder, Test};
use callgate_compiler::{Action, Arch, ByteOrder, Call};
use proptest::prelude::*;

/// A 64-bit value that has to do with others: near powers of two, small, or with equal halves.
fn datum() -> impl Strategy<Value = u64> {
    let near =
        (0..64u32, 0..3u64).prop_map(|(bit, d)| (1u64 << bit).wrapping_add(d).wrapping_sub(1));
    prop_oneof![
        0..6u64,
        near,
        Just(u64::MAX),
        Just(0x1_0000_0001),
        any::<u64>()
    ]
}

fn test() -> impl Strategy<Value = Test> {
    let masked = (datum(), datum()).prop_map(|(mask, value)| Test::Masked { mask, value });
    prop_oneof![
        datum().prop_map(Test::Eq),
        datum().prop_map(Test::Ne),
        datum().prop_map(Test::Lt),
        datum().prop_map(Test::Le),
        datum().prop_map(Test::Gt),
        datum().prop_map(Test::Ge),
        masked,
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let actions = [
        Action::Allow,
        Action::Errno(13),
        Action::Trap,
        Action::Log,
        Action::Errno(1),
    ];
    prop::sample::select(actions.to_vec())
}

/// A rule before it has an ABI: a small number, an action, conditions.
type Draft = (u32, Action, Vec<(u8, Test)>);

fn drafts() -> impl Strategy<Value = Vec<Draft>> {
    let conditions = prop::collection::vec((0..3u8, test()), 0..4);
    prop::collection::vec((0..4u32, action(), conditions), 0..24)
}

fn policy(native: Arch, order: RuleOrder, newer: bool, drafts: &[Draft]) -> Policy {
    let mut builder = PolicyBuilder::new(native, Action::Errno(1));
    builder.rule_order(order).newer_calls(newer);
    let guests: Vec<Arch> = Arch::ALL.into_iter().filter(|a| native.runs(*a)).collect();
    for (i, (nr, action, conditions)) in drafts.iter().enumerate() {
        let arch = guests[i % guests.len()];
        let bit = if arch == Arch::X32 { 0x4000_0000 } else { 0 };
        let conditions: Vec<_> = conditions
            .iter()
            .map(|&(arg, test)| Condition { arg, test })
            .collect();
        builder.abi(arch).unwrap();
        let id = RuleId(u32::try_from(i).unwrap());
        // A conflict leaves the rule out.
        let _ = builder.rule(arch, nr | bit, id, *action, &conditions);
    }
    builder.build()
}

/// Calls at and about every number and datum of a policy.
fn calls(policy: &Policy, salt: u64) -> Vec<Call> {
    let mut calls = Vec::new();
    for arch in Arch::ALL.into_iter().filter(|a| policy.native().runs(*a)) {
        for nr in (0..6).flat_map(|nr| [nr, nr | 0x4000_0000, nr | 0x8000_0000, u32::MAX - nr]) {
            let rules = policy.rules(arch, nr).iter();
            let data = rules
                .flat_map(|rule| &rule.conditions)
                .map(|c| c.test.datum());
            let data: Vec<u64> = data.chain([0, salt]).collect();
            for (i, datum) in data.iter().enumerate() {
                for delta in [0, 1, u64::MAX, 1 << 32] {
                    let mut args = [0, 1, 2].map(|j| data[(i * 7 + j) % data.len()]);
                    args[i % 3] = datum.wrapping_add(delta);
                    calls.push(Call::new(arch, nr, [args[0], args[1], args[2], salt, 0, 0]));
                }
            }
        }
    }
    calls
}

/// The answer of the instructions, and nothing but those that are emitted.
fn run(insns: &[Insn], call: &Call) -> Action {
    let (mut at, mut a) = (0, 0);
    loop {
        let insn = insns[at];
        let skip = match insn.code {
            op::LD_W_ABS => {
                a = call.word(insn.k).unwrap();
                0
            }
            op::AND_K => {
                a &= insn.k;
                0
            }
            op::RET_K => return Action::from_ret(insn.k),
            op::JA => usize::try_from(insn.k).unwrap(),
            op::JEQ_K => usize::from(if a == insn.k { insn.jt } else { insn.jf }),
            op::JGE_K => usize::from(if a >= insn.k { insn.jt } else { insn.jf }),
            op::JSET_K => usize::from(if a & insn.k != 0 { insn.jt } else { insn.jf }),
            other => panic!("{other:#x} is never emitted"),
        };
        at += 1 + skip;
    }
}

fn natives() -> impl Strategy<Value = Arch> {
    let natives = [
        Arch::X86_64,
        Arch::Aarch64,
        Arch::S390x,
        Arch::Mips64,
        Arch::Ppc,
        Arch::Parisc64,
    ];
    prop::sample::select(natives.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn graph_and_program_mean_what_the_policy_says(
        native in natives(),
        document in any::<bool>(),
        newer in any::<bool>(),
        drafts in drafts(),
        salt in any::<u64>(),
    ) {
        let order = if document { RuleOrder::Document } else { RuleOrder::Runtime };
        let policy = policy(native, order, newer, &drafts);
        let mut workload = Workload::default();
        for (arch, abi) in policy.abis().filter(|_| salt % 3 == 0) {
            for (i, (nr, _)) in abi.rules().enumerate() {
                workload.add(arch, nr, salt >> (7 * i % 64));
                workload.add(arch, u32::MAX - nr, salt);
            }
        }
        let graph = lower_for(&policy, &workload);
        let insns = emit(&graph, policy.byte_order());
        for call in calls(&policy, salt) {
            let expected = policy.decide(&call).action;
            prop_assert_eq!(graph.evaluate(&call), expected, "graph: {:x?}", call);
            prop_assert_eq!(run(&insns, &call), expected, "program: {:x?}", call);
        }
    }
}

/// One call with many rules: past the reach of a conditional jump, and past all that fits into a filter.
#[test]
fn long_programs_keep_their_meaning() {
    for count in [100, 1000, 5000] {
        let mut builder = PolicyBuilder::new(Arch::X86_64, Action::Errno(1));
        for i in 0..count {
            let masked = Test::Masked {
                mask: 0xff_00ff | i << 32,
                value: i << 32,
            };
            let condition = [
                Condition {
                    arg: 1,
                    test: masked,
                },
                Condition {
                    arg: 2,
                    test: Test::Eq(i),
                },
            ];
            let id = RuleId(u32::try_from(i).unwrap());
            let action = Action::Errno(u16::try_from(i % 4096).unwrap());
            let action = if i % 3 == 0 { Action::Allow } else { action };
            builder
                .rule(Arch::X86_64, 16, id, action, &condition)
                .unwrap();
        }
        let policy = builder.build();
        let graph = lower(&policy);
        let insns = emit(&graph, ByteOrder::Little);
        for i in (0..count).step_by(7) {
            for (a, b) in [
                (i << 32, i),
                (i << 32, i + 1),
                (0, i),
                (1, i),
                (i << 32 | 0x1_0000, i),
            ] {
                let call = Call::new(Arch::X86_64, 16, [0, a, b, 0, 0, 0]);
                let expected = policy.decide(&call).action;
                assert_eq!(graph.evaluate(&call), expected, "{call:x?}");
                assert_eq!(run(&insns, &call), expected, "{call:x?}");
            }
        }
    }
}
