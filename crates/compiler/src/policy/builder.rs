//! Makes a policy rule by rule, and refuses at once what can't be meant.
//!
//! It knows numbers and not names, so that a profile in JSON is one front end among several. A snapshot is a
//! clone: whoever may want to undo a step keeps one.

use std::collections::{BTreeMap, HashMap};

use super::order::runtime_order;
use super::{Abi, Condition, Policy, Rule, RuleId, RuleOrder};
use crate::action::{Action, MAX_ERRNO};
use crate::arch::{Arch, X32_BIT};
use crate::errno;
use crate::limits::ARGUMENTS;

/// Collects the rules of a [`Policy`].
#[derive(Clone, Debug)]
pub struct PolicyBuilder {
    native: Arch,
    default_action: Action,
    bad_arch: Action,
    rule_order: RuleOrder,
    newer_calls: bool,
    abis: BTreeMap<Arch, Draft>,
}

/// The rules of one ABI so far.
#[derive(Clone, Debug, Default)]
struct Draft {
    /// By number, ascending. There are hundreds at most, and who adds them in order pays nothing for it.
    calls: Vec<(u32, CallRules)>,
    newest: Option<u32>,
}

/// The rules of one number so far, in the order in which they came.
#[derive(Clone, Debug)]
struct CallRules {
    first: Rule,
    /// Most numbers have none.
    others: Vec<Rule>,
    /// Where the unconditional one stands that comes first in the document.
    unconditional: Option<usize>,
    /// The conditional ones by their conditions, to find conflicts.
    by_conditions: Option<HashMap<Vec<Condition>, usize>>,
}

/// What became of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is in.
    Kept,
    /// Its action is the default one, so it says nothing, and was left out.
    Redundant,
    /// It can decide no call: the named rule matches whatever this one does.
    Dead(RuleId),
}

/// A rule was refused; the builder is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Two rules of a call have the same conditions and different actions.
    #[error("call {nr} on {arch} has two rules with the same conditions and different actions")]
    Conflict {
        /// The ABI on which they meet.
        arch: Arch,
        /// The number.
        nr: u32,
        /// The rule that was there.
        earlier: RuleId,
        /// The refused one.
        later: RuleId,
    },
    /// A kernel of the native architecture doesn't run this ABI.
    #[error("calls of {arch} can't occur under a {native} kernel")]
    ForeignAbi {
        /// The refused ABI.
        arch: Arch,
        /// The kernel's.
        native: Arch,
    },
    /// The ABI is not in the set.
    #[error("{0} is not among the architectures of the policy")]
    AbiNotInSet(Arch),
    /// The number belongs to x32 and the ABI is x86_64, or the other way round.
    #[error("{nr:#x} is not a number of {arch}")]
    NumberOfOtherAbi {
        /// The ABI.
        arch: Arch,
        /// The number.
        nr: u32,
    },
    /// There is no such argument.
    #[error("argument {0} does not exist: a call has six, 0 to 5")]
    NoSuchArgument(u8),
    /// The errno is above what a filter can return.
    #[error("errno {0} is above 4095, the largest that a filter can return")]
    ErrnoTooLarge(u16),
}

impl PolicyBuilder {
    /// Starts a policy for kernels of `native`, whose ABI is in the set, with this default action; calls of
    /// architectures outside the set kill the thread, and calls newer than the profile return ENOSYS.
    #[must_use]
    pub fn new(native: Arch, default_action: Action) -> PolicyBuilder {
        PolicyBuilder {
            native,
            default_action,
            bad_arch: Action::KillThread,
            rule_order: RuleOrder::default(),
            newer_calls: true,
            abis: BTreeMap::from([(native, Draft::default())]),
        }
    }

    /// Sets what happens to calls of an architecture outside the set.
    pub fn bad_arch(&mut self, action: Action) -> &mut Self {
        self.bad_arch = action;
        self
    }

    /// Sets the order in which rules are tried. To be called before the first rule.
    pub fn rule_order(&mut self, order: RuleOrder) -> &mut Self {
        self.rule_order = order;
        self
    }

    /// Says whether calls newer than the profile return ENOSYS instead of the default action, so that a C
    /// library falls back to an older call. Where the default action is ALLOW, LOG or TRACE they never do.
    pub fn newer_calls(&mut self, on: bool) -> &mut Self {
        self.newer_calls = on;
        self
    }

    /// Takes an ABI into the set.
    ///
    /// # Errors
    /// [`BuildError::ForeignAbi`] if a kernel of the native architecture doesn't run it.
    pub fn abi(&mut self, arch: Arch) -> Result<&mut Self, BuildError> {
        let native = self.native;
        if !native.runs(arch) {
            return Err(BuildError::ForeignAbi { arch, native });
        }
        self.abis.entry(arch).or_default();
        Ok(self)
    }

    /// Notes that the profile knows this number, whether or not a rule comes of it: numbers above the largest
    /// such are newer than the profile. Nothing is noted for an ABI outside the set.
    pub fn resolved(&mut self, arch: Arch, nr: u32) -> &mut Self {
        if let Some(draft) = self.abis.get_mut(&arch) {
            draft.newest = draft.newest.max(Some(nr));
        }
        self
    }

    /// Adds a rule for a number: `action` where all the conditions hold. The data may have all 64 bits; on a
    /// 32-bit ABI the low 32 count. The number is noted as by [`resolved`](Self::resolved).
    ///
    /// Under [`RuleOrder::Runtime`] conflicts are looked for among the rules so far. An unconditional rule settles
    /// those of its number, so a front end that wants the same answer in any order adds the unconditional rules first.
    ///
    /// # Errors
    /// Every [`BuildError`] but `ForeignAbi`; the builder is unchanged then.
    pub fn rule(
        &mut self,
        arch: Arch,
        nr: u32,
        id: RuleId,
        action: Action,
        conditions: &[Condition],
    ) -> Result<Added, BuildError> {
        check_action(action)?;
        check_number(arch, nr)?;
        let conditions = lowered(arch, conditions)?;
        let draft = self.abis.get_mut(&arch);
        let draft = draft.ok_or(BuildError::AbiNotInSet(arch))?;
        let rule = Rule {
            id,
            action,
            conditions,
        };
        let runtime = self.rule_order == RuleOrder::Runtime;
        if runtime && action == self.default_action {
            draft.newest = draft.newest.max(Some(nr));
            return Ok(Added::Redundant);
        }
        let added = match draft.place(nr) {
            Ok(place) if runtime => draft.calls[place].1.add(rule, arch, nr)?,
            Ok(place) => draft.calls[place].1.append(rule),
            Err(place) => {
                draft.calls.insert(place, (nr, CallRules::new(rule)));
                Added::Kept
            }
        };
        draft.newest = draft.newest.max(Some(nr));
        Ok(added)
    }

    /// The policy.
    #[must_use]
    pub fn build(self) -> Policy {
        let order = self.rule_order;
        let finished = |(arch, draft): (Arch, Draft)| (arch, draft.finish(order));
        Policy {
            newer_call: self.newer_call(),
            native: self.native,
            default_action: self.default_action,
            bad_arch: self.bad_arch,
            abis: self.abis.into_iter().map(finished).collect(),
        }
    }

    fn newer_call(&self) -> Option<Action> {
        let lenient = matches!(
            self.default_action,
            Action::Allow | Action::Log | Action::Trace(_)
        );
        let enosys = Action::Errno(errno::enosys(self.native));
        (self.newer_calls && !lenient).then_some(enosys)
    }
}

impl Draft {
    /// Where the rules of a number are, or would go.
    fn place(&self, nr: u32) -> Result<usize, usize> {
        match self.calls.last() {
            Some((last, _)) if *last == nr => Ok(self.calls.len() - 1),
            Some((last, _)) if *last > nr => self.calls.binary_search_by_key(&nr, |(nr, _)| *nr),
            _ => Err(self.calls.len()),
        }
    }

    fn finish(self, order: RuleOrder) -> Abi {
        let mut abi = Abi {
            numbers: Vec::with_capacity(self.calls.len()),
            rules: Vec::with_capacity(self.calls.len()),
            newest: self.newest,
        };
        for (nr, call) in self.calls {
            let start = abi.rules.len();
            call.finish(order, &mut abi.rules);
            abi.numbers.push((nr, start));
        }
        abi
    }
}

impl CallRules {
    fn new(rule: Rule) -> CallRules {
        let mut call = CallRules {
            unconditional: rule.is_unconditional().then_some(0),
            by_conditions: None,
            others: Vec::new(),
            first: rule,
        };
        if call.unconditional.is_none() {
            call.note(0);
        }
        call
    }

    fn len(&self) -> usize {
        1 + self.others.len()
    }

    fn rule(&self, place: usize) -> &Rule {
        match place.checked_sub(1) {
            Some(place) => &self.others[place],
            None => &self.first,
        }
    }

    /// The conditional rule with the same conditions.
    fn twin(&self, rule: &Rule) -> Option<usize> {
        self.by_conditions.as_ref()?.get(&rule.conditions).copied()
    }

    /// Makes a rule the one that is found by its conditions.
    fn note(&mut self, place: usize) {
        let conditions = self.rule(place).conditions.clone();
        let known = self.by_conditions.get_or_insert_default();
        known.insert(conditions, place);
    }

    /// Adds a rule whose place will follow from its conditions.
    fn add(&mut self, rule: Rule, arch: Arch, nr: u32) -> Result<Added, BuildError> {
        let place = self.len();
        let winner = self.unconditional.map(|i| self.rule(i).id);
        let mut added = winner.map_or(Added::Kept, Added::Dead);
        if rule.is_unconditional() {
            if winner.is_none_or(|id| rule.id < id) {
                self.unconditional = Some(place);
                added = Added::Kept;
            }
            self.others.push(rule);
            return Ok(added);
        }
        let twin = self.twin(&rule);
        if let Some(twin) = twin.filter(|_| winner.is_none()) {
            let twin = self.rule(twin);
            if twin.action != rule.action {
                return Err(BuildError::Conflict {
                    arch,
                    nr,
                    earlier: twin.id,
                    later: rule.id,
                });
            }
            added = Added::Dead(twin.id);
        }
        self.others.push(rule);
        if twin.is_none() {
            self.note(place);
        }
        Ok(added)
    }

    /// Adds a rule that is tried at its place in the document.
    fn append(&mut self, rule: Rule) -> Added {
        let twin = self.twin(&rule);
        let before = [self.unconditional, twin].into_iter().flatten();
        let before = before.map(|i| self.rule(i).id);
        let shadow = before.filter(|id| *id <= rule.id).min();
        let is_earlier = |i: usize| rule.id < self.rule(i).id;
        let place = self.len();
        let is_unconditional = rule.is_unconditional();
        let first_of_its_kind = if is_unconditional {
            self.unconditional.is_none_or(is_earlier)
        } else {
            twin.is_none_or(is_earlier)
        };
        self.others.push(rule);
        match (first_of_its_kind, is_unconditional) {
            (true, true) => self.unconditional = Some(place),
            (true, false) => self.note(place),
            (false, _) => {}
        }
        shadow.map_or(Added::Kept, Added::Dead)
    }

    /// Puts the rules behind others, in the order in which they are tried, without those behind an unconditional one.
    fn finish(self, order: RuleOrder, finished: &mut Vec<Rule>) {
        let start = finished.len();
        finished.push(self.first);
        finished.extend(self.others);
        let rules = &mut finished[start..];
        let unconditional = match order {
            RuleOrder::Runtime => self.unconditional,
            RuleOrder::Document => None,
        };
        let last = match unconditional {
            Some(first) => {
                rules.swap(0, first);
                Some(0)
            }
            None => {
                rules.sort_by_key(|rule| rule.id);
                if order == RuleOrder::Runtime {
                    rules.sort_by(runtime_order);
                }
                rules.iter().position(Rule::is_unconditional)
            }
        };
        if let Some(last) = last {
            finished.truncate(start + last + 1);
        }
    }
}

/// The conditions as they count on an ABI, sorted so that equal sets are equal lists.
fn lowered(arch: Arch, conditions: &[Condition]) -> Result<Vec<Condition>, BuildError> {
    let beyond = |c: &&Condition| usize::from(c.arg) >= ARGUMENTS;
    if let Some(condition) = conditions.iter().find(beyond) {
        return Err(BuildError::NoSuchArgument(condition.arg));
    }
    let mut conditions: Vec<_> = conditions.iter().map(|c| c.on(arch)).collect();
    conditions.sort_unstable();
    Ok(conditions)
}

fn check_action(action: Action) -> Result<(), BuildError> {
    match action {
        Action::Errno(errno) if errno > MAX_ERRNO => Err(BuildError::ErrnoTooLarge(errno)),
        _ => Ok(()),
    }
}

fn check_number(arch: Arch, nr: u32) -> Result<(), BuildError> {
    let fits = match arch {
        Arch::X86_64 => nr < X32_BIT,
        Arch::X32 => nr & X32_BIT != 0,
        _ => true,
    };
    if fits {
        Ok(())
    } else {
        Err(BuildError::NumberOfOtherAbi { arch, nr })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Call;
    use crate::policy::{Ground, Test};

    const NR: u32 = 7;

    fn builder() -> PolicyBuilder {
        PolicyBuilder::new(Arch::X86_64, Action::Errno(1))
    }

    fn when(arg: u8, test: Test) -> Condition {
        Condition { arg, test }
    }

    fn add(b: &mut PolicyBuilder, id: u32, action: Action, conditions: &[Condition]) -> Added {
        b.rule(Arch::X86_64, NR, RuleId(id), action, conditions)
            .unwrap()
    }

    fn deciding_rule(builder: PolicyBuilder, args: [u64; 6]) -> Ground {
        builder
            .build()
            .decide(&Call::new(Arch::X86_64, NR, args))
            .ground
    }

    #[test]
    fn a_conflict_is_refused_at_once_and_changes_nothing() {
        let mut b = builder();
        let one = [when(0, Test::Eq(1))];
        add(&mut b, 0, Action::Allow, &one);
        let refused = b.rule(Arch::X86_64, NR, RuleId(1), Action::Log, &one);
        let (earlier, later) = (RuleId(0), RuleId(1));
        let (arch, nr) = (Arch::X86_64, NR);
        assert_eq!(
            refused,
            Err(BuildError::Conflict {
                arch,
                nr,
                earlier,
                later
            })
        );
        assert_eq!(
            deciding_rule(b, [1, 0, 0, 0, 0, 0]),
            Ground::Rule(RuleId(0))
        );
    }

    #[test]
    fn conditions_in_another_order_are_the_same_conditions() {
        let mut b = builder();
        let (low, high) = (when(0, Test::Eq(1)), when(1, Test::Eq(2)));
        add(&mut b, 0, Action::Allow, &[low, high]);
        let twin = b.rule(Arch::X86_64, NR, RuleId(1), Action::Log, &[high, low]);
        assert!(matches!(twin, Err(BuildError::Conflict { .. })));
        assert_eq!(
            add(&mut b, 2, Action::Allow, &[high, low]),
            Added::Dead(RuleId(0))
        );
    }

    #[test]
    fn an_unconditional_rule_settles_a_conflict() {
        let mut b = builder();
        let one = [when(0, Test::Eq(1))];
        assert_eq!(add(&mut b, 2, Action::Allow, &[]), Added::Kept);
        assert_eq!(add(&mut b, 0, Action::Log, &one), Added::Dead(RuleId(2)));
        assert_eq!(add(&mut b, 1, Action::Trap, &one), Added::Dead(RuleId(2)));
        assert_eq!(
            deciding_rule(b, [1, 0, 0, 0, 0, 0]),
            Ground::Rule(RuleId(2))
        );
    }

    #[test]
    fn of_two_unconditional_rules_the_first_of_the_document_counts() {
        let mut b = builder();
        add(&mut b, 5, Action::Allow, &[]);
        assert_eq!(add(&mut b, 6, Action::Log, &[]), Added::Dead(RuleId(5)));
        assert_eq!(add(&mut b, 4, Action::Trap, &[]), Added::Kept);
        assert_eq!(deciding_rule(b, [0; 6]), Ground::Rule(RuleId(4)));
    }

    #[test]
    fn conditional_rules_are_tried_in_the_order_of_their_conditions() {
        let mut b = builder();
        add(&mut b, 0, Action::Log, &[when(0, Test::Le(9))]);
        add(&mut b, 1, Action::Trap, &[when(0, Test::Lt(5))]);
        add(&mut b, 2, Action::Allow, &[when(0, Test::Ge(0))]);
        add(&mut b, 3, Action::Trace(1), &[when(0, Test::Eq(4))]);
        add(&mut b, 4, Action::Trace(2), &[when(1, Test::Eq(0))]);
        let policy = b.build();
        let ids: Vec<_> = policy
            .rules(Arch::X86_64, NR)
            .iter()
            .map(|r| r.id.0)
            .collect();
        assert_eq!(ids, [4, 3, 1, 0, 2]);
    }

    #[test]
    fn the_document_order_keeps_redundant_rules() {
        let mut b = builder();
        b.rule_order(RuleOrder::Document);
        assert_eq!(
            add(&mut b, 0, Action::Errno(1), &[when(0, Test::Eq(1))]),
            Added::Kept
        );
        assert_eq!(add(&mut b, 1, Action::Allow, &[]), Added::Kept);
        assert_eq!(add(&mut b, 2, Action::Log, &[]), Added::Dead(RuleId(1)));
        assert_eq!(
            deciding_rule(b.clone(), [1, 0, 0, 0, 0, 0]),
            Ground::Rule(RuleId(0))
        );
        assert_eq!(
            deciding_rule(b, [2, 0, 0, 0, 0, 0]),
            Ground::Rule(RuleId(1))
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let mut b = builder();
        let id = RuleId(0);
        let mut rule =
            |arch, nr, action, arg| b.rule(arch, nr, id, action, &[when(arg, Test::Eq(0))]);
        let refused = rule(Arch::X86_64, 1, Action::Allow, 6);
        assert_eq!(refused, Err(BuildError::NoSuchArgument(6)));
        let refused = rule(Arch::X86_64, 1, Action::Errno(4096), 0);
        assert_eq!(refused, Err(BuildError::ErrnoTooLarge(4096)));
        let refused = rule(Arch::X86, 1, Action::Allow, 0);
        assert_eq!(refused, Err(BuildError::AbiNotInSet(Arch::X86)));
        let (arch, nr) = (Arch::X86_64, X32_BIT);
        let refused = rule(arch, nr, Action::Allow, 0);
        assert_eq!(refused, Err(BuildError::NumberOfOtherAbi { arch, nr }));
        let (arch, native) = (Arch::Arm, Arch::X86_64);
        assert_eq!(
            b.abi(arch).err(),
            Some(BuildError::ForeignAbi { arch, native })
        );
    }
}
