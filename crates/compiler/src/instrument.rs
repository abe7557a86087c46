//! Policies and profiles whose denials ask a supervisor, which answers as the original says: so that somebody knows of them.
//!
//! A supervisor can give a caller every errno, and let a call pass; it can't kill or trap as the kernel does. So what comes
//! to an errno asks, and what kills, traps or goes to a tracer stays as it is.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::Action;
use crate::arch::Arch;
use crate::context::Context;
use crate::notice::{Code, ProfileError};
use crate::policy::{BuildError, Policy, PolicyBuilder, RuleId, RuleOrder, resolve};
use crate::profile::{ActionSpec, Entry, Format, Profile, Selector};
use crate::syscalls;

/// The policy with NOTIFY in place of every ERRNO, for a filter that is loaded together with its supervisor.
///
/// # Errors
/// None for a policy that was built; the builder's are passed on.
///
/// ```
/// use callgate_compiler::policy::PolicyBuilder;
/// use callgate_compiler::{Action, Arch, Call, instrument};
/// let policy = PolicyBuilder::new(Arch::X86_64, Action::Errno(1)).build();
/// let notifying = instrument::policy(&policy)?;
/// assert_eq!(notifying.decide(&Call::new(Arch::X86_64, 165, [0; 6])).action, Action::Notify);
/// # Ok::<(), callgate_compiler::policy::BuildError>(())
/// ```
pub fn policy(policy: &Policy) -> Result<Policy, BuildError> {
    let default = notifying(policy.default_action());
    let mut builder = PolicyBuilder::new(policy.native(), default);
    builder.bad_arch(notifying(policy.bad_arch()));
    // The rules come in the order in which they are tried.
    builder.rule_order(RuleOrder::Document);
    // Where the default asks, it is asked about newer calls, too.
    builder.newer_calls(policy.newer_call().is_some() && default != Action::Notify);
    let mut ids = (0..).map(RuleId);
    for (arch, abi) in policy.abis() {
        builder.abi(arch)?;
        for (nr, rules) in abi.rules() {
            for (rule, id) in rules.iter().zip(&mut ids) {
                builder.rule(arch, nr, id, notifying(rule.action), &rule.conditions)?;
            }
        }
        if let Some(newest) = abi.newest() {
            builder.resolved(arch, newest);
        }
    }
    Ok(builder.build())
}

fn notifying(action: Action) -> Action {
    match action {
        Action::Errno(_) => Action::Notify,
        other => other,
    }
}

/// A profile whose denials ask an agent, for a container runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instrumented {
    /// The profile; [`Profile::to_oci_json`] writes it.
    pub profile: Profile,
    /// The names whose calls ask the agent.
    pub asking: Vec<String>,
    /// The names of calls that are denied, or may be, and don't ask; each with why not.
    pub left: Vec<(String, Left)>,
}

/// Why calls that are denied don't ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Left {
    /// No supervisor can answer as the kernel acts: KILL, TRAP or TRACE.
    Action,
    /// A runtime hands its listener over by this call.
    Handover,
    /// The number is newer than the profile, which a runtime answers by ENOSYS; to name it would change what is newer.
    Newer,
    /// It was to be left.
    Excepted,
}

/// The key under which the original is in the listener's metadata.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    #[serde(rename = "callgate.profile.v1")]
    original: Original,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Original {
    newer_calls: bool,
    document_order: bool,
    profile: Value,
}

/// Instruments a profile: every call that comes to an errno, always or on some arguments, asks the agent at `listener`. What the profile
/// says goes with the listener as its metadata, for an agent that reads it by [`original`].
///
/// Where a name is allowed on some arguments and denied on others it always asks, since the runtimes' other rules on a name give
/// way to an unconditional one. NOTIFY can't be the default action, so what the default denies is named. `except` are names to leave as
/// they are.
///
/// # Errors
/// What [`resolve`] refuses; [`Code::NotifyRefused`] for a profile that notifies an agent of its own.
pub fn profile(
    profile: &Profile,
    context: &Context,
    listener: &str,
    except: &[String],
) -> Result<Instrumented, ProfileError> {
    let resolved = resolve(profile, context)?;
    if resolved.needs_listener || profile.listener_path.is_some() {
        let path = profile.path.member("listenerPath");
        let message = "the profile has an agent of its own, and there can be one only";
        return Err(ProfileError::new(Code::NotifyRefused, path, message));
    }
    let (mut asking, mut left) = (Vec::new(), Vec::new());
    for (name, comes_to) in denied_names(&resolved.policy) {
        let why = if except.iter().any(|excepted| excepted == name) {
            Some(Left::Excepted)
        } else if name == "write" {
            Some(Left::Handover)
        } else {
            comes_to
        };
        match why {
            None => asking.push(name.to_owned()),
            Some(why) => left.push((name.to_owned(), why)),
        }
    }
    let mut instrumented = Profile {
        format: Format::OciSeccomp,
        listener_path: Some(listener.to_owned()),
        listener_metadata: Some(metadata(profile, context)),
        entries: entries(profile, context, &asking),
        ..profile.clone()
    };
    instrumented.notices.clear();
    Ok(Instrumented {
        profile: instrumented,
        asking,
        left,
    })
}

/// The original of an instrumented profile, from the metadata that its listener came with, and the context in which
/// it has the same meaning; `None` if it is other metadata.
///
/// # Errors
/// If the profile in it can't be taken.
pub fn original(
    metadata: &str,
    context: &Context,
) -> Option<Result<(Profile, Context), ProfileError>> {
    let original = serde_json::from_str::<Metadata>(metadata).ok()?.original;
    let context = Context {
        newer_calls: original.newer_calls,
        rule_order: if original.document_order {
            RuleOrder::Document
        } else {
            RuleOrder::Runtime
        },
        ..context.clone()
    };
    let profile = Profile::parse(original.profile.to_string().as_bytes());
    Some(profile.map(|profile| (profile, context)))
}

fn metadata(profile: &Profile, context: &Context) -> String {
    // It is JSON.
    let profile = serde_json::from_str(&profile.to_oci_json(context)).unwrap_or_default();
    let original = Original {
        newer_calls: context.newer_calls,
        document_order: context.rule_order == RuleOrder::Document,
        profile,
    };
    serde_json::to_string(&Metadata { original }).unwrap_or_default()
}

/// The names of which some call comes to an errno, and why an agent can't be asked about them, if so.
fn denied_names(policy: &Policy) -> BTreeMap<&'static str, Option<Left>> {
    let mut names: BTreeMap<&'static str, BTreeSet<Option<Left>>> = BTreeMap::new();
    let mut denied = BTreeSet::new();
    for (arch, _) in policy.abis() {
        for (nr, name) in syscalls::table(arch) {
            let reasons = names.entry(name).or_default();
            for action in outcomes(policy, arch, nr) {
                match action {
                    Action::Errno(_) => {
                        denied.insert(name);
                    }
                    Action::Allow | Action::Log | Action::Notify => {}
                    Action::KillProcess | Action::KillThread | Action::Trap | Action::Trace(_) => {
                        denied.insert(name);
                        reasons.insert(Some(Left::Action));
                    }
                }
            }
            if policy.newer_call().is_some() && policy.is_newer(arch, nr) {
                reasons.insert(Some(Left::Newer));
            }
        }
    }
    names.retain(|name, _| denied.contains(name));
    let first = |reasons: BTreeSet<Option<Left>>| reasons.into_iter().flatten().next();
    names
        .into_iter()
        .map(|(name, reasons)| (name, first(reasons)))
        .collect()
}

/// All that the calls of a number can come to.
fn outcomes(policy: &Policy, arch: Arch, nr: u32) -> Vec<Action> {
    let rules = policy.rules(arch, nr);
    let mut actions: Vec<_> = rules.iter().map(|rule| rule.action).collect();
    if !rules.iter().any(|rule| rule.is_unconditional()) {
        actions.push(match policy.newer_call() {
            Some(action) if policy.is_newer(arch, nr) => action,
            _ => policy.default_action(),
        });
    }
    actions
}

/// The entries that count, without the names that ask, and one for these.
fn entries(profile: &Profile, context: &Context, asking: &[String]) -> Vec<Entry> {
    let asks = |name: &String| asking.binary_search(name).is_ok();
    let kept = profile.entries_in(context).map(|entry| Entry {
        names: entry
            .names
            .iter()
            .filter(|name| !asks(name))
            .cloned()
            .collect(),
        ..entry.clone()
    });
    let mut entries: Vec<_> = kept.filter(|entry| !entry.names.is_empty()).collect();
    if !asking.is_empty() {
        entries.push(Entry {
            path: profile.path.member("syscalls"),
            names: asking.to_vec(),
            single_name: false,
            action: ActionSpec::Plain(Action::Notify),
            args: Vec::new(),
            includes: Selector::default(),
            excludes: Selector::default(),
        });
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Call;
    use crate::profile::DEFAULT;

    fn context() -> Context {
        Context::new(Arch::X86_64, "6.18".parse().unwrap())
    }

    fn built_in() -> Profile {
        Profile::parse(DEFAULT.as_bytes()).unwrap()
    }

    /// Calls of all numbers of three ABIs, with arguments at which rules differ.
    fn calls() -> impl Iterator<Item = Call> {
        let interesting = [0, 1, 2, 16, 38, 40, 0x8, 0x2_0000, 0x1000_0000, u64::MAX];
        let archs = [Arch::X86_64, Arch::X86, Arch::X32];
        archs.into_iter().flat_map(move |arch| {
            let bit = if arch == Arch::X32 { 1 << 30 } else { 0 };
            (0..600).flat_map(move |nr| {
                interesting
                    .into_iter()
                    .map(move |arg| Call::new(arch, nr | bit, [arg, 0, arg, 0, 0, 0]))
            })
        })
    }

    #[test]
    fn a_policy_asks_where_it_returned_an_errno_and_nowhere_else() {
        let original = resolve(&built_in(), &context()).unwrap().policy;
        let instrumented = policy(&original).unwrap();
        for call in calls() {
            let expected = notifying(original.decide(&call).action);
            assert_eq!(instrumented.decide(&call).action, expected, "{call:?}");
        }
    }

    #[test]
    fn a_profile_asks_whenever_its_original_returns_an_errno_but_for_newer_calls() {
        let original = resolve(&built_in(), &context()).unwrap().policy;
        let instrumented = profile(&built_in(), &context(), "/run/agent.sock", &[]).unwrap();
        let json = instrumented.profile.to_oci_json(&context());
        let read_back = Profile::parse(json.as_bytes()).unwrap();
        let resolved = resolve(&read_back, &context()).unwrap();
        assert!(resolved.needs_listener);
        assert_eq!(resolved.listener_path.as_deref(), Some("/run/agent.sock"));
        let mut asked = 0;
        for call in calls() {
            let (then, now) = (original.decide(&call), resolved.policy.decide(&call));
            let may_ask = matches!(then.action, Action::Errno(_) | Action::Allow);
            if now.action == Action::Notify && may_ask {
                asked += usize::from(then.action != Action::Allow);
                continue;
            }
            assert_eq!(now.action, then.action, "{call:?}");
            let named = Arch::of_call(call.audit, call.nr)
                .and_then(|arch| syscalls::name(arch, call.nr))
                .filter(|_| matches!(then.action, Action::Errno(_)));
            // Whatever has a name and returns an errno asks, if it isn't newer than the profile.
            let left = |name| instrumented.left.contains(&(name, Left::Newer));
            assert!(named.is_none_or(|name| left(name.to_owned())), "{call:?}");
        }
        assert!(asked > 1000);
        let metadata = resolved.listener_metadata.unwrap();
        let (back, context) = super::original(&metadata, &context()).unwrap().unwrap();
        let back = resolve(&back, &context).unwrap().policy;
        assert!(calls().all(|call| back.decide(&call).action == original.decide(&call).action));
    }

    #[test]
    fn what_no_agent_can_answer_is_left_and_said() {
        let text = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            { "names": ["mount"], "action": "SCMP_ACT_KILL_PROCESS" },
            { "names": ["write", "umount2", "swapon"], "action": "SCMP_ACT_ERRNO" },
            { "names": ["socket"], "action": "SCMP_ACT_TRAP", "args": [{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }] },
            { "names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 0, "value": 2, "op": "SCMP_CMP_EQ" }] } ] }"#;
        let text = Profile::parse(text.as_bytes()).unwrap();
        let except = ["swapon".to_owned()];
        let instrumented = profile(&text, &context(), "/run/agent.sock", &except).unwrap();
        assert_eq!(instrumented.asking, ["umount2"]);
        let expected = [
            ("mount", Left::Action),
            ("socket", Left::Action),
            ("swapon", Left::Excepted),
            ("write", Left::Handover),
        ];
        let expected = expected.map(|(name, why)| (name.to_owned(), why));
        assert_eq!(instrumented.left, expected);
        let again = profile(&instrumented.profile, &context(), "/run/agent.sock", &[]);
        assert_eq!(again.unwrap_err().code, Code::NotifyRefused);
    }
}
