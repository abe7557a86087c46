//! What a summary says is the policy: its lines are read back by a reader of their own, and what comes of that is proved equal to the
//! filter of the profile, on every call.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // A test throughout.

use std::fs;
use std::path::Path;

use callgate_compiler::policy::{Condition, Policy, PolicyBuilder, RuleId, RuleOrder, Test};
use callgate_compiler::proof::prove;
use callgate_compiler::signatures::{self, constants};
use callgate_compiler::summary::{ProgramSummary, Summary};
use callgate_compiler::{
    Action, Arch, Call, Capabilities, Context, Filter, Profile, profile, syscalls,
};

/// Conditions that must all hold, and several such of which one suffices.
type Alternatives = Vec<Vec<Condition>>;

/// The upper half of an argument.
const HIGH: u64 = 0xffff_ffff_0000_0000;

/// A test that wants its datum.
type OfDatum = fn(u64) -> Test;

/// Reads conditions on the arguments of one call.
struct Reader<'a> {
    arch: Arch,
    call: &'a str,
}

impl Reader<'_> {
    fn any(&self, text: &str) -> Alternatives {
        split(text, " or ")
            .iter()
            .flat_map(|part| self.all(part))
            .collect()
    }

    fn all(&self, text: &str) -> Alternatives {
        let parts = split(text, " and ");
        parts.iter().fold(vec![Vec::new()], |sofar, part| {
            let next = match part
                .strip_prefix('(')
                .filter(|_| !part.starts_with("(int)"))
            {
                Some(inner) => self.any(inner.strip_suffix(')').unwrap()),
                None => self.one(part),
            };
            let joined = sofar
                .iter()
                .flat_map(|a| next.iter().map(move |b| [&a[..], b].concat()));
            joined.collect()
        })
    }

    /// One comparison.
    fn one(&self, text: &str) -> Alternatives {
        if let Some((low, rest)) = text.split_once(" <= ") {
            if let Some((operand, high)) = rest.split_once(" <= ") {
                let above = self.compare(operand, Test::Ge(self.number(low)));
                let below = self.compare(operand, Test::Le(self.number(high)));
                return vec![vec![above, below]];
            }
        }
        let list = |text: &str| {
            let inner = text.strip_prefix('{').unwrap().strip_suffix('}').unwrap();
            inner
                .split(", ")
                .map(|value| self.number(value))
                .collect::<Vec<_>>()
        };
        if let Some((operand, values)) = text.split_once(" not in ") {
            if operand.starts_with("(int)") {
                let others = list(values)
                    .into_iter()
                    .map(|value| format!("{operand} != {value}"));
                return self.all(&others.collect::<Vec<_>>().join(" and "));
            }
            let each = list(values)
                .into_iter()
                .map(|value| self.compare(operand, Test::Ne(value)));
            return vec![each.collect()];
        }
        if let Some((operand, values)) = text.split_once(" in ") {
            let each = list(values)
                .into_iter()
                .map(|value| vec![self.compare(operand, Test::Eq(value))]);
            return each.collect();
        }
        let tests: [(&str, OfDatum); 4] = [
            (" == ", Test::Eq),
            (" != ", Test::Ne),
            (" <= ", Test::Le),
            (" >= ", Test::Ge),
        ];
        let masked = |operand: &str| operand.contains(" & ") || operand.starts_with("(int)");
        if let Some((operand, value)) = text
            .split_once(" != ")
            .filter(|(operand, _)| masked(operand))
        {
            return self.differs(operand, self.number(value));
        }
        let found = tests
            .iter()
            .find_map(|(sign, test)| Some((text.split_once(sign)?, test)));
        let ((operand, value), test) = found.unwrap_or_else(|| panic!("{text}"));
        vec![vec![self.compare(operand, test(self.number(value)))]]
    }

    /// That some bits aren't a value: some bit differs.
    fn differs(&self, operand: &str, value: u64) -> Alternatives {
        let Test::Masked { mask, .. } = self.compare(operand, Test::Eq(value)).test else {
            panic!("{operand}");
        };
        let bits = (0..64)
            .map(|bit| 1_u64 << bit)
            .filter(|bit| mask & bit != 0);
        let arg = self.compare(operand, Test::Eq(value)).arg;
        let other = bits.map(|bit| {
            vec![Condition {
                arg,
                test: Test::Masked {
                    mask: bit,
                    value: !value & bit,
                },
            }]
        });
        other.collect()
    }

    fn compare(&self, operand: &str, test: Test) -> Condition {
        let (name, mask) = match (operand.strip_prefix("(int) "), operand.split_once(" & ")) {
            (Some(name), _) => (name, Some(0xffff_ffff)),
            (None, Some((name, mask))) => {
                let mask = mask.trim_start_matches('(').trim_end_matches(')');
                (name, Some(self.number(mask)))
            }
            (None, None) => (operand, None),
        };
        let arguments = signatures::arguments(self.arch, self.call);
        let position = arguments.iter().position(|argument| argument.name == name);
        let by_number = || name.strip_prefix("arg").and_then(|n| n.parse().ok());
        let arg = position
            .or_else(by_number)
            .unwrap_or_else(|| panic!("{name}"));
        let test = match (test, mask) {
            (test, None) => test,
            (Test::Eq(value), Some(mask)) => Test::Masked { mask, value },
            (test, Some(mask)) if mask == self.arch.argument_mask() => test,
            // Of the upper half.
            (Test::Ge(value), Some(HIGH)) => Test::Ge(value),
            (Test::Le(value), Some(HIGH)) => Test::Le(value | !HIGH),
            other => panic!("{other:?}"),
        };
        Condition {
            arg: u8::try_from(arg).unwrap(),
            test,
        }
    }

    fn number(&self, text: &str) -> u64 {
        let part = |part: &str| {
            let hex = part
                .strip_prefix("0x")
                .map(|hex| u64::from_str_radix(hex, 16).unwrap());
            let negative = || {
                part.strip_prefix('-')
                    .map(|n| n.parse::<u64>().unwrap().wrapping_neg())
            };
            hex.or_else(negative)
                .or_else(|| part.parse().ok())
                .or_else(|| constants::value(self.arch, part))
                .unwrap_or_else(|| panic!("{part}"))
        };
        text.split('|').map(part).fold(0, |all, part| all | part)
    }
}

/// Splits at a word outside parentheses.
fn split<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ if depth == 0 && at >= start && text[at..].starts_with(word) => {
                parts.push(&text[start..at]);
                start = at + word.len();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// The policy that a summary comes to. What a summary doesn't speak of is as in `like`.
fn read_back(summary: &Summary, like: &Policy) -> Policy {
    let mut builder = PolicyBuilder::new(like.native(), like.default_action());
    builder
        .bad_arch(like.bad_arch())
        .rule_order(RuleOrder::Document)
        .newer_calls(like.newer_call().is_some());
    for (arch, abi) in like.abis() {
        builder.abi(arch).unwrap();
        if let Some(newest) = abi.newest() {
            builder.resolved(arch, newest);
        }
    }
    let mut id = 0;
    let mut rule = |arch: Arch, call: &str, action: Action, conditions: &[Condition]| {
        let by_number = || u32::from_str_radix(call.strip_prefix("0x")?, 16).ok();
        if let Some(nr) = syscalls::number(arch, call).or_else(by_number) {
            builder
                .rule(arch, nr, RuleId(id), action, conditions)
                .unwrap();
            id += 1;
        }
    };
    let all: Vec<Arch> = like.abis().map(|(arch, _)| arch).collect();
    let on = |archs: &[Arch]| {
        if archs.is_empty() {
            all.clone()
        } else {
            archs.to_vec()
        }
    };
    for plain in &summary.plain {
        for (arch, call) in on(&plain.archs)
            .iter()
            .flat_map(|a| plain.calls.iter().map(move |c| (*a, c)))
        {
            rule(arch, call, plain.action, &[]);
        }
    }
    for conditional in &summary.conditional {
        for arch in on(&conditional.archs) {
            let reader = Reader {
                arch,
                call: &conditional.call,
            };
            for case in &conditional.cases {
                for conditions in reader.any(&case.condition) {
                    rule(arch, &conditional.call, case.action, &conditions);
                }
            }
            if let Some(action) = conditional.otherwise {
                rule(arch, &conditional.call, action, &[]);
            }
        }
    }
    builder.build()
}

/// Proves that the summary of a profile in a context is its filter.
fn holds(name: &str, document: &[u8], context: &Context) -> Summary {
    let profile = Profile::parse(document).unwrap();
    let filter = Filter::compile(&profile, context).unwrap();
    let summary = Summary::of(filter.policy());
    let policy = read_back(&summary, filter.policy());
    if let Err(error) = prove(&policy, filter.program()) {
        panic!("{name} on {}: {error:?}\n{summary:#?}", context.arch);
    }
    of_program(name, &filter);
    summary
}

/// Proves the same of what the instructions alone are seen to say.
fn of_program(name: &str, filter: &Filter) {
    let summary = ProgramSummary::of(filter.program()).unwrap();
    let policy = read_back(&summary.calls, filter.policy());
    if let Err(error) = prove(&policy, filter.program()) {
        panic!("{name}: {error:?}\n{:#?}", summary.calls.conditional);
    }
    assert_eq!(summary.other_archs, Some(filter.policy().bad_arch()));
    // x32 has no value of its own, so nothing tells it where all its calls are alike.
    let archs = filter.policy().abis().map(|(arch, _)| arch);
    let archs: Vec<Arch> = archs
        .filter(|arch| *arch != Arch::X32 || summary.archs.contains(arch))
        .collect();
    assert_eq!(summary.archs, archs);
    for unnamed in &summary.unnamed {
        for nr in [unnamed.from, unnamed.to] {
            let verdict = filter.policy().decide(&Call::new(unnamed.arch, nr, [7; 6]));
            assert_eq!(verdict.action, unnamed.action, "{unnamed:?} {nr:#x}");
        }
    }
}

fn contexts() -> impl Iterator<Item = Context> {
    let natives = Arch::ALL.into_iter().filter(|arch| arch.is_native());
    natives.flat_map(|arch| {
        let context = Context::new(arch, "6.18".parse().unwrap());
        let all = Context {
            capabilities: Capabilities::all(),
            ..context.clone()
        };
        let none = Context {
            capabilities: Capabilities::none(),
            newer_calls: false,
            ..context.clone()
        };
        [context, all, none]
    })
}

#[test]
fn the_default_profile_is_what_its_summary_says() {
    for context in contexts() {
        holds("default", profile::DEFAULT.as_bytes(), &context);
    }
}

#[test]
fn other_profiles_are_what_their_summaries_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/profiles");
    for name in ["moby-default", "containers-common-default"] {
        let Ok(document) = fs::read(folder.join(format!("{name}.json"))) else {
            println!("skipped: {name}: needs ../shared/data/profiles");
            continue;
        };
        for context in contexts() {
            let summary = holds(name, &document, &context);
            assert!(
                summary.plain.len() + summary.conditional.len() <= 20,
                "{summary:#?}"
            );
        }
    }
}

#[test]
fn odd_conditions_are_what_their_summary_says() {
    let args = [
        r#"{"index":1,"op":"SCMP_CMP_GT","value":0},{"index":2,"op":"SCMP_CMP_NE","value":7}"#,
        r#"{"index":0,"op":"SCMP_CMP_MASKED_EQ","value":18446744069414584320,"valueTwo":4294967296}"#,
        r#"{"index":0,"op":"SCMP_CMP_LT","value":0}"#,
        r#"{"index":1,"op":"SCMP_CMP_GE","value":4294967296}"#,
        r#"{"index":2,"op":"SCMP_CMP_LE","value":18446744073709551615},{"index":3,"op":"SCMP_CMP_EQ","value":9}"#,
        r#"{"index":5,"op":"SCMP_CMP_MASKED_EQ","value":0,"valueTwo":0}"#,
        r#"{"index":4,"op":"SCMP_CMP_GT","value":18446744073709551615}"#,
        r#"{"index":1,"op":"SCMP_CMP_NE","value":3},{"index":0,"op":"SCMP_CMP_MASKED_EQ","value":4294967295,"valueTwo":5}"#,
    ];
    for call in ["ioctl", "clone"] {
        for (i, first) in args.iter().enumerate() {
            for second in &args[i..] {
                let entry = |args: &str, action: &str| {
                    format!(
                        r#"{{"names":["{call}"],"action":"SCMP_ACT_{action}","args":[{args}]}}"#
                    )
                };
                let document = format!(
                    r#"{{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86","SCMP_ARCH_X32","SCMP_ARCH_S390"],"syscalls":[{},{}]}}"#,
                    entry(first, "ALLOW"),
                    entry(second, if first == second { "ALLOW" } else { "LOG" })
                );
                for arch in [Arch::X86_64, Arch::S390x] {
                    // Calls that are newer than the profile have numbers without names between them.
                    let context = Context {
                        newer_calls: false,
                        ..Context::new(arch, "6.18".parse().unwrap())
                    };
                    let Ok(profile) = Profile::parse(document.as_bytes()) else {
                        continue;
                    };
                    // Cut to 32 bits, two conditions may be the same.
                    if Filter::compile(&profile, &context).is_ok() {
                        holds(call, document.as_bytes(), &context);
                    }
                }
            }
        }
    }
}
