//! Differences as a reader wants them: calls by name, brought together where the same is to be said of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use callgate::compiler::arch::X32_BIT;
use callgate::compiler::proof::{Conditions, Difference, Part, Values};
use callgate::compiler::{signatures, syscalls};
use callgate::{Action, Arch, Call, Context};

use crate::call;

/// How wide lines are.
const WIDTH: usize = 100;
/// From so many numbers on they are not looked at one by one: no table has as many.
const MANY: u32 = 1 << 16;
/// From so many names on those are listed that aren't meant, if they are fewer.
const MANY_NAMES: usize = 100;

/// Calls of which the same is to be said.
pub(super) struct Kind {
    pub(super) from: Action,
    pub(super) to: Action,
    /// When, if it depends on the arguments; else empty.
    pub(super) when: String,
    /// The ABIs on which it is so.
    pub(super) abis: Vec<String>,
    /// The names, or ranges of numbers without a name.
    pub(super) calls: Vec<String>,
    pub(super) witness: Call,
}

/// What is said of a call: answers and condition.
type Said = (Action, Action, String);

/// Brings differences together.
pub(super) fn kinds(found: &[Difference], context: &Context) -> Vec<Kind> {
    // By what is said, then by call: the ABIs, and a call that shows it.
    let mut said: BTreeMap<Said, BTreeMap<String, (Vec<String>, Call)>> = BTreeMap::new();
    for difference in found {
        for call in calls(difference) {
            let when = when(&difference.conditions, call.arch, &call.name);
            let key = (difference.from, difference.to, when);
            let by_call = said.entry(key).or_default();
            let witness = Call {
                nr: call.nr,
                ..difference.witness
            };
            let new = || (Vec::new(), witness);
            by_call
                .entry(call.name)
                .or_insert_with(new)
                .0
                .push(call.abi);
        }
    }
    let mut kinds: Vec<Kind> = Vec::new();
    for ((from, to, when), by_call) in said {
        let first = kinds.len();
        for (call, (mut abis, witness)) in by_call {
            abis.sort_by_key(|abi| (*abi != context.arch.name(), abi.clone()));
            match kinds[first..].iter_mut().find(|kind| kind.abis == abis) {
                Some(kind) => kind.calls.push(call),
                None => kinds.push(Kind {
                    from,
                    to,
                    when: when.clone(),
                    abis,
                    calls: vec![call],
                    witness,
                }),
            }
        }
    }
    // What B lets through that A doesn't is what a reader must see first.
    kinds.sort_by_key(|kind| (kind.rank(), kind.from, kind.to, !kind.when.is_empty()));
    kinds
}

/// Calls of which one thing is said: a name, or numbers without one.
struct Named {
    abi: String,
    /// The architecture whose tables hold for it.
    arch: Option<Arch>,
    name: String,
    nr: u32,
}

/// The calls of a difference.
fn calls(difference: &Difference) -> Vec<Named> {
    let (first, last) = difference.audits;
    let Some(arch) = Arch::of_call(first, 0).filter(|_| first == last) else {
        let foreign = |range: &(u32, u32)| Named {
            abi: "other architectures".to_owned(),
            arch: None,
            name: numbers(*range),
            nr: range.0,
        };
        return difference.numbers.iter().map(foreign).collect();
    };
    let by_abi = difference.numbers.iter().flat_map(|&(from, to)| {
        // Numbers of x32 are of their own.
        let x32 = (arch == Arch::X86_64 && from < X32_BIT && X32_BIT <= to).then_some(X32_BIT);
        let below = x32.map(|x32| (from, x32 - 1));
        below.into_iter().chain([(x32.unwrap_or(from), to)])
    });
    by_abi.flat_map(|range| named(first, range)).collect()
}

/// The names in a range of numbers of one ABI, and the numbers between them.
fn named(audit: u32, (from, to): (u32, u32)) -> Vec<Named> {
    let arch = Arch::of_call(audit, from);
    let abi = arch.map_or_else(|| format!("{audit:#x}"), |arch| arch.name().to_owned());
    let named = |name: String, nr| Named {
        abi: abi.clone(),
        arch,
        name,
        nr,
    };
    let mut calls = Vec::new();
    let mut unnamed = from;
    for nr in from..=to.min(from.saturating_add(MANY)) {
        let Some(name) = arch.and_then(|arch| syscalls::name(arch, nr)) else {
            continue;
        };
        if let Some(before) = nr.checked_sub(1).filter(|before| unnamed <= *before) {
            calls.push(named(numbers((unnamed, before)), unnamed));
        }
        calls.push(named(name.to_owned(), nr));
        unnamed = nr.saturating_add(1);
    }
    if unnamed <= to {
        calls.push(named(numbers((unnamed, to)), unnamed));
    }
    calls
}

fn numbers((first, last): (u32, u32)) -> String {
    let number = |nr: u32| match nr {
        0..0x10000 => nr.to_string(),
        _ => format!("{nr:#x}"),
    };
    match (first, last) {
        (0, u32::MAX) => "all numbers".to_owned(),
        (first, last) if first == last => format!("number {}", number(first)),
        (first, last) => format!("numbers {}-{}", number(first), number(last)),
    }
}

/// When a call is meant, with the names of its arguments and their constants.
fn when(conditions: &Conditions, arch: Option<Arch>, call: &str) -> String {
    if conditions.is_always() {
        return String::new();
    }
    let Some(arch) = arch else {
        return conditions.to_string();
    };
    let alternatives = conditions.alternatives.iter().map(|alternative| {
        let parts = alternative.iter().map(|values| part(values, arch, call));
        parts.collect::<Vec<_>>().join(" and ")
    });
    let mut text = alternatives.collect::<Vec<_>>().join(", or ");
    if conditions.and_more {
        text += ", or …";
    }
    text
}

fn part(values: &Values, arch: Arch, call: &str) -> String {
    let argument = signatures::argument(arch, call, values.argument);
    let set = argument.as_ref().and_then(|argument| argument.set);
    let set = set.filter(|_| values.part != Part::High);
    let name = match (&argument, values.argument) {
        (_, 6) => "instruction pointer".to_owned(),
        (Some(argument), _) => argument.name.to_owned(),
        (None, index) => format!("arg{index}"),
    };
    let name = match arch.has_64bit_arguments() {
        true => format!("{}{name}", values.prefix()),
        false => name,
    };
    let plain = |value: u64| match value {
        0..1024 => value.to_string(),
        _ => format!("{value:#x}"),
    };
    let value = |value| set.map_or_else(|| plain(value), |set| set.display(arch, value));
    let mask = |mask| set.map_or_else(|| plain(mask), |set| set.display_mask(arch, mask));
    values.text(&name, &value, &mask)
}

impl Kind {
    /// What it means for who relies on the filter.
    pub(super) fn change(&self) -> &'static str {
        match self.to.severity().cmp(&self.from.severity()) {
            std::cmp::Ordering::Less => "stricter",
            std::cmp::Ordering::Greater => "looser",
            std::cmp::Ordering::Equal => "another answer",
        }
    }

    fn rank(&self) -> u8 {
        match self.change() {
            "looser" => 0,
            "stricter" => 1,
            _ => 2,
        }
    }

    /// The calls, with what they have in common where that is shorter.
    fn shortened(&self) -> Vec<String> {
        let (unnamed, names): (Vec<_>, Vec<_>) = self
            .calls
            .iter()
            .cloned()
            .partition(|call| call.contains(' '));
        let archs = self.abis.iter().map(|abi| abi.parse::<Arch>().ok());
        let archs: Vec<Arch> = archs.flatten().collect();
        let on_all = |name: &&str| {
            let mut archs = archs.iter();
            archs.all(|arch| syscalls::number(*arch, name).is_some())
        };
        let others = syscalls::names().filter(on_all);
        let others = others.filter(|name| !names.iter().any(|own| own == name));
        let mut others: Vec<String> = others.map(str::to_owned).collect();
        if archs.is_empty() || names.len() < MANY_NAMES || others.len() >= names.len() {
            return names.into_iter().chain(unnamed).collect();
        }
        others.sort();
        match others.first_mut() {
            Some(first) => *first = format!("all names but {first}"),
            None => others.push("all names".to_owned()),
        }
        if let Some(last) = others.last_mut().filter(|_| !unnamed.is_empty()) {
            last.push_str("; and");
        }
        others.into_iter().chain(unnamed).collect()
    }

    /// The calls, wrapped, and an example.
    pub(super) fn text(&self, native: Arch) -> String {
        let mut text = String::new();
        let mut line = format!("  {}:", self.abis.join(", "));
        let calls = self.shortened();
        for (i, call) in calls.iter().enumerate() {
            let comma = match i + 1 < calls.len() && !call.ends_with("; and") {
                true => ",",
                false => "",
            };
            if line.len() + call.len() + 2 > WIDTH {
                let _ = writeln!(text, "{line}");
                line = "   ".to_owned();
            }
            let _ = write!(line, " {call}{comma}");
        }
        let _ = writeln!(text, "{line}");
        if !self.when.is_empty() {
            let _ = writeln!(text, "    when {}", self.when);
            let _ = writeln!(text, "    as in {}", call::display(&self.witness, native));
        }
        text
    }
}
