//! A reading of resolved profiles that shares nothing with callgate's but the tables of numbers.
//!
//! Where two compilers differ, this says which of them does what the profile means. It is written from the
//! meaning (docs/meaning.md) alone, for clarity, and takes neither callgate's nor another's program into account.

use std::cmp::{Ordering, Reverse};

use anyhow::Result;
use callgate::compiler::arch::X32_BIT;
use callgate::compiler::{Action, Arch, Call, syscalls};

use crate::rules::{Arg, Operator, Rules};

/// A profile as a list of rules on numbers.
#[derive(Debug)]
pub(crate) struct Reference {
    default: Action,
    archs: Vec<Arch>,
    /// In the order of the document; redundant ones are left out.
    pub(crate) rules: Vec<Rule>,
}

/// A rule on one number.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) arch: Arch,
    pub(crate) nr: u32,
    pub(crate) action: Action,
    /// Sorted by argument, cut to the width of the ABI.
    pub(crate) args: Vec<Arg>,
}

impl Reference {
    /// Reads a profile.
    pub(crate) fn new(rules: &Rules) -> Result<Reference> {
        let mut reference = Reference {
            default: rules.default()?,
            archs: rules.archs()?,
            rules: Vec::new(),
        };
        for entry in &rules.syscalls {
            let action = entry.action()?;
            if action == reference.default {
                continue;
            }
            for name in &entry.names {
                for args in entry.alternatives() {
                    reference.add(name, action, args);
                }
            }
        }
        Ok(reference)
    }

    /// What happens to a call.
    pub(crate) fn decide(&self, call: &Call) -> Action {
        let Some(arch) = self.arch_of(call) else {
            return Action::KillThread;
        };
        let is_x32 = arch == Arch::X86_64 && call.nr >= X32_BIT;
        if is_x32 && !self.archs.contains(&Arch::X32) && call.nr != u32::MAX {
            return Action::KillThread;
        }
        let mut rules = self.rules_of(call);
        if let Some(rule) = rules.iter().find(|rule| rule.args.is_empty()) {
            return rule.action;
        }
        rules.sort_by(|a, b| order(a, b));
        let matching = rules.into_iter().find(|rule| rule.matches(call));
        matching.map_or(self.default, |rule| rule.action)
    }

    /// Whether two rules contradict each other: a profile with such ones is refused.
    pub(crate) fn has_conflict(&self) -> bool {
        let same_call = |a: &Rule, b: &Rule| a.arch == b.arch && a.nr == b.nr;
        let settled = |a: &Rule| {
            self.rules
                .iter()
                .any(|b| same_call(a, b) && b.args.is_empty())
        };
        let same = |a: &Rule, b: &Rule| {
            a.args.len() == b.args.len() && a.args.iter().zip(&b.args).all(|(a, b)| a.is_same(b))
        };
        let contradict = |a: &Rule, b: &Rule| same_call(a, b) && a.action != b.action && same(a, b);
        let rules = &self.rules;
        rules
            .iter()
            .any(|a| rules.iter().any(|b| contradict(a, b)) && !settled(a))
    }

    /// The rules that match a call, in no order.
    pub(crate) fn matching(&self, call: &Call) -> Vec<&Rule> {
        let mut rules = self.rules_of(call);
        rules.retain(|rule| rule.matches(call));
        rules
    }

    /// The rules of a call's number.
    pub(crate) fn rules_of(&self, call: &Call) -> Vec<&Rule> {
        let arch = self.arch_of(call);
        let of_call = |rule: &&Rule| Some(rule.arch) == arch && rule.nr == call.nr;
        self.rules.iter().filter(of_call).collect()
    }

    /// The ABI of the set that a call is of.
    pub(crate) fn arch_of(&self, call: &Call) -> Option<Arch> {
        let has_x32 = self.archs.contains(&Arch::X32);
        if has_x32 && call.audit == Arch::X32.audit() && call.nr & X32_BIT != 0 {
            return Some(Arch::X32);
        }
        let is_of = |arch: &Arch| *arch != Arch::X32 && arch.audit() == call.audit;
        self.archs.iter().copied().find(is_of)
    }

    fn add(&mut self, name: &str, action: Action, args: &[Arg]) {
        for arch in self.archs.clone() {
            let mut rule = |nr, args: Vec<Arg>| self.rules.push(Rule::new(arch, nr, action, args));
            if let Some(nr) = syscalls::number(arch, name) {
                rule(nr, args.to_vec());
            }
            if let Some((nr, selector)) = multiplexer(arch, name) {
                let selected = Arg {
                    index: 0,
                    value: selector,
                    value_two: 0,
                    op: Operator::Eq,
                };
                let others = args.iter().filter(|arg| arg.index != 0).copied();
                rule(nr, std::iter::once(selected).chain(others).collect());
            }
        }
    }
}

impl Rule {
    fn new(arch: Arch, nr: u32, action: Action, mut args: Vec<Arg>) -> Rule {
        let width = if arch.has_64bit_arguments() {
            u64::MAX
        } else {
            0xffff_ffff
        };
        for arg in &mut args {
            arg.value &= width;
            arg.value_two &= width;
            if arg.op == Operator::MaskedEq {
                arg.value_two &= arg.value;
            }
        }
        args.sort_by_key(|arg| arg.index);
        Rule {
            arch,
            nr,
            action,
            args,
        }
    }

    fn matches(&self, call: &Call) -> bool {
        self.args.iter().all(|arg| {
            let given = call.args[usize::from(arg.index)];
            let given = if self.arch.has_64bit_arguments() {
                given
            } else {
                given & 0xffff_ffff
            };
            arg.holds(given)
        })
    }
}

/// Which of two conditional rules is tried first.
fn order(a: &Rule, b: &Rule) -> Ordering {
    let lengths = a.args.len().cmp(&b.args.len());
    let pairs = a.args.iter().zip(&b.args);
    let orders = pairs.map(|(a, b)| rank(a).cmp(&rank(b)));
    orders
        .chain([lengths])
        .find(|o| o.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Higher arguments first; equality, then below, then above; the narrower range first.
pub(crate) fn rank(arg: &Arg) -> (Reverse<u8>, u8, u64) {
    let (class, datum) = match arg.op {
        Operator::Eq | Operator::Ne => (0, !arg.value),
        Operator::MaskedEq => (0, !arg.value_two),
        Operator::Lt | Operator::Le => (1, arg.value),
        Operator::Gt | Operator::Ge => (2, !arg.value),
    };
    (Reverse(arg.index), class, datum)
}

/// The call that stands for several, and by which first argument for this one (`socketcall(2)`, `ipc(2)`).
pub(crate) fn multiplexer(arch: Arch, name: &str) -> Option<(u32, u64)> {
    const SOCKETCALL: [&str; 20] = [
        "socket",
        "bind",
        "connect",
        "listen",
        "accept",
        "getsockname",
        "getpeername",
        "socketpair",
        "send",
        "recv",
        "sendto",
        "recvfrom",
        "shutdown",
        "setsockopt",
        "getsockopt",
        "sendmsg",
        "recvmsg",
        "accept4",
        "recvmmsg",
        "sendmmsg",
    ];
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
    let has_one = matches!(
        arch,
        Arch::X86
            | Arch::S390
            | Arch::S390x
            | Arch::Ppc
            | Arch::Ppc64
            | Arch::Ppc64le
            | Arch::Mips
            | Arch::Mipsel
            | Arch::Sh
            | Arch::Sheb
            | Arch::M68k
    );
    if !has_one {
        return None;
    }
    if let Some(place) = SOCKETCALL.iter().position(|call| *call == name) {
        let selector = u64::try_from(place).ok()? + 1;
        return Some((syscalls::number(arch, "socketcall")?, selector));
    }
    let (_, selector) = IPC.into_iter().find(|(call, _)| *call == name)?;
    Some((syscalls::number(arch, "ipc")?, selector))
}
