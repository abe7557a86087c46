//! A second reading of profiles: JSON and a call in, an action out, in the most direct way there is.
//!
//! It shares no code with the compiler's reading and meaning: it knows facts (numbers, names of errnos), and otherwise
//! follows docs/meaning.md sentence by sentence, looking at the whole document anew for each call. So a mistake in how the
//! compiler reads, resolves, orders or lowers would have to be made here too, in another form, to stay unseen.
//!
//! `refusals` reads the document fail-closed, and `json` sees that no member occurs twice (anywhere: of a whole
//! configuration the compiler looks at the way to the profile only).

mod json;
mod refusals;

use std::cmp::Reverse;

use callgate::compiler::errno;
use callgate::compiler::policy::RuleOrder;
use callgate::compiler::syscalls;
use callgate::{Action, Arch, Call, Context};
use serde_json::Value;

/// A document and what it is read for.
#[derive(Debug)]
pub struct Naive<'a> {
    seccomp: Value,
    context: &'a Context,
}

/// One condition, cut to the ABI: argument, operator, datum, mask.
type Condition = (u64, String, u64, u64);

/// One rule on the number that is asked for.
#[derive(Clone, Debug, PartialEq)]
struct Rule {
    action: Action,
    conditions: Vec<Condition>,
}

impl<'a> Naive<'a> {
    /// Reads a document.
    ///
    /// # Errors
    /// What is wrong with it, in a word.
    pub fn read(json: &[u8], context: &'a Context) -> Result<Naive<'a>, String> {
        let seccomp = refusals::seccomp_of(&json::read(json)?)?;
        let naive = Naive { seccomp, context };
        naive.check()?;
        Ok(naive)
    }

    /// What happens to a call.
    #[must_use]
    pub fn verdict(&self, call: &Call) -> Action {
        let Some(arch) = self.abi_of(call) else {
            return Action::KillThread;
        };
        let x32_is_in = self.architectures().contains(&Arch::X32);
        if arch == Arch::X86_64 && !x32_is_in && call.nr >= 0x4000_0000 {
            return if call.nr == 0xffff_ffff {
                self.default_action()
            } else {
                Action::KillThread
            };
        }
        let mut rules = self.rules(arch, call.nr);
        if self.context.rule_order == RuleOrder::Runtime {
            rules.retain(|rule| rule.action != self.default_action());
            if let Some(unconditional) = rules.iter().find(|rule| rule.conditions.is_empty()) {
                return unconditional.action;
            }
            rules.sort_by_key(|rule| rule.conditions.iter().map(order).collect::<Vec<_>>());
        }
        let matching = rules
            .iter()
            .find(|rule| rule.conditions.iter().all(|c| holds(c, arch, call)));
        if let Some(rule) = matching {
            return rule.action;
        }
        if self.is_newer(arch, call.nr) {
            enosys(self.context.arch)
        } else {
            self.default_action()
        }
    }

    /// The ABI of a call, if it is in the set.
    fn abi_of(&self, call: &Call) -> Option<Arch> {
        let set = self.architectures();
        if call.audit == Arch::X86_64.audit() && set.contains(&Arch::X86_64) {
            let x32 = set.contains(&Arch::X32) && call.nr & (1 << 30) != 0;
            return Some(if x32 { Arch::X32 } else { Arch::X86_64 });
        }
        set.into_iter().find(|arch| arch.audit() == call.audit)
    }

    fn architectures(&self) -> Vec<Arch> {
        let native = self.context.arch;
        let named = |value: &Value| match value.as_str() {
            Some("SCMP_ARCH_NATIVE") => Some(native),
            Some(name) => Arch::ALL
                .into_iter()
                .find(|arch| arch.oci_name() == name || arch.name() == name),
            None => None,
        };
        let mut set = vec![native];
        let mapped = list(&self.seccomp["archMap"]);
        let entry = mapped
            .iter()
            .find(|entry| named(&entry["architecture"]) == Some(native));
        match entry {
            Some(entry) => set.extend(list(&entry["subArchitectures"]).iter().filter_map(named)),
            None => set.extend(
                list(&self.seccomp["architectures"])
                    .iter()
                    .filter_map(named),
            ),
        }
        set.retain(|arch| native.runs(*arch));
        set
    }

    fn default_action(&self) -> Action {
        let seccomp = &self.seccomp;
        action(
            &seccomp["defaultAction"],
            &seccomp["defaultErrno"],
            &seccomp["defaultErrnoRet"],
            self.context.arch,
        )
    }

    /// The entries that are there in this context.
    fn entries(&self) -> Vec<&Value> {
        let all = self.seccomp["syscalls"].as_array();
        all.into_iter()
            .flatten()
            .filter(|entry| self.is_there(entry))
            .collect()
    }

    fn is_there(&self, entry: &Value) -> bool {
        let native = self.context.arch;
        let other_name = match native {
            Arch::X86 => "386",
            Arch::Loongarch64 => "loongarch64",
            _ => native.docker_name(),
        };
        let is_native = |name: &Value| name == native.docker_name() || name == other_name;
        let (includes, excludes) = (&entry["includes"], &entry["excludes"]);
        let held = |cap: &Value| {
            cap.as_str()
                .is_some_and(|cap| self.context.capabilities.contains(cap))
        };
        let reached = |version: &Value| version.as_str().is_some_and(|text| self.reached(text));
        if list(&excludes["arches"]).iter().any(is_native)
            || list(&excludes["caps"]).iter().any(held)
            || reached(&excludes["minKernel"])
        {
            return false;
        }
        let arches = list(&includes["arches"]);
        (arches.is_empty() || arches.iter().any(is_native))
            && list(&includes["caps"]).iter().all(held)
            && (includes["minKernel"].is_null() || reached(&includes["minKernel"]))
    }

    fn reached(&self, version: &str) -> bool {
        let parts: Vec<u32> = version
            .split('.')
            .filter_map(|part| part.parse().ok())
            .collect();
        let kernel = self.context.kernel;
        parts.len() == 2 && (kernel.major, kernel.minor) >= (parts[0], parts[1])
    }

    /// All rules on a number, in the order of the document.
    fn rules(&self, arch: Arch, nr: u32) -> Vec<Rule> {
        let mut rules = Vec::new();
        for entry in self.entries() {
            let action = action(
                &entry["action"],
                &entry["errno"],
                &entry["errnoRet"],
                self.context.arch,
            );
            let conditions: Vec<Condition> = list(&entry["args"])
                .iter()
                .map(|arg| condition(arg, arch))
                .collect();
            let twice = (1..conditions.len())
                .any(|i| conditions[..i].iter().any(|c| c.0 == conditions[i].0));
            let alternatives: Vec<Vec<Condition>> = match twice {
                true => conditions
                    .into_iter()
                    .map(|condition| vec![condition])
                    .collect(),
                false => vec![conditions],
            };
            for name in names(entry) {
                for conditions in &alternatives {
                    if syscalls::number(arch, &name) == Some(nr) {
                        rules.push(Rule {
                            action,
                            conditions: sorted(conditions.clone()),
                        });
                    }
                    if let Some(selector) = selector(arch, &name, nr) {
                        let mut conditions = conditions.clone();
                        conditions.retain(|condition| condition.0 != 0);
                        conditions.push((0, "SCMP_CMP_EQ".to_owned(), selector, u64::MAX));
                        rules.push(Rule {
                            action,
                            conditions: sorted(conditions),
                        });
                    }
                }
            }
        }
        rules
    }

    /// Every number that a name of the profile has on an ABI.
    fn numbers(&self, arch: Arch) -> Vec<u32> {
        let names = self.entries().into_iter().flat_map(names);
        names
            .flat_map(|name| {
                let through = ["socketcall", "ipc"].map(|by| syscalls::number(arch, by));
                let through = through
                    .into_iter()
                    .flatten()
                    .filter(|nr| selector(arch, &name, *nr).is_some());
                through
                    .chain(syscalls::number(arch, &name))
                    .collect::<Vec<u32>>()
            })
            .collect()
    }

    fn is_newer(&self, arch: Arch, nr: u32) -> bool {
        let lenient = matches!(
            self.default_action(),
            Action::Allow | Action::Log | Action::Trace(_)
        );
        match self.numbers(arch).into_iter().max() {
            Some(newest) if self.context.newer_calls && !lenient => {
                nr > newest || (nr == 0 && [Arch::S390, Arch::S390x].contains(&arch))
            }
            _ => false,
        }
    }

    /// Refuses what can't be meant in the context.
    fn check(&self) -> Result<(), String> {
        if self.seccomp["defaultAction"] == "SCMP_ACT_NOTIFY" {
            return Err("NOTIFY as default".to_owned());
        }
        for entry in self.entries() {
            for name in names(entry) {
                if name == "write" && entry["action"] == "SCMP_ACT_NOTIFY" {
                    return Err("NOTIFY on write".to_owned());
                }
                if self.context.strict && syscalls::numbers(&name).is_none() {
                    return Err("unknown name".to_owned());
                }
            }
        }
        if self.context.rule_order == RuleOrder::Runtime {
            self.check_conflicts()
        } else {
            Ok(())
        }
    }

    fn check_conflicts(&self) -> Result<(), String> {
        for arch in self.architectures() {
            let mut numbers = self.numbers(arch);
            numbers.sort_unstable();
            numbers.dedup();
            for nr in numbers {
                let mut rules = self.rules(arch, nr);
                rules.retain(|rule| rule.action != self.default_action());
                if rules.iter().any(|rule| rule.conditions.is_empty()) {
                    continue;
                }
                for (i, rule) in rules.iter().enumerate() {
                    let twin = |other: &&Rule| {
                        other.conditions == rule.conditions && other.action != rule.action
                    };
                    if rules[i + 1..].iter().find(twin).is_some() {
                        return Err(format!("conflict on {arch} {nr}"));
                    }
                }
            }
        }
        Ok(())
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn names(entry: &Value) -> Vec<String> {
    let one = entry["name"].as_str().map(str::to_owned);
    let many = list(&entry["names"]);
    one.into_iter()
        .chain(
            many.iter()
                .filter_map(|name| name.as_str().map(str::to_owned)),
        )
        .collect()
}

fn action(name: &Value, errno: &Value, number: &Value, arch: Arch) -> Action {
    let by_name = errno.as_str().map(|text| {
        text.parse()
            .ok()
            .or_else(|| errno::number(arch, text))
            .unwrap_or(0)
    });
    let by_number = number
        .as_u64()
        .and_then(|number| u16::try_from(number).ok());
    let datum = by_name.or(by_number).unwrap_or(1);
    match name.as_str().unwrap_or("") {
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_ERRNO" => Action::Errno(datum),
        "SCMP_ACT_TRACE" => Action::Trace(datum),
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_NOTIFY" => Action::Notify,
        _ => Action::KillThread,
    }
}

fn enosys(arch: Arch) -> Action {
    use Arch::*;
    match arch {
        Mips | Mips64 | Mips64N32 | Mipsel | Mipsel64 | Mipsel64N32 => Action::Errno(89),
        Parisc | Parisc64 => Action::Errno(251),
        _ => Action::Errno(38),
    }
}

/// Whether an ABI's arguments have 32 bits.
fn is_narrow(arch: Arch) -> bool {
    use Arch::*;
    matches!(
        arch,
        X86 | X32
            | Arm
            | Mips
            | Mips64N32
            | Mipsel
            | Mipsel64N32
            | Ppc
            | S390
            | Parisc
            | M68k
            | Sh
            | Sheb
    )
}

fn cut(arch: Arch, value: u64) -> u64 {
    if is_narrow(arch) {
        value % (1 << 32)
    } else {
        value
    }
}

fn condition(arg: &Value, arch: Arch) -> Condition {
    let value = |name: &str| cut(arch, arg[name].as_u64().unwrap_or(0));
    let op = arg["op"].as_str().unwrap_or("").to_owned();
    let index = arg["index"].as_u64().unwrap_or(0);
    if op == "SCMP_CMP_MASKED_EQ" {
        (
            index,
            op,
            value("valueTwo") & value("value"),
            value("value"),
        )
    } else {
        (index, op, value("value"), u64::MAX)
    }
}

fn holds((index, op, datum, mask): &Condition, arch: Arch, call: &Call) -> bool {
    let arg = cut(arch, call.args[usize::try_from(*index).unwrap_or(0)]);
    match op.trim_start_matches("SCMP_CMP_") {
        "NE" => arg != *datum,
        "LT" => arg < *datum,
        "LE" => arg <= *datum,
        "EQ" => arg == *datum,
        "GE" => arg >= *datum,
        "GT" => arg > *datum,
        "MASKED_EQ" => arg & mask == *datum,
        _ => false,
    }
}

/// As a set: the order in which an entry lists its conditions means nothing.
fn sorted(mut conditions: Vec<Condition>) -> Vec<Condition> {
    conditions.sort();
    conditions
}

/// What a rule is sorted by, a condition each: the higher argument first, then the operator's class, then the datum.
/// Lists compare element by element, and one that is the beginning of another comes first.
fn order((index, op, datum, _): &Condition) -> (Reverse<u64>, u8, i128) {
    let datum = i128::from(*datum);
    match op.trim_start_matches("SCMP_CMP_") {
        "LT" | "LE" => (Reverse(*index), 1, datum),
        "GT" | "GE" => (Reverse(*index), 2, -datum),
        _ => (Reverse(*index), 0, -datum),
    }
}

/// The selector by which a call goes through the multiplexer that has this number on this ABI.
fn selector(arch: Arch, name: &str, nr: u32) -> Option<u64> {
    const SOCKETCALL: &str = "socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom \
                              shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg";
    const IPC: [(&str, u64); 12] = [
        ("semop", 1),
        ("semget", 2),
        ("semctl", 3),
        ("semtimedop", 4),
        ("msgsnd", 11),
        ("msgrcv", 12),
        ("msgget", 13),
        ("msgctl", 14),
        ("shmat", 21),
        ("shmdt", 22),
        ("shmget", 23),
        ("shmctl", 24),
    ];
    if syscalls::number(arch, "socketcall") == Some(nr) {
        let place = SOCKETCALL
            .split_whitespace()
            .position(|call| call == name)?;
        return u64::try_from(place + 1).ok();
    }
    let (_, selector) = IPC.into_iter().find(|(call, _)| *call == name)?;
    (syscalls::number(arch, "ipc") == Some(nr)).then_some(selector)
}
