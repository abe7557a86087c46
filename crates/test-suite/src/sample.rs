//! Calls drawn where a policy and a program may differ: near the constants of both.
//!
//! A call drawn from all calls would meet no rule, ever. So most are drawn about one rule: its number, and arguments at the borders of
//! its conditions.

use callgate::compiler::bpf::{Operation, Program};
use callgate::compiler::policy::{Policy, Rule, Test};
use callgate::{Action, Arch, Call};

use crate::generate::BORDERS;
use crate::random::Random;

/// Draws calls about a policy and a program.
#[derive(Debug)]
pub struct Sampler<'a> {
    /// Each number with its rules.
    ruled: Vec<(Arch, u32, &'a [Rule])>,
    archs: Vec<Arch>,
    /// Numbers at which anything changes.
    numbers: Vec<u32>,
    values: Vec<u64>,
    random: Random,
}

impl<'a> Sampler<'a> {
    /// A seed gives the same calls each time.
    #[must_use]
    pub fn new(policy: &'a Policy, program: &Program, seed: u64) -> Sampler<'a> {
        let mut ruled = Vec::new();
        let mut numbers = vec![0, 1, 0x3fff_ffff, 0x4000_0000, 0x8000_0000, u32::MAX];
        let mut values = BORDERS.to_vec();
        for (arch, abi) in policy.abis() {
            numbers.extend(abi.newest());
            for (nr, rules) in abi.rules() {
                ruled.push((arch, nr, rules));
                numbers.push(nr);
                let conditions = rules.iter().flat_map(|rule| &rule.conditions);
                values.extend(conditions.map(|condition| condition.test.datum()));
            }
        }
        // Conditional rules are few among the many that only name a number, and more can go wrong about them.
        let conditional = ruled
            .iter()
            .filter(|(_, _, rules)| !rules[0].is_unconditional());
        let conditional: Vec<_> = conditional.copied().collect();
        for _ in 0..ruled.len().checked_div(conditional.len()).unwrap_or(0) {
            ruled.extend(&conditional);
        }
        for insn in program.insns() {
            if !matches!(insn.operation(), None | Some(Operation::Return(_))) {
                numbers.push(insn.k);
                values.extend([u64::from(insn.k), u64::from(insn.k) << 32]);
            }
        }
        let mut archs: Vec<Arch> = policy.abis().map(|(arch, _)| arch).collect();
        archs.extend(archs.clone().repeat(3));
        archs.push(if policy.native() == Arch::Arm {
            Arch::Sh
        } else {
            Arch::Arm
        });
        values.sort_unstable();
        values.dedup();
        numbers.sort_unstable();
        numbers.dedup();
        Sampler {
            ruled,
            archs,
            numbers,
            values,
            random: Random::new(seed),
        }
    }

    /// Another call.
    pub fn draw(&mut self) -> Call {
        let mut args = [0; 6].map(|_| self.value());
        let (arch, nr) = if self.ruled.is_empty() || self.random.below(4) == 0 {
            (
                *self.random.pick(&self.archs),
                *self.random.pick(&self.numbers),
            )
        } else {
            let (arch, nr, rules) = *self.random.pick(&self.ruled);
            let rule = self.random.pick(rules);
            for condition in &rule.conditions {
                args[usize::from(condition.arg)] = self.about(condition.test);
            }
            (arch, nr)
        };
        let nr = match self.random.below(8) {
            0 => nr.wrapping_add(1),
            1 => nr.wrapping_sub(1),
            _ => nr,
        };
        let instruction_pointer = self.value();
        Call {
            instruction_pointer,
            ..Call::new(arch, nr, args)
        }
    }

    /// A value that is known to matter, or is next to one.
    fn value(&mut self) -> u64 {
        let value = *self.random.pick(&self.values);
        self.near(value)
    }

    /// A value at the border of a test, or next to it.
    fn about(&mut self, test: Test) -> u64 {
        if let Test::Masked { mask, value } = test {
            let value = value & mask | self.random.next() & !mask;
            return match self.random.below(2) {
                0 => value,
                _ => self.near(value),
            };
        }
        self.near(test.datum())
    }

    fn near(&mut self, value: u64) -> u64 {
        match self.random.below(10) {
            0 => value.wrapping_add(1),
            1 => value.wrapping_sub(1),
            2 => value ^ (1 << self.random.below(64)),
            3 => value & 0xffff_ffff,
            4 => value | self.random.next() << 32,
            5 => value.rotate_left(32),
            6 => self.random.next(),
            _ => value,
        }
    }
}

/// Calls with what a policy says of each.
#[derive(Debug)]
pub struct Samples(Vec<(Call, Action)>);

impl Samples {
    /// So many calls about a policy and a program for it.
    #[must_use]
    pub fn new(policy: &Policy, program: &Program, count: usize, seed: u64) -> Samples {
        let mut sampler = Sampler::new(policy, program, seed);
        let calls = std::iter::repeat_with(|| sampler.draw()).take(count);
        Samples(
            calls
                .map(|call| (call, policy.decide(&call).action))
                .collect(),
        )
    }

    /// The first call that a program answers otherwise than the policy.
    #[must_use]
    pub fn difference(&self, program: &Program) -> Option<Call> {
        let differs = |(call, action): &&(Call, Action)| program.simulate(call).action != *action;
        self.0.iter().find(differs).map(|(call, _)| *call)
    }
}
