//! Profile + context → policy.
//!
//! Names become numbers, entries become rules, and rules on calls that a multiplexer also reaches become rules on
//! that one as well. What is odd on the way is said in notices, [`examine`](super::examine) looks at the outcome.

use std::collections::BTreeSet;

use super::examine;
use super::multiplex::Multiplexed;
use super::source::{Source, Sources};
use super::{Added, BuildError, Condition, Policy, PolicyBuilder, Rule, RuleId, RuleOrder, Test};
use crate::action::Action;
use crate::arch::Arch;
use crate::context::Context;
use crate::notice::{Code, Notice, ProfileError, quoted};
use crate::profile::{Arg, Entry, Flag, Operator, Profile};
use crate::syscalls::{self, Numbers};

/// So many unknown names get a suggestion; a profile with more is no profile.
const MAX_SUGGESTIONS: usize = 100;

/// Room for so many rules is made at once.
const MOST_RESERVED: usize = 4096;

/// What a profile comes to in a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// What every call comes to.
    pub policy: Policy,
    /// How the filter is to be loaded.
    pub flags: Vec<Flag>,
    /// Whether some entry's action is NOTIFY, so that a listener is asked for.
    pub needs_listener: bool,
    /// Where the listener goes.
    pub listener_path: Option<String>,
    /// What goes with it.
    pub listener_metadata: Option<String>,
    /// What is odd about the profile, in the order in which it was found.
    pub notices: Vec<Notice>,
    sources: Sources,
}

impl Resolved {
    /// Where a rule stands.
    #[must_use]
    pub fn source(&self, id: RuleId) -> Option<Source> {
        self.sources.get(id)
    }
}

/// Resolves a profile.
///
/// # Errors
/// What can't be meant: NOTIFY where it can't be, conflicting rules, and in strict mode unknown names.
pub fn resolve(profile: &Profile, context: &Context) -> Result<Resolved, ProfileError> {
    let entries: Vec<&Entry> = profile.entries_in(context).collect();
    refuse_notify(profile, &entries, context)?;
    let mut draft = Draft::new(profile, context);
    for entry in &entries {
        draft.entry(entry)?;
    }
    let needs_listener = entries
        .iter()
        .any(|entry| entry.action.on(context.arch) == Action::Notify);
    let flags = draft.flags(profile, needs_listener);
    let policy = draft.build()?;
    draft.examine(&policy)?;
    // What is so on several ABIs is said once.
    let mut said = BTreeSet::new();
    draft
        .notices
        .retain(|notice| said.insert((notice.code, notice.path.clone())));
    Ok(Resolved {
        policy,
        flags,
        needs_listener,
        listener_path: profile.listener_path.clone(),
        listener_metadata: profile.listener_metadata.clone(),
        sources: draft.sources,
        notices: draft.notices,
    })
}

/// A supervisor that must itself make the call it is asked about would wait for its own answer.
fn refuse_notify(
    profile: &Profile,
    entries: &[&Entry],
    context: &Context,
) -> Result<(), ProfileError> {
    if profile.default_action.on(context.arch) == Action::Notify {
        let path = profile.path.member("defaultAction");
        let error = ProfileError::new(
            Code::NotifyRefused,
            path,
            "NOTIFY can't be the default action",
        );
        return Err(error.help("name the calls that a supervisor is to answer in an entry"));
    }
    for entry in entries
        .iter()
        .filter(|entry| entry.action.on(context.arch) == Action::Notify)
    {
        if let Some(index) = entry.names.iter().position(|name| name == "write") {
            let message = "NOTIFY can't be the action of `write`: the process would hang before it has handed its listener over";
            return Err(ProfileError::new(
                Code::NotifyRefused,
                entry.name_path(index),
                message,
            ));
        }
    }
    Ok(())
}

/// A rule for one number of one ABI.
struct Pending {
    arch: Arch,
    nr: u32,
    id: RuleId,
    action: Action,
    conditions: Vec<Condition>,
    multiplexed: bool,
}

/// What became of a rule over all ABIs.
#[derive(Clone, Default)]
struct Fate {
    kept: usize,
    redundant: usize,
    dead: Option<RuleId>,
}

struct Draft<'a> {
    context: &'a Context,
    default_action: Action,
    /// The native one first, then as the profile lists them.
    archs: Vec<Arch>,
    sources: Sources,
    notices: Vec<Notice>,
    pending: Vec<Pending>,
    /// The same by ABI and number.
    order: Vec<usize>,
    /// Conditions that a multiplexer's number can't have, should its rules come to count.
    lost: Vec<(Arch, u32, Notice)>,
    /// How many unknown names may still be compared with the known ones, which takes its time.
    suggestions: usize,
}

impl<'a> Draft<'a> {
    fn new(profile: &Profile, context: &'a Context) -> Draft<'a> {
        let mut draft = Draft {
            context,
            default_action: profile.default_action.on(context.arch),
            archs: vec![context.arch],
            sources: Sources::default(),
            notices: profile.notices.clone(),
            pending: Vec::new(),
            order: Vec::new(),
            lost: Vec::new(),
            suggestions: MAX_SUGGESTIONS,
        };
        for spec in profile.architectures_in(context) {
            let arch = spec.arch.unwrap_or(context.arch);
            if !context.arch.runs(arch) {
                let message = format!(
                    "calls of {arch} can't occur under a kernel for {}, so it is left out",
                    context.arch
                );
                draft.notices.push(Notice::new(
                    Code::ForeignArchitecture,
                    spec.path.clone(),
                    message,
                ));
            } else if !draft.archs.contains(&arch) {
                draft.archs.push(arch);
            }
        }
        draft
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), ProfileError> {
        self.sources.entry(entry);
        let action = entry.action.on(self.context.arch);
        let conditions: Vec<Condition> = entry.args.iter().map(condition).collect();
        let repeated = repeated_argument(&conditions);
        if let Some(second) = repeated {
            let notice = examine::repeated_argument(entry, &conditions, second, &self.archs);
            self.notices.push(notice);
        }
        // Each its own rule: any of them suffices.
        let rules: Vec<&[Condition]> = match repeated {
            Some(_) => conditions.chunks(1).collect(),
            None => vec![&conditions],
        };
        let most = entry.names.len().saturating_mul(self.archs.len());
        self.pending.reserve(most.min(MOST_RESERVED));
        for (index, name) in entry.names.iter().enumerate() {
            let Some(call) = syscalls::numbers(name) else {
                self.unknown_name(entry, index)?;
                continue;
            };
            let through = Multiplexed::of(call);
            for arch in self.archs.iter().filter(|arch| !arch.has_64bit_arguments()) {
                let notice = examine::too_wide(entry, &conditions, *arch, call, through);
                self.notices.extend(notice);
            }
            if let Some(through) = through {
                self.lost_condition(entry, call, through);
            }
            for conditions in &rules {
                let id = self.sources.rule(index, call.name());
                self.rule(call, through, id, action, conditions);
            }
        }
        Ok(())
    }

    /// Adds a rule on all ABIs, directly and through a multiplexer.
    fn rule(
        &mut self,
        call: Numbers,
        through: Option<Multiplexed>,
        id: RuleId,
        action: Action,
        conditions: &[Condition],
    ) {
        for &arch in &self.archs {
            let mut add = |nr, conditions, multiplexed| {
                self.pending.push(Pending {
                    arch,
                    nr,
                    id,
                    action,
                    conditions,
                    multiplexed,
                });
            };
            if let Some(nr) = call.on(arch) {
                add(nr, conditions.to_vec(), false);
            }
            let Some(through) = through else { continue };
            if let Some(nr) = through.on(arch) {
                let selector = Condition {
                    arg: 0,
                    test: Test::Eq(through.selector),
                };
                let kept = conditions.iter().filter(|condition| condition.arg != 0);
                add(nr, [selector].iter().chain(kept).copied().collect(), true);
            }
        }
    }

    fn unknown_name(&mut self, entry: &Entry, index: usize) -> Result<(), ProfileError> {
        let name = &entry.names[index];
        let path = entry.name_path(index);
        let message = format!("no architecture has a system call {}", quoted(name));
        if self.context.strict {
            let error = ProfileError::new(Code::StrictSyscall, path, message);
            return Err(error.did_you_mean(syscalls::similar(name)));
        }
        let notice = Notice::new(Code::UnknownSyscall, path, message + ", so it is skipped");
        let similar = (self.suggestions > 0).then(|| syscalls::similar(name));
        self.suggestions = self.suggestions.saturating_sub(1);
        self.notices.push(match similar.flatten() {
            Some(similar) => notice.help(format!("did you mean `{similar}`?")),
            None => notice,
        });
        Ok(())
    }

    /// Notes a condition that can't be kept where the call goes through a multiplexer.
    fn lost_condition(&mut self, entry: &Entry, call: Numbers, through: Multiplexed) {
        let Some(lost) = entry.args.iter().position(|arg| arg.index == 0) else {
            return;
        };
        let numbers = self.archs.iter().map(|arch| (*arch, through.on(*arch)));
        for (arch, nr) in numbers.filter_map(|(arch, nr)| Some((arch, nr?))) {
            let message = format!(
                "on {arch} `{}` also goes through `{}`, whose argument 0 is what selects it: this condition is lost there",
                call.name(),
                through.by.name()
            );
            let notice = Notice::new(Code::LostCondition, entry.arg_path(lost), message);
            self.lost.push((arch, nr, notice));
        }
    }

    fn flags(&mut self, profile: &Profile, needs_listener: bool) -> Vec<Flag> {
        let idle = |flag: &Flag| *flag == Flag::WaitKillableRecv && !needs_listener;
        if let Some(index) = profile.flags.iter().position(idle) {
            let path = profile.path.member("flags").index(index);
            let message = "WAIT_KILLABLE_RECV has no effect without NOTIFY, so it is left out";
            self.notices
                .push(Notice::new(Code::IgnoredFlag, path, message));
        }
        let flags: BTreeSet<Flag> = profile
            .flags
            .iter()
            .filter(|flag| !idle(flag))
            .copied()
            .collect();
        flags.into_iter().collect()
    }

    /// Hands all rules to a builder, and notes what became of them.
    fn build(&mut self) -> Result<Policy, ProfileError> {
        let mut builder = self.builder(self.context.rule_order)?;
        let mut fates = vec![Fate::default(); self.sources.rules()];
        let mut refused: Option<(usize, BuildError)> = None;
        self.order = self.by_number();
        for &index in &self.order {
            let rule = &self.pending[index];
            let added = match rule.add_to(&mut builder) {
                Ok(added) => added,
                Err(error) => {
                    // Of several the one that is first in the document.
                    let before = refused.as_ref().map(|(first, _)| self.stands(*first));
                    if before.is_none_or(|first| self.stands(index) < first) {
                        refused = Some((index, error));
                    }
                    continue;
                }
            };
            let fate = usize::try_from(rule.id.0)
                .ok()
                .and_then(|id| fates.get_mut(id));
            if let Some(fate) = fate.filter(|_| !rule.multiplexed) {
                match added {
                    Added::Kept => fate.kept += 1,
                    Added::Redundant => fate.redundant += 1,
                    Added::Dead(by) => fate.dead = Some(by),
                }
            }
        }
        if let Some((index, error)) = refused {
            return Err(self.build_error(error, self.pending[index].id));
        }
        for (id, fate) in (0..).map(RuleId).zip(&fates) {
            self.notices.extend(self.fate_notice(id, fate));
        }
        Ok(builder.build())
    }

    /// The rules by ABI and number, as a builder likes to have them. Of a number the unconditional ones come first, as they
    /// settle the conflicts of others, wherever those stand.
    fn by_number(&self) -> Vec<usize> {
        let key = |(index, rule): (usize, &Pending)| {
            let arch = self.archs.iter().position(|arch| *arch == rule.arch);
            let conditional = !rule.conditions.is_empty();
            let number = u64::from(rule.nr) << 1 | u64::from(conditional);
            (arch.map_or(0, |arch| arch as u64) << 33 | number, index)
        };
        let mut keys: Vec<(u64, usize)> = self.pending.iter().enumerate().map(key).collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, index)| index).collect()
    }

    /// Where a rule stands among those of the document, unconditional ones before others.
    fn stands(&self, index: usize) -> (bool, usize) {
        (!self.pending[index].conditions.is_empty(), index)
    }

    fn builder(&self, order: RuleOrder) -> Result<PolicyBuilder, ProfileError> {
        let mut builder = PolicyBuilder::new(self.context.arch, self.default_action);
        builder
            .rule_order(order)
            .newer_calls(self.context.newer_calls);
        for arch in &self.archs {
            builder
                .abi(*arch)
                .map_err(|error| self.build_error(error, RuleId(0)))?;
        }
        Ok(builder)
    }

    fn fate_notice(&self, id: RuleId, fate: &Fate) -> Option<Notice> {
        if fate.kept > 0 || fate.redundant == 0 && fate.dead.is_none() {
            return None;
        }
        let source = self.sources.get(id)?;
        let (code, message) = match fate.dead {
            Some(by) => {
                let by = self.sources.name(by)?;
                let message = format!(
                    "this rule on `{}` decides nothing: {by} does",
                    source.syscall
                );
                (Code::DeadRule, message)
            }
            None => {
                let message = format!(
                    "this rule on `{}` does what the default action does",
                    source.syscall
                );
                (Code::RedundantRule, message)
            }
        };
        Some(Notice::new(code, source.name, message))
    }

    fn build_error(&self, error: BuildError, id: RuleId) -> ProfileError {
        match error {
            BuildError::Conflict {
                arch,
                nr,
                earlier,
                later,
            } => self.conflict(arch, nr, earlier, later),
            other => {
                let path = self.sources.name(id).unwrap_or_default();
                ProfileError::new(Code::OutOfRange, path, other.to_string())
            }
        }
    }

    fn conflict(&self, arch: Arch, nr: u32, earlier: RuleId, later: RuleId) -> ProfileError {
        let name = syscalls::name(arch, nr).unwrap_or("?");
        let called = self
            .sources
            .get(later)
            .map_or(name, |source| source.syscall);
        let concerned = |rule: &Pending| rule.id == later && rule.number() == (arch, nr);
        let through = if self.pending.iter().any(|r| concerned(r) && r.multiplexed) {
            format!(" through `{name}`, where argument 0 can't be asked for,")
        } else {
            String::new()
        };
        let message = format!(
            "two rules for `{called}` on {arch}{through} have the same conditions and different actions"
        );
        let path = |id| self.sources.name(id).unwrap_or_default();
        ProfileError::new(Code::Conflict, path(later), message)
            .related(path(earlier), "the other rule")
            .help("remove one of them")
    }

    /// Looks at the policy for what the document doesn't lead one to expect.
    fn examine(&mut self, policy: &Policy) -> Result<(), ProfileError> {
        let place = |id| self.sources.name(id);
        let mut found = Vec::new();
        for (arch, nr, notice) in &self.lost {
            // A rule on the multiplexer as such says it all.
            if !policy.rules(*arch, *nr).iter().all(Rule::is_unconditional) {
                found.push(notice.clone());
            }
        }
        if self.context.rule_order == RuleOrder::Runtime {
            found.extend(examine::prefix_rules(policy, &place));
        }
        let contested = self.contested();
        if let Some(other) = self.in_other_order(&contested)? {
            let differences = examine::order_dependence(&contested, policy, &other, &place);
            found.extend(differences);
        }
        self.notices.extend(found);
        Ok(())
    }

    /// The numbers with several rules, dropped ones included, sorted.
    fn contested(&self) -> Vec<(Arch, u32)> {
        let number = |index: usize| self.pending[index].number();
        let numbers = self.order.chunk_by(|a, b| number(*a) == number(*b));
        let several = numbers.filter(|same| same.len() > 1);
        let mut several: Vec<_> = several.map(|same| number(same[0])).collect();
        several.sort_unstable();
        several
    }

    /// What the rules of some numbers come to in the order that was not asked for. Nothing if they conflict there.
    fn in_other_order(&self, numbers: &[(Arch, u32)]) -> Result<Option<Policy>, ProfileError> {
        let mut builder = self.builder(match self.context.rule_order {
            RuleOrder::Runtime => RuleOrder::Document,
            RuleOrder::Document => RuleOrder::Runtime,
        })?;
        let concerned = |index: &usize| {
            let number = self.pending[*index].number();
            numbers.binary_search(&number).is_ok()
        };
        for index in self.order.iter().copied().filter(concerned) {
            if self.pending[index].add_to(&mut builder).is_err() {
                return Ok(None);
            }
        }
        Ok(Some(builder.build()))
    }
}

impl Pending {
    fn number(&self) -> (Arch, u32) {
        (self.arch, self.nr)
    }

    fn add_to(&self, builder: &mut PolicyBuilder) -> Result<Added, BuildError> {
        builder.rule(self.arch, self.nr, self.id, self.action, &self.conditions)
    }
}

/// A condition of a profile as a test.
fn condition(arg: &Arg) -> Condition {
    let test = match arg.op {
        Operator::Ne => Test::Ne(arg.value),
        Operator::Lt => Test::Lt(arg.value),
        Operator::Le => Test::Le(arg.value),
        Operator::Eq => Test::Eq(arg.value),
        Operator::Ge => Test::Ge(arg.value),
        Operator::Gt => Test::Gt(arg.value),
        Operator::MaskedEq => Test::Masked {
            mask: arg.value,
            value: arg.value_two,
        },
    };
    Condition {
        arg: arg.index,
        test,
    }
}

/// The first condition that names an argument again.
fn repeated_argument(conditions: &[Condition]) -> Option<usize> {
    let again =
        |(i, c): (usize, &Condition)| conditions[..i].iter().any(|earlier| earlier.arg == c.arg);
    (0..conditions.len()).zip(conditions).position(again)
}
