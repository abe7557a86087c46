//! Random profiles that both compilers can express, and calls close to where their verdicts change.
//!
//! The domain: names that libseccomp has at the same numbers; EQ and MASKED_EQ on any arguments; comparisons of
//! order and NE with values below 2³² where all rules of a call are about one argument; no rule for newer calls.

use anyhow::{Result, ensure};
use callgate::compiler::arch::X32_BIT;
use callgate::compiler::{Arch, Call, syscalls};

use crate::libseccomp;
use crate::reference::{Reference, Rule, multiplexer};
use crate::rules::{Arg, Entry, Operator, Rules};

/// The architectures of a profile, the native one first. Those that people run stand here more often.
const SETS: [&[Arch]; 12] = [
    &[Arch::X86_64, Arch::X86, Arch::X32],
    &[Arch::X86_64, Arch::X86, Arch::X32],
    &[Arch::X86_64, Arch::X86],
    &[Arch::X86_64],
    &[Arch::X86_64, Arch::X32],
    &[Arch::Aarch64, Arch::Arm],
    &[Arch::Aarch64],
    &[Arch::Arm],
    &[Arch::S390x, Arch::S390],
    &[Arch::Ppc64le],
    &[Arch::Mips64, Arch::Mips, Arch::Mips64N32],
    &[Arch::Riscv64],
];

/// Actions with their numbers.
const ACTIONS: [(&str, Option<u16>); 10] = [
    ("SCMP_ACT_ALLOW", None),
    ("SCMP_ACT_ALLOW", None),
    ("SCMP_ACT_ERRNO", None),
    ("SCMP_ACT_ERRNO", Some(38)),
    ("SCMP_ACT_ERRNO", Some(4094)),
    ("SCMP_ACT_TRACE", Some(7)),
    ("SCMP_ACT_LOG", None),
    ("SCMP_ACT_TRAP", None),
    ("SCMP_ACT_KILL_PROCESS", None),
    ("SCMP_ACT_KILL_THREAD", None),
];

/// Data that matter: borders of words and signs, and Moby's mask for clone.
const DATA: [u64; 14] = [
    0,
    1,
    2,
    0x7fff_ffff,
    0x8000_0000,
    0x7e02_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x8000_0000_0000_0000,
    0xffff_ffff_0000_0000,
    0xffff_ffff_ffff_fffe,
    u64::MAX,
];

/// Numbers about which there is something special.
const BORDER_NUMBERS: [u32; 9] = [
    0,
    X32_BIT - 1,
    X32_BIT,
    0x7fff_ffff,
    0x8000_0000,
    0xc000_0000,
    0xffff_0000,
    u32::MAX - 1,
    u32::MAX,
];

/// A source of numbers that is the same for the same seed (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Starts from a seed.
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One below a bound, which must not be 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// One of a list, which must not be empty.
    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        let place = self.next() % u64::try_from(list.len()).unwrap_or(u64::MAX);
        &list[usize::try_from(place).unwrap_or(0)]
    }

    /// True `percent` times in a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn count(&mut self, least: u64, most: u64) -> usize {
        usize::try_from(least + self.below(most - least + 1)).unwrap_or(0)
    }
}

/// Makes profiles.
#[derive(Debug)]
pub(crate) struct Profiles {
    random: Random,
    /// The names for each of [`SETS`].
    names: Vec<Vec<&'static str>>,
}

impl Profiles {
    /// Starts from a seed.
    pub(crate) fn new(seed: u64) -> Result<Profiles> {
        let comparable = |archs: &&[Arch]| {
            let agree = |name: &&str| archs.iter().all(|arch| same_number(*arch, name));
            syscalls::names().filter(agree).collect::<Vec<_>>()
        };
        let names: Vec<_> = SETS.iter().map(comparable).collect();
        ensure!(
            names.iter().all(|names| names.len() > 200),
            "libseccomp shares too few names"
        );
        Ok(Profiles {
            random: Random::new(seed),
            names,
        })
    }

    /// The next profile.
    pub(crate) fn next(&mut self) -> Rules {
        let set = self.random.count(0, 11);
        let names = &self.names[set];
        let random = &mut self.random;
        let (default_action, default_errno_ret) = *random.pick(&ACTIONS);
        let mut syscalls = Vec::new();
        for _ in 0..random.count(0, 4) {
            syscalls.push(plain_entry(random, names));
        }
        for _ in 0..random.count(1, 6) {
            let name = *random.pick(names);
            syscalls.extend(conditional_entries(random, name, SETS[set]));
        }
        shuffle(random, &mut syscalls);
        Rules {
            default_action: default_action.to_owned(),
            default_errno_ret,
            architectures: SETS[set].iter().map(|arch| arch.oci_name()).collect(),
            syscalls,
        }
    }
}

/// Whether both tables have the name at the same number, or neither has it, on an architecture.
fn same_number(arch: Arch, name: &str) -> bool {
    // A rule with this name reaches no other architecture than the one that the library was built for.
    let is_carried = name != "sys_debug_setcontext";
    is_carried && libseccomp::number(arch, name) == syscalls::number(arch, name)
}

/// Some calls, always the same.
fn plain_entry(random: &mut Random, names: &[&str]) -> Entry {
    let (action, errno_ret) = *random.pick(&ACTIONS);
    let count = random.count(1, 12);
    Entry {
        names: (0..count)
            .map(|_| (*random.pick(names)).to_owned())
            .collect(),
        action: action.to_owned(),
        errno_ret,
        args: Vec::new(),
    }
}

/// Some rules about the arguments of one call.
fn conditional_entries(random: &mut Random, name: &str, archs: &[Arch]) -> Vec<Entry> {
    // A multiplexed call is about its selector as well, so about two arguments.
    let is_multiplexed = archs.iter().any(|arch| multiplexer(*arch, name).is_some());
    let only_argument = if !is_multiplexed && random.chance(50) {
        Some(u8::try_from(random.below(6)).unwrap_or(0))
    } else {
        None
    };
    let data: Vec<u64> = (0..4)
        .map(|_| datum(random, only_argument.is_some()))
        .collect();
    let entry = |random: &mut Random| {
        let (action, errno_ret) = if random.chance(50) {
            ("SCMP_ACT_ALLOW", None)
        } else {
            *random.pick(&ACTIONS)
        };
        Entry {
            names: vec![name.to_owned()],
            action: action.to_owned(),
            errno_ret,
            args: match only_argument {
                Some(index) => ranges(random, index, &data),
                None => equalities(random, &data),
            },
        }
    };
    (0..random.count(1, 5)).map(|_| entry(random)).collect()
}

/// Conditions of any kind on one argument.
fn ranges(random: &mut Random, index: u8, data: &[u64]) -> Vec<Arg> {
    use Operator::*;
    let condition = |random: &mut Random| Arg {
        index,
        value: *random.pick(data),
        value_two: *random.pick(data),
        op: *random.pick(&[Ne, Lt, Le, Eq, Ge, Gt]),
    };
    // Two of them on one argument are two rules.
    let count = if random.chance(15) { 2 } else { 1 };
    (0..count).map(|_| condition(random)).collect()
}

/// Conditions of equality on some arguments.
fn equalities(random: &mut Random, data: &[u64]) -> Vec<Arg> {
    let mut args: Vec<Arg> = Vec::new();
    for _ in 0..random.count(1, 3) {
        let op = *random.pick(&[Operator::Eq, Operator::MaskedEq]);
        let mut value = *random.pick(data);
        if op == Operator::MaskedEq && value & 0xffff_ffff == 0 {
            value |= 1 << random.below(32);
        }
        args.push(Arg {
            index: u8::try_from(random.below(6)).unwrap_or(0),
            value,
            value_two: *random.pick(data) & value,
            op,
        });
    }
    args
}

fn datum(random: &mut Random, short: bool) -> u64 {
    let datum = match random.below(3) {
        0 => *random.pick(&DATA),
        1 => random.below(64),
        _ => random.next(),
    };
    if short { datum & 0xffff_ffff } else { datum }
}

fn shuffle<T>(random: &mut Random, list: &mut [T]) {
    for i in (1..list.len()).rev() {
        let j = random.below(u64::try_from(i).unwrap_or(0) + 1);
        list.swap(i, usize::try_from(j).unwrap_or(0));
    }
}

/// Random calls near the borders of a profile.
pub(crate) fn calls(reference: &Reference, archs: &[Arch], seed: u64, count: usize) -> Vec<Call> {
    let mut random = Random::new(seed);
    (0..count)
        .map(|_| call(&mut random, reference, archs))
        .collect()
}

/// Every number of every architecture, with arguments at the borders of its rules.
pub(crate) fn border_calls(reference: &Reference) -> Vec<Call> {
    let mut calls = Vec::new();
    for arch in Arch::ALL {
        // A foreign one has one verdict for all of its calls.
        let is_in = reference.arch_of(&Call::new(arch, 0, [0; 6])).is_some();
        let numbers = if is_in {
            border_numbers(arch)
        } else {
            BORDER_NUMBERS.to_vec()
        };
        for nr in numbers {
            let rules = reference.rules_of(&Call::new(arch, nr, [0; 6]));
            let mut data: Vec<u64> = rules.iter().flat_map(|rule| rule_data(rule)).collect();
            data.extend([0, u64::MAX]);
            data.sort_unstable();
            data.dedup();
            for datum in data {
                for value in around(datum) {
                    for arg in 0..6 {
                        let mut args = [0; 6];
                        args[arg] = value;
                        calls.push(Call::new(arch, nr, args));
                        // Of a multiplexer the other arguments count only where the first is right.
                        args[0] = if arg == 0 { value } else { datum };
                        calls.push(Call::new(arch, nr, args));
                    }
                    calls.push(Call::new(arch, nr, [value; 6]));
                }
            }
        }
    }
    calls
}

fn border_numbers(arch: Arch) -> Vec<u32> {
    let mut numbers: Vec<u32> = syscalls::table(arch)
        .flat_map(|(nr, _)| [nr, nr ^ X32_BIT])
        .collect();
    numbers.extend(0..600);
    numbers.extend(BORDER_NUMBERS);
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// A datum and those beside it, and each with another upper half.
fn around(datum: u64) -> [u64; 6] {
    let [below, above] = [datum.wrapping_sub(1), datum.wrapping_add(1)];
    [
        below,
        datum,
        above,
        datum ^ (1 << 32),
        datum ^ (1 << 63),
        !datum,
    ]
}

fn call(random: &mut Random, reference: &Reference, archs: &[Arch]) -> Call {
    let (arch, nr, rules) = if random.chance(85) && !reference.rules.is_empty() {
        let rule = random.pick(&reference.rules);
        let same = |r: &&Rule| r.arch == rule.arch && r.nr == rule.nr;
        let rules: Vec<&Rule> = reference.rules.iter().filter(same).collect();
        (rule.arch, near_number(random, rule.nr), rules)
    } else {
        (any_arch(random, archs), any_number(random), Vec::new())
    };
    let data: Vec<u64> = rules.iter().flat_map(|rule| rule_data(rule)).collect();
    let mut args = [0; 6].map(|_| any_datum(random, &data));
    if random.chance(75) && !rules.is_empty() {
        let rule = *random.pick(&rules);
        satisfy(rule, &mut args);
        if random.chance(40) {
            let arg = random.count(0, 5);
            args[arg] = near_datum(random, args[arg]);
        }
    }
    Call {
        instruction_pointer: random.next(),
        ..Call::new(arch, nr, args)
    }
}

/// Mostly the number itself.
fn near_number(random: &mut Random, nr: u32) -> u32 {
    match random.below(20) {
        0 => nr.wrapping_add(1),
        1 => nr.wrapping_sub(1),
        2 => nr ^ X32_BIT,
        3 => nr | 0x8000_0000,
        _ => nr,
    }
}

fn any_number(random: &mut Random) -> u32 {
    let small = u32::try_from(random.below(600)).unwrap_or(0);
    match random.below(3) {
        0 => *random.pick(&BORDER_NUMBERS),
        1 => small | X32_BIT,
        _ => small,
    }
}

fn any_arch(random: &mut Random, archs: &[Arch]) -> Arch {
    if random.chance(70) {
        *random.pick(archs)
    } else {
        *random.pick(&Arch::ALL)
    }
}

fn rule_data(rule: &Rule) -> Vec<u64> {
    rule.args
        .iter()
        .flat_map(|arg| [arg.value, arg.value_two])
        .collect()
}

fn any_datum(random: &mut Random, data: &[u64]) -> u64 {
    let datum = match random.below(4) {
        0 => *random.pick(&DATA),
        1 => random.next(),
        _ if data.is_empty() => random.below(8),
        _ => *random.pick(data),
    };
    near_datum(random, datum)
}

/// The datum, or one beside it: by one, by a bit, by its upper half.
fn near_datum(random: &mut Random, datum: u64) -> u64 {
    match random.below(6) {
        0 => datum.wrapping_add(1),
        1 => datum.wrapping_sub(1),
        2 => datum ^ (1 << random.below(64)),
        3 => datum ^ (random.next() << 32),
        _ => datum,
    }
}

/// Makes arguments that a rule matches, or nearly does.
fn satisfy(rule: &Rule, args: &mut [u64; 6]) {
    for arg in &rule.args {
        let given = &mut args[usize::from(arg.index)];
        *given = match arg.op {
            Operator::MaskedEq => *given & !arg.value | arg.value_two,
            Operator::Lt => arg.value.wrapping_sub(1),
            Operator::Gt | Operator::Ne => arg.value.wrapping_add(1),
            Operator::Eq | Operator::Le | Operator::Ge => arg.value,
        };
    }
}
