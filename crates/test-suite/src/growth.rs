//! Policies whose filters grow: many rules on one call, which is where diagrams and programs get large.

use callgate::compiler::policy::{Condition, Policy, PolicyBuilder, RuleId, Test};
use callgate::{Action, Arch};

use crate::random::Random;

/// The number that the rules are on: ioctl.
const NUMBER: u32 = 16;

/// So many values of an argument that are allowed, no two next to each other.
#[must_use]
pub fn values(count: u64) -> Policy {
    let tests = (0..count).map(|i| vec![on(1, Test::Eq(0x5401 + 3 * i))]);
    allowing(tests)
}

/// So many ranges of an argument, whose borders need both halves.
#[must_use]
pub fn ranges(count: u64) -> Policy {
    let range = |i: u64| {
        let start = i * 0x1_2345_6789;
        vec![on(1, Test::Ge(start)), on(1, Test::Le(start + 0x1234_5678))]
    };
    allowing((0..count).map(range))
}

/// So many masks on an argument, up to 64, each a bit of its own and the one behind it.
#[must_use]
pub fn masks(count: u32) -> Policy {
    let mask = |i: u32| {
        let bit = 1_u64.rotate_left(i);
        let mask = bit | bit.rotate_left(1);
        vec![on(1, Test::Masked { mask, value: bit })]
    };
    allowing((0..count).map(mask))
}

fn on(arg: u8, test: Test) -> Condition {
    Condition { arg, test }
}

/// Rules that allow a call, as long as no two contradict each other.
fn allowing(rules: impl Iterator<Item = Vec<Condition>>) -> Policy {
    let mut builder = PolicyBuilder::new(Arch::X86_64, Action::Errno(1));
    for (i, conditions) in rules.enumerate() {
        let id = RuleId(u32::try_from(i).unwrap_or(u32::MAX));
        // All have the same action, so there is nothing to conflict.
        let _ = builder.rule(Arch::X86_64, NUMBER, id, Action::Allow, &conditions);
    }
    builder.build()
}

/// So many rules, each over two of the six arguments, with five actions, and one, two or all seven kinds of tests. A hundred are as a
/// diagram too large for any machine.
#[must_use]
pub fn pairs(native: Arch, count: u32, kinds: usize, seed: u64) -> Policy {
    const ACTIONS: [Action; 5] = [
        Action::Allow,
        Action::Errno(13),
        Action::Trap,
        Action::Log,
        Action::Trace(7),
    ];
    let mut random = Random::new(seed);
    let mut builder = PolicyBuilder::new(native, Action::Errno(1));
    for i in 0..count {
        let mut condition = |arg: u32| {
            let datum = random.next() >> random.below(64);
            let test = match random.below(kinds) {
                0 => Test::Eq(datum),
                1 => Test::Masked {
                    mask: random.next(),
                    value: random.next(),
                },
                2 => Test::Lt(datum),
                3 => Test::Le(datum),
                4 => Test::Ge(datum),
                5 => Test::Gt(datum),
                _ => Test::Ne(datum),
            };
            on(u8::try_from(arg % 6).unwrap_or(0), test)
        };
        let conditions = [condition(i), condition(i + 1 + i / 6 % 5)];
        let action = *random.pick(&ACTIONS);
        // One that contradicts another is left out.
        let _ = builder.rule(native, NUMBER, RuleId(i), action, &conditions);
    }
    builder.build()
}
