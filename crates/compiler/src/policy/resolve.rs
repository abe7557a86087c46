//! Profile + context → policy.
//!
//! Names become numbers, entries become rules, and rules on calls that a multiplexer also reaches become rules on
//! that one as well. What is odd on the way is said in notices, [`examine`](super::examine) looks at the outcome.

use std::collections::{BTreeMap, BTreeSet};

use super::examine;
use super::multiplex::multiplexed;
use super::{Added, BuildError, Condition, Policy, PolicyBuilder, Rule, RuleId, RuleOrder, Test};
use crate::action::Action;
use crate::arch::Arch;
use crate::context::Context;
use crate::notice::{Code, JsonPath, Notice, ProfileError};
use crate::profile::{Arg, Entry, Flag, Operator, Profile};
use crate::syscalls;

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
    /// Where each rule stands, by [`RuleId`].
    pub sources: Vec<Source>,
    /// What is odd about the profile, in the order in which it was found.
    pub notices: Vec<Notice>,
}

/// Where a rule stands in the profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The entry.
    pub entry: JsonPath,
    /// The name in it.
    pub name: JsonPath,
    /// The system call.
    pub syscall: String,
}

impl Resolved {
    /// Where a rule stands.
    #[must_use]
    pub fn source(&self, id: RuleId) -> Option<&Source> {
        self.sources.get(usize::try_from(id.0).ok()?)
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
    let policy = draft.build(context.rule_order)?;
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
#[derive(Default)]
struct Fate {
    kept: usize,
    redundant: usize,
    dead: Option<RuleId>,
}

struct Draft<'a> {
    context: &'a Context,
    default_action: Action,
    archs: Vec<Arch>,
    sources: Vec<Source>,
    notices: Vec<Notice>,
    pending: Vec<Pending>,
    known: Vec<(Arch, u32)>,
    /// Conditions that a multiplexer's number can't have, should its rules come to count.
    lost: Vec<(Arch, u32, Notice)>,
}

impl<'a> Draft<'a> {
    fn new(profile: &Profile, context: &'a Context) -> Draft<'a> {
        let mut draft = Draft {
            context,
            default_action: profile.default_action.on(context.arch),
            archs: vec![context.arch],
            sources: Vec::new(),
            notices: profile.notices.clone(),
            pending: Vec::new(),
            known: Vec::new(),
            lost: Vec::new(),
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
        draft.archs.sort_unstable();
        draft
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), ProfileError> {
        let action = entry.action.on(self.context.arch);
        let conditions: Vec<Condition> = entry.args.iter().map(condition).collect();
        let repeated = repeated_argument(&conditions);
        if let Some(second) = repeated {
            self.notices.push(examine::repeated_argument(
                entry,
                &conditions,
                second,
                self.context.arch,
            ));
        }
        // Each its own rule: any of them suffices.
        let rules: Vec<&[Condition]> = match repeated {
            Some(_) => conditions.chunks(1).collect(),
            None => vec![&conditions],
        };
        for (index, name) in entry.names.iter().enumerate() {
            let Some(numbers) = syscalls::numbers(name) else {
                self.unknown_name(entry, index)?;
                continue;
            };
            for arch in self.archs.iter().filter(|arch| !arch.has_64bit_arguments()) {
                self.notices
                    .extend(examine::too_wide(entry, &conditions, *arch, numbers));
            }
            for conditions in &rules {
                let id = RuleId(u32::try_from(self.sources.len()).unwrap_or(u32::MAX));
                self.sources.push(Source {
                    entry: entry.path.clone(),
                    name: entry.name_path(index),
                    syscall: name.clone(),
                });
                self.rule(entry, numbers, id, action, conditions);
            }
        }
        Ok(())
    }

    /// Adds a rule for all ABIs.
    fn rule(
        &mut self,
        entry: &Entry,
        call: syscalls::Numbers,
        id: RuleId,
        action: Action,
        conditions: &[Condition],
    ) {
        for i in 0..self.archs.len() {
            let arch = self.archs[i];
            let mut add = |nr, conditions: Vec<Condition>, multiplexed| {
                self.known.push((arch, nr));
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
            if let Some(by) = multiplexed(arch, call.name()) {
                let selector = Condition {
                    arg: 0,
                    test: Test::Eq(by.selector),
                };
                let kept = conditions.iter().filter(|condition| condition.arg != 0);
                add(
                    by.nr,
                    [selector].iter().chain(kept).copied().collect(),
                    true,
                );
                if let Some(lost) = entry.args.iter().position(|arg| arg.index == 0) {
                    self.lost_condition(entry, lost, (arch, by.nr), call.name());
                }
            }
        }
    }

    fn unknown_name(&mut self, entry: &Entry, index: usize) -> Result<(), ProfileError> {
        let name = &entry.names[index];
        let path = entry.name_path(index);
        let message = format!("no architecture has a system call `{name}`");
        if self.context.strict {
            let error = ProfileError::new(Code::StrictSyscall, path, message);
            return Err(error.did_you_mean(syscalls::similar(name)));
        }
        let notice = Notice::new(Code::UnknownSyscall, path, message + ", so it is skipped");
        self.notices.push(match syscalls::similar(name) {
            Some(similar) => notice.help(format!("did you mean `{similar}`?")),
            None => notice,
        });
        Ok(())
    }

    fn lost_condition(&mut self, entry: &Entry, arg: usize, (arch, nr): (Arch, u32), name: &str) {
        let message = format!(
            "on {arch} `{name}` also goes through a multiplexer, where this condition on argument 0 can't be kept"
        );
        let notice = Notice::new(Code::LostCondition, entry.arg_path(arg), message);
        self.lost.push((arch, nr, notice));
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
    fn build(&mut self, order: RuleOrder) -> Result<Policy, ProfileError> {
        let mut builder = self.builder(order)?;
        let mut fates: BTreeMap<RuleId, Fate> = BTreeMap::new();
        // Unconditional rules settle the conflicts of others, wherever they stand.
        let (first, then): (Vec<_>, Vec<_>) = self
            .pending
            .iter()
            .partition(|rule| rule.conditions.is_empty());
        for rule in first.into_iter().chain(then) {
            let added = builder.rule(rule.arch, rule.nr, rule.id, rule.action, &rule.conditions);
            let added = added.map_err(|error| self.build_error(error, rule.id))?;
            if rule.multiplexed {
                continue;
            }
            let fate = fates.entry(rule.id).or_default();
            match added {
                Added::Kept => fate.kept += 1,
                Added::Redundant => fate.redundant += 1,
                Added::Dead(by) => fate.dead = Some(by),
            }
        }
        for (id, fate) in fates {
            self.notices.extend(self.fate_notice(id, &fate));
        }
        Ok(builder.build())
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
        for (arch, nr) in &self.known {
            builder.resolved(*arch, *nr);
        }
        Ok(builder)
    }

    fn fate_notice(&self, id: RuleId, fate: &Fate) -> Option<Notice> {
        let source = self.source(id)?;
        let path = source.name.clone();
        if fate.kept > 0 {
            return None;
        }
        if let Some(by) = fate.dead {
            let by = self.source(by)?;
            let message = format!(
                "this rule on `{}` decides nothing: {} does",
                source.syscall, by.name
            );
            return Some(Notice::new(Code::DeadRule, path, message));
        }
        let message = format!(
            "this rule on `{}` does what the default action does",
            source.syscall
        );
        (fate.redundant > 0).then(|| Notice::new(Code::RedundantRule, path, message))
    }

    fn build_error(&self, error: BuildError, id: RuleId) -> ProfileError {
        let path = |id| {
            self.source(id)
                .map_or(JsonPath::root(), |source| source.name.clone())
        };
        match error {
            BuildError::Conflict {
                arch,
                nr,
                earlier,
                later,
            } => {
                let name = syscalls::name(arch, nr).unwrap_or("?");
                let message = format!(
                    "two rules for `{name}` on {arch} have the same conditions and different actions"
                );
                let error = ProfileError::new(Code::Conflict, path(later), message);
                error
                    .related(path(earlier), "the other rule")
                    .help("remove one of them")
            }
            other => ProfileError::new(Code::OutOfRange, path(id), other.to_string()),
        }
    }

    /// Looks at the policy for what the document doesn't lead one to expect.
    fn examine(&mut self, policy: &Policy) -> Result<(), ProfileError> {
        let other = match self.context.rule_order {
            RuleOrder::Runtime => RuleOrder::Document,
            RuleOrder::Document => RuleOrder::Runtime,
        };
        let place = |id| self.source(id).map(|source| source.name.clone());
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
        let several =
            self.pending.windows(1).len() > policy.abis().map(|(_, abi)| abi.rules().count()).sum();
        if several {
            // In the other order conflicts may stand that this one settles: then there is nothing to compare with.
            let mut builder = self.builder(other)?;
            let added = self.pending.iter().try_for_each(|rule| {
                builder
                    .rule(rule.arch, rule.nr, rule.id, rule.action, &rule.conditions)
                    .map(|_| ())
            });
            if added.is_ok() {
                found.extend(examine::order_dependence(policy, &builder.build(), &place));
            }
        }
        self.notices.extend(found);
        Ok(())
    }

    fn source(&self, id: RuleId) -> Option<&Source> {
        self.sources.get(usize::try_from(id.0).ok()?)
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
