//! Calls at the borders of a policy's rules: where a difference is suspected that diagrams don't pin down.
//!
//! A call that meets a rule's border is of no use if an earlier rule decides it. So its other arguments are changed until the rules
//! before it let it through, each time away from the rule that caught it, to a value at some border.

use crate::arch::Arch;
use crate::call::Call;
use crate::policy::{Condition, Policy, Rule, Test};

/// How often a call is changed to get past the rules before the one that it is for.
const CHANGES: usize = 40;

/// Calls for each border of each rule. The same ones each time.
pub(super) fn calls_about(policy: &Policy) -> impl Iterator<Item = Call> {
    policy.abis().flat_map(|(arch, abi)| {
        abi.rules().flat_map(move |(nr, rules)| {
            let mut search = Search::new(arch, rules);
            let borders = rules.iter().enumerate().flat_map(move |(i, rule)| {
                let borders = |c: &Condition| borders(*c).map(|value| (i, c.arg, value));
                rule.conditions.iter().flat_map(borders).collect::<Vec<_>>()
            });
            borders
                .flat_map(move |(i, arg, value)| search.calls(i, arg, value))
                .map(move |args| Call::new(arch, nr, args))
        })
    })
}

struct Search<'a> {
    arch: Arch,
    rules: &'a [Rule],
    /// The values of each argument at which some rule begins or ends to match.
    values: [Vec<u64>; 6],
    seed: u64,
}

impl<'a> Search<'a> {
    fn new(arch: Arch, rules: &'a [Rule]) -> Search<'a> {
        let mut values = [const { Vec::new() }; 6];
        for condition in rules.iter().flat_map(|rule| &rule.conditions) {
            if let Some(values) = values.get_mut(usize::from(condition.arg)) {
                values.extend(borders(*condition));
            }
        }
        Search {
            arch,
            rules,
            values,
            seed: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// Calls that have a value for an argument, are otherwise as a rule wants them, and get ever further past the rules before it.
    fn calls(&mut self, rule: usize, arg: u8, value: u64) -> Vec<[u64; 6]> {
        let own = &self.rules[rule].conditions;
        let mut args = [0; 6];
        for arg in 0..6 {
            self.change(&mut args, arg, own);
        }
        let mut calls = Vec::new();
        for _ in 0..CHANGES {
            if let Some(fixed) = args.get_mut(usize::from(arg)) {
                *fixed = value & self.arch.argument_mask();
            }
            calls.push(args);
            let before = self.rules[..rule].iter();
            let Some(caught) = before.rev().find(|r| r.matches(self.arch, &args)) else {
                break;
            };
            let free = caught.conditions.iter().filter(|c| c.arg != arg);
            let free: Vec<u8> = free.map(|c| c.arg).collect();
            match self.pick(&free) {
                Some(other) => self.change(&mut args, other, own),
                None => break,
            }
        }
        calls
    }

    /// Gives an argument another value, one that conditions want if that is found.
    fn change(&mut self, args: &mut [u64; 6], arg: u8, wanted: &[Condition]) {
        let index = usize::from(arg);
        for _ in 0..8 {
            let values = std::mem::take(&mut self.values[index]);
            let value = self.pick(&values);
            self.values[index] = values;
            let anything = random(&mut self.seed);
            args[index] = value.unwrap_or(anything) & self.arch.argument_mask();
            let on_it = wanted.iter().filter(|c| c.arg == arg);
            for condition in on_it.clone() {
                if let Test::Masked { mask, value } = condition.test {
                    args[index] = anything & !mask & self.arch.argument_mask() | value & mask;
                }
            }
            if on_it.clone().all(|c| c.holds(self.arch, args)) {
                return;
            }
        }
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let length = u64::try_from(from.len()).ok()?;
        let index = random(&mut self.seed).checked_rem(length)?;
        from.get(usize::try_from(index).ok()?).copied()
    }
}

/// The values about which a condition begins or ends to hold, and one well within.
fn borders(condition: Condition) -> [u64; 4] {
    let datum = condition.test.datum();
    match condition.test {
        Test::Masked { mask, value } => {
            let lowest = mask & mask.wrapping_neg();
            let highest = 1_u64.checked_shl(63 - mask.leading_zeros().min(63));
            let highest = highest.unwrap_or(0);
            [value & mask, value ^ lowest, value ^ highest, value | !mask]
        }
        Test::Lt(_) | Test::Le(_) => [datum, datum.wrapping_sub(1), datum.wrapping_add(1), 0],
        _ => [
            datum,
            datum.wrapping_sub(1),
            datum.wrapping_add(1),
            u64::MAX,
        ],
    }
}

/// A small generator (xorshift).
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
