//! The reference meaning: what each system call comes to, in as few plain lines as it takes.
//!
//! A [`Policy`] is a profile with its names turned into numbers: for each ABI a map from number to an ordered
//! list of rules, a default action, and three rules that a profile doesn't write down: for calls of an
//! architecture outside the set, for numbers of x32 where x32 is outside it, and for calls newer than the
//! profile. [`Policy::decide`] says what they mean together, and everything that comes after, down to the
//! kernel, is held against it.
//!
//! Policies are made by a [`PolicyBuilder`], rule by rule; [`resolve`] does so for a profile.

pub mod builder;
mod examine;
mod multiplex;
mod order;
mod resolve;
mod source;

use std::collections::BTreeMap;

use crate::action::Action;
use crate::arch::{Arch, ByteOrder, X32_BIT};
use crate::call::Call;

pub use builder::{Added, BuildError, PolicyBuilder};
pub(crate) use multiplex::Multiplexed;
pub use resolve::{Resolved, resolve};
pub use source::Source;

/// The number of no call, -1: what a tracer writes to have a call skipped (`ptrace(2)`, `seccomp(2)`).
pub const SKIPPED_CALL: u32 = u32::MAX;

/// What a whole filter says, for every call of every architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    native: Arch,
    default_action: Action,
    bad_arch: Action,
    newer_call: Option<Action>,
    abis: BTreeMap<Arch, Abi>,
}

/// The rules of one ABI.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Abi {
    /// Ascending, each with where its rules begin; they go on to those of the next one, and each has some.
    numbers: Vec<(u32, usize)>,
    rules: Vec<Rule>,
    newest: Option<u32>,
}

/// Conditions that must all hold, and what happens then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which rule of the profile it comes from.
    pub id: RuleId,
    /// What happens to a call that it matches.
    pub action: Action,
    /// Sorted by argument, lowest first, their data cut to the width of the ABI's arguments. None: every
    /// call matches.
    pub conditions: Vec<Condition>,
}

/// Names a rule of the profile. Its number is the rule's place in the document: smaller means earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u32);

/// A test on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub arg: u8,
    /// What it must be.
    pub test: Test,
}

/// A comparison of an argument with a datum, both unsigned: of all 64 bits on a 64-bit ABI, of the low 32
/// elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Test {
    /// Equal.
    Eq(u64),
    /// Not equal.
    Ne(u64),
    /// Equal in the bits of the mask.
    Masked {
        /// The bits that count.
        mask: u64,
        /// What they must be; bits outside the mask don't count.
        value: u64,
    },
    /// Less than.
    Lt(u64),
    /// Less or equal.
    Le(u64),
    /// Greater than.
    Gt(u64),
    /// Greater or equal.
    Ge(u64),
}

/// In which order the rules of one number are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RuleOrder {
    /// As it comes out in today's container runtimes: rules with the default action are dropped, an
    /// unconditional rule wins over all others, and conditional ones are sorted by their conditions.
    #[default]
    Runtime,
    /// The first rule that matches, as the profile lists them.
    Document,
}

/// What a call comes to, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// What happens to it.
    pub action: Action,
    /// What decided so.
    pub ground: Ground,
}

/// What decided a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ground {
    /// A rule of the profile.
    Rule(RuleId),
    /// No rule matched.
    Default,
    /// No rule matched, and the number is above all that the profile knows.
    NewerCall,
    /// The architecture is outside the set.
    ForeignArch,
    /// The number is one of x32, which is outside the set.
    X32Disabled,
}

impl Policy {
    /// What the policy says of a call: the reference that every other form of it must equal.
    ///
    /// ```
    /// use callgate_compiler::policy::{PolicyBuilder, RuleId};
    /// use callgate_compiler::{Action, Arch, Call};
    ///
    /// let mut builder = PolicyBuilder::new(Arch::X86_64, Action::Errno(1));
    /// builder.rule(Arch::X86_64, 39, RuleId(0), Action::Allow, &[])?;
    /// let policy = builder.build();
    /// assert_eq!(policy.decide(&Call::new(Arch::X86_64, 39, [0; 6])).action, Action::Allow);
    /// assert_eq!(policy.decide(&Call::new(Arch::X86_64, 38, [0; 6])).action, Action::Errno(1));
    /// // Above every number that the policy knows: ENOSYS, as from a kernel that lacks the call.
    /// assert_eq!(policy.decide(&Call::new(Arch::X86_64, 40, [0; 6])).action, Action::Errno(38));
    /// # Ok::<(), callgate_compiler::policy::BuildError>(())
    /// ```
    #[must_use]
    pub fn decide(&self, call: &Call) -> Verdict {
        let verdict = |action, ground| Verdict { action, ground };
        let Some(arch) = self.abi_of(call.audit, call.nr) else {
            return verdict(self.bad_arch, Ground::ForeignArch);
        };
        if self.is_disabled_x32(arch, call.nr) {
            return match call.nr {
                SKIPPED_CALL => verdict(self.default_action, Ground::Default),
                _ => verdict(self.bad_arch, Ground::X32Disabled),
            };
        }
        let matching = |rule: &&Rule| rule.matches(arch, &call.args);
        if let Some(rule) = self.rules(arch, call.nr).iter().find(matching) {
            return verdict(rule.action, Ground::Rule(rule.id));
        }
        match self.newer_call {
            Some(action) if self.is_newer(arch, call.nr) => verdict(action, Ground::NewerCall),
            _ => verdict(self.default_action, Ground::Default),
        }
    }

    /// The ABI of the set that a call belongs to, by its `AUDIT_ARCH_*` value and number. Bit 30 of the number tells
    /// x32 from x86_64 where x32 is in the set.
    #[must_use]
    pub fn abi_of(&self, audit: u32, nr: u32) -> Option<Arch> {
        let within = |arch: &Arch| self.abis.contains_key(arch);
        let arch = Arch::of_call(audit, nr)?;
        if arch == Arch::X32 && !within(&arch) {
            return Some(Arch::X86_64).filter(within);
        }
        Some(arch).filter(within)
    }

    /// Whether it is a number of x32 (from 0x40000000 on, unsigned) on an x86_64 that has no x32 beside it.
    #[must_use]
    pub fn is_disabled_x32(&self, arch: Arch, nr: u32) -> bool {
        arch == Arch::X86_64 && nr >= X32_BIT && !self.abis.contains_key(&Arch::X32)
    }

    /// Whether a number is newer than the profile on an ABI: above the largest that a name of the profile has
    /// there, or 0 on s390 and s390x, where that number stands for none. Never where no name has a number.
    #[must_use]
    pub fn is_newer(&self, arch: Arch, nr: u32) -> bool {
        let Some(newest) = self.abis.get(&arch).and_then(|abi| abi.newest) else {
            return false;
        };
        nr > newest || nr == 0 && matches!(arch, Arch::S390 | Arch::S390x)
    }

    /// The rules of a number, in the order in which they are tried.
    #[must_use]
    pub fn rules(&self, arch: Arch, nr: u32) -> &[Rule] {
        self.abis.get(&arch).map_or(&[], |abi| abi.rules_of(nr))
    }

    /// The ABIs of the set with their rules, in the order of [`Arch`].
    pub fn abis(&self) -> impl Iterator<Item = (Arch, &Abi)> {
        self.abis.iter().map(|(arch, abi)| (*arch, abi))
    }

    /// The architecture of the kernel that the policy is for.
    #[must_use]
    pub fn native(&self) -> Arch {
        self.native
    }

    /// The byte order of that kernel.
    #[must_use]
    pub fn byte_order(&self) -> ByteOrder {
        self.native.byte_order()
    }

    /// What happens where nothing else is said.
    #[must_use]
    pub fn default_action(&self) -> Action {
        self.default_action
    }

    /// What happens to calls of an architecture outside the set, and to those of x32 where it is outside.
    #[must_use]
    pub fn bad_arch(&self) -> Action {
        self.bad_arch
    }

    /// The answer to calls newer than the profile, where there is such a rule.
    #[must_use]
    pub fn newer_call(&self) -> Option<Action> {
        self.newer_call
    }
}

impl Abi {
    /// The numbers that have rules, ascending, each with its rules in the order in which they are tried.
    pub fn rules(&self) -> impl Iterator<Item = (u32, &[Rule])> {
        let ends = self.numbers.iter().skip(1).map(|(_, start)| *start);
        let ends = ends.chain([self.rules.len()]);
        let numbers = self.numbers.iter().zip(ends);
        numbers.map(|((nr, start), end)| (*nr, &self.rules[*start..end]))
    }

    fn rules_of(&self, nr: u32) -> &[Rule] {
        let Ok(place) = self.numbers.binary_search_by_key(&nr, |(nr, _)| *nr) else {
            return &[];
        };
        let next = self.numbers.get(place + 1);
        let end = next.map_or(self.rules.len(), |(_, start)| *start);
        &self.rules[self.numbers[place].1..end]
    }

    /// The largest number that a name of the profile has on this ABI.
    #[must_use]
    pub fn newest(&self) -> Option<u32> {
        self.newest
    }
}

impl Rule {
    /// Whether all its conditions hold for these arguments on this ABI.
    #[must_use]
    pub fn matches(&self, arch: Arch, args: &[u64; 6]) -> bool {
        self.conditions
            .iter()
            .all(|condition| condition.holds(arch, args))
    }

    /// Whether every call matches, as nothing is asked of it.
    #[must_use]
    pub fn is_unconditional(&self) -> bool {
        self.conditions.is_empty()
    }
}

impl Condition {
    /// Whether it holds for these arguments on this ABI. An argument index above 5 never holds; the builder
    /// takes none.
    #[must_use]
    pub fn holds(&self, arch: Arch, args: &[u64; 6]) -> bool {
        let arg = args.get(usize::from(self.arg));
        arg.is_some_and(|arg| self.test.holds(*arg & arch.argument_mask()))
    }

    /// The condition with its datum cut to the width of the ABI's arguments, and a masked datum cut to its mask.
    #[must_use]
    pub fn on(self, arch: Arch) -> Condition {
        let cut = |datum: u64| datum & arch.argument_mask();
        let test = match self.test {
            Test::Eq(datum) => Test::Eq(cut(datum)),
            Test::Ne(datum) => Test::Ne(cut(datum)),
            Test::Lt(datum) => Test::Lt(cut(datum)),
            Test::Le(datum) => Test::Le(cut(datum)),
            Test::Ge(datum) => Test::Ge(cut(datum)),
            Test::Gt(datum) => Test::Gt(cut(datum)),
            Test::Masked { mask, value } => Test::Masked {
                mask: cut(mask),
                value: cut(value) & mask,
            },
        };
        Condition { test, ..self }
    }
}

impl Test {
    /// Whether it holds for a value.
    #[must_use]
    pub fn holds(self, arg: u64) -> bool {
        match self {
            Test::Eq(datum) => arg == datum,
            Test::Ne(datum) => arg != datum,
            Test::Lt(datum) => arg < datum,
            Test::Le(datum) => arg <= datum,
            Test::Ge(datum) => arg >= datum,
            Test::Gt(datum) => arg > datum,
            Test::Masked { mask, value } => arg & mask == value & mask,
        }
    }

    /// What it compares with; of a masked one the value, not the mask.
    #[must_use]
    pub fn datum(self) -> u64 {
        match self {
            Test::Masked { value, .. } => value,
            Test::Eq(datum) | Test::Ne(datum) | Test::Lt(datum) => datum,
            Test::Le(datum) | Test::Ge(datum) | Test::Gt(datum) => datum,
        }
    }
}

impl Verdict {
    /// The rule that decided, if one did.
    #[must_use]
    pub fn rule(self) -> Option<RuleId> {
        match self.ground {
            Ground::Rule(id) => Some(id),
            _ => None,
        }
    }
}
