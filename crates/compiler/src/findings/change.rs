//! The least change of a profile that turns the verdict on a call.
//!
//! Nothing is guessed: each change is made to a copy of the profile, which is resolved anew, and is only named if the verdict on the call
//! is another one then.

use crate::action::Action;
use crate::arch::Arch;
use crate::call::Call;
use crate::context::{Capabilities, Context};
use crate::notice::JsonPath;
use crate::policy::{Condition, Ground, Policy, Resolved, resolve};
use crate::profile::{ActionSpec, ArchSpec, Arg, Entry, Format, Operator, Profile, Selector};
use crate::syscalls;

/// A change, and what the call comes to with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What to do.
    pub what: What,
    /// What the call comes to then.
    pub becomes: Action,
}

/// What to do to a profile or a container.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// Add an entry to `syscalls`, which is given as JSON.
    AddEntry(String),
    /// Remove names from entries.
    RemoveNames(Vec<JsonPath>),
    /// Remove names from entries, and add one.
    Replace(Vec<JsonPath>, String),
    /// Give the container a capability, for which the profile has the named entry.
    GiveCapability(&'static str, JsonPath),
    /// Add an architecture to the profile, by the runtime-spec's name.
    AddArchitecture(String),
}

/// The changes that turn the verdict on a call, the least first: to ALLOW if it is denied, or else to something other than ALLOW. None
/// are known for a number that has no name.
#[must_use]
pub fn least_changes(
    profile: &Profile,
    context: &Context,
    resolved: &Resolved,
    call: &Call,
) -> Vec<Change> {
    let situation = Situation {
        profile,
        context,
        resolved,
        call,
    };
    let verdict = resolved.policy.decide(call);
    let changes = match verdict.ground {
        Ground::ForeignArch | Ground::X32Disabled => situation.add_architecture(),
        _ if verdict.action == Action::Allow => situation.deny(),
        _ => situation.allow(),
    };
    changes.into_iter().flatten().collect()
}

struct Situation<'a> {
    profile: &'a Profile,
    context: &'a Context,
    resolved: &'a Resolved,
    call: &'a Call,
}

type Changes = [Option<Change>; 3];

impl Situation<'_> {
    fn arch(&self) -> Option<Arch> {
        self.policy().abi_of(self.call.audit, self.call.nr)
    }

    fn policy(&self) -> &Policy {
        &self.resolved.policy
    }

    fn name(&self) -> Option<&'static str> {
        syscalls::name(self.arch()?, self.call.nr)
    }

    /// The change, if it turns the verdict as is wanted.
    fn verified(
        &self,
        what: What,
        profile: &Profile,
        context: &Context,
        wanted: impl Fn(Action) -> bool,
    ) -> Option<Change> {
        let becomes = resolve(profile, context)
            .ok()?
            .policy
            .decide(self.call)
            .action;
        wanted(becomes).then_some(Change { what, becomes })
    }

    fn add_architecture(&self) -> Changes {
        let Some(arch) = Arch::of_call(self.call.audit, self.call.nr) else {
            return [None, None, None];
        };
        let mut profile = self.profile.clone();
        let spec = ArchSpec {
            arch: Some(arch),
            path: JsonPath::root(),
        };
        let native = |spec: &ArchSpec| spec.arch.is_none_or(|arch| arch == self.context.arch);
        match profile
            .arch_map
            .iter_mut()
            .find(|entry| native(&entry.architecture))
        {
            Some(entry) => entry.sub_architectures.push(spec),
            None => profile.architectures.push(spec),
        }
        let what = What::AddArchitecture(arch.oci_name());
        let before = self.policy().decide(self.call).action;
        let change = self.verified(what, &profile, self.context, |action| action != before);
        [change, None, None]
    }

    fn allow(&self) -> Changes {
        let is_allowed = |action| action == Action::Allow;
        let entry = |unconditional| {
            let entry = self.entry(Action::Allow, unconditional)?;
            let mut profile = self.profile.clone();
            profile.entries.push(entry.clone());
            let what = What::AddEntry(to_json(&entry));
            self.verified(what, &profile, self.context, is_allowed)
        };
        let replaced = || {
            let (mut profile, removed) = self.without_deciding();
            let entry = self.entry(Action::Allow, false)?;
            profile.entries.push(entry.clone());
            let what = What::Replace(removed, to_json(&entry));
            self.verified(what, &profile, self.context, is_allowed)
        };
        let removed = self.without_deciding_change(is_allowed);
        let added = entry(false).or_else(|| entry(true));
        let replaced = if added.is_none() && removed.is_none() {
            replaced()
        } else {
            None
        };
        [removed, added.or(replaced), self.capability()]
    }

    fn deny(&self) -> Changes {
        let is_denied = |action| action != Action::Allow;
        let default = self.policy().default_action();
        let action = if default == Action::Allow {
            Action::Errno(1)
        } else {
            default
        };
        let added = || {
            let entry = self.entry(action, false)?;
            let mut profile = self.profile.clone();
            profile.entries.push(entry.clone());
            let what = What::AddEntry(to_json(&entry));
            self.verified(what, &profile, self.context, is_denied)
        };
        [self.without_deciding_change(is_denied), added(), None]
    }

    fn without_deciding_change(&self, wanted: impl Fn(Action) -> bool) -> Option<Change> {
        let (profile, removed) = self.without_deciding();
        if removed.is_empty() {
            return None;
        }
        self.verified(What::RemoveNames(removed), &profile, self.context, wanted)
    }

    /// The profile without the names whose rules decide the call, and where those stand.
    fn without_deciding(&self) -> (Profile, Vec<JsonPath>) {
        let mut profile = self.profile.clone();
        let mut removed = Vec::new();
        let action = self.policy().decide(self.call).action;
        while let Ok(resolved) = resolve(&profile, self.context) {
            let verdict = resolved.policy.decide(self.call);
            let source = verdict.rule().and_then(|id| resolved.source(id));
            let Some(source) = source.filter(|_| verdict.action == action) else {
                break;
            };
            let Some(entry) = profile
                .entries
                .iter_mut()
                .find(|entry| entry.path == source.entry)
            else {
                break;
            };
            let original = self
                .profile
                .entries
                .iter()
                .find(|entry| entry.path == source.entry);
            let place = original.and_then(|entry| {
                let index = entry.names.iter().position(|name| name == source.syscall)?;
                Some(entry.name_path(index))
            });
            removed.extend(place);
            entry.names.retain(|name| name != source.syscall);
        }
        (profile, removed)
    }

    /// An entry on just this call: with conditions on those arguments that rules on it ask for.
    fn entry(&self, action: Action, unconditional: bool) -> Option<Entry> {
        let (arch, name) = (self.arch()?, self.name()?);
        let rules = self.policy().rules(arch, self.call.nr).iter();
        let mut indexes: Vec<u8> = rules
            .flat_map(|rule| &rule.conditions)
            .map(|c: &Condition| c.arg)
            .collect();
        indexes.sort_unstable();
        indexes.dedup();
        let args = indexes
            .into_iter()
            .filter(|_| !unconditional)
            .map(|index| Arg {
                index,
                value: self.call.args[usize::from(index)],
                value_two: 0,
                op: Operator::Eq,
            });
        Some(Entry {
            path: self.profile.path.member("syscalls").index(usize::MAX),
            names: vec![name.to_owned()],
            single_name: false,
            action: ActionSpec::Plain(action),
            args: args.collect(),
            includes: Selector::default(),
            excludes: Selector::default(),
        })
    }

    /// One capability with which an entry of a Docker profile would count.
    fn capability(&self) -> Option<Change> {
        if self.profile.format != Format::Docker {
            return None;
        }
        let name = self.name()?;
        let naming = self
            .profile
            .entries
            .iter()
            .filter(|entry| entry.names.iter().any(|n| n == name));
        let mut wanted =
            naming.flat_map(|entry| entry.includes.caps.iter().map(move |cap| (*cap, entry)));
        wanted.find_map(|(cap, entry)| {
            let held = self.context.capabilities.iter().chain([cap]);
            let context = Context {
                capabilities: Capabilities::named(held).ok()?,
                ..self.context.clone()
            };
            let what = What::GiveCapability(cap, entry.path.clone());
            self.verified(what, self.profile, &context, |action| {
                action == Action::Allow
            })
        })
    }
}

/// An entry as the runtime-spec has it.
fn to_json(entry: &Entry) -> String {
    let names: Vec<String> = entry
        .names
        .iter()
        .map(|name| format!("\"{name}\""))
        .collect();
    let (action, errno) = match entry.action {
        ActionSpec::Plain(action @ (Action::Errno(errno) | Action::Trace(errno))) => {
            (action.oci_name(), format!(", \"errnoRet\": {errno}"))
        }
        ActionSpec::Plain(action) => (action.oci_name(), String::new()),
        ActionSpec::Named { .. } => ("SCMP_ACT_ERRNO", String::new()),
    };
    let args: Vec<String> = entry
        .args
        .iter()
        .map(|arg| {
            let (index, value, op) = (arg.index, arg.value, arg.op.oci_name());
            format!("{{ \"index\": {index}, \"value\": {value}, \"op\": \"{op}\" }}")
        })
        .collect();
    let args = match args[..] {
        [] => String::new(),
        _ => format!(", \"args\": [{}]", args.join(", ")),
    };
    format!(
        "{{ \"names\": [{}], \"action\": \"{action}\"{errno}{args} }}",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(document: &str, call: &Call) -> Vec<(What, Action)> {
        let profile = Profile::parse(document.as_bytes()).unwrap();
        let context = Context::new(Arch::X86_64, "6.18".parse().unwrap());
        let resolved = resolve(&profile, &context).unwrap();
        let changes = least_changes(&profile, &context, &resolved, call);
        changes
            .into_iter()
            .map(|change| (change.what, change.becomes))
            .collect()
    }

    fn call(name: &str, args: [u64; 6]) -> Call {
        Call::new(
            Arch::X86_64,
            syscalls::number(Arch::X86_64, name).unwrap(),
            args,
        )
    }

    #[test]
    fn what_no_entry_names_gets_one() {
        let document = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#;
        let entry = r#"{ "names": ["ptrace"], "action": "SCMP_ACT_ALLOW" }"#;
        assert_eq!(
            changes(document, &call("ptrace", [0; 6])),
            [(What::AddEntry(entry.to_owned()), Action::Allow)]
        );
    }

    #[test]
    fn a_call_that_one_argument_decides_is_allowed_for_that_value() {
        let document = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
            {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#;
        let entry = r#"{ "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "value": 40, "op": "SCMP_CMP_EQ" }] }"#;
        assert_eq!(
            changes(document, &call("socket", [40, 1, 0, 0, 0, 0]))[0],
            (What::AddEntry(entry.to_owned()), Action::Allow)
        );
    }

    #[test]
    fn a_denial_is_removed_and_an_allowance_too() {
        let document = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["read","ptrace"],"action":"SCMP_ACT_LOG"},{"names":["ptrace"],"action":"SCMP_ACT_LOG"}]}"#;
        let paths = |indexes: &[(usize, usize)]| {
            let path = |(entry, name): &(usize, usize)| {
                JsonPath::root()
                    .member("syscalls")
                    .index(*entry)
                    .member("names")
                    .index(*name)
            };
            What::RemoveNames(indexes.iter().map(path).collect())
        };
        assert_eq!(
            changes(document, &call("ptrace", [0; 6])),
            [(paths(&[(0, 1), (1, 0)]), Action::Allow)]
        );
        let document = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["write","read"],"action":"SCMP_ACT_ALLOW"}]}"#;
        assert_eq!(
            changes(document, &call("read", [0; 6])),
            [(paths(&[(0, 1)]), Action::Errno(1))]
        );
    }

    #[test]
    fn a_capability_may_be_what_is_missing() {
        let profile = Profile::parse(crate::profile::DEFAULT.as_bytes()).unwrap();
        let context = Context::new(Arch::X86_64, "6.18".parse().unwrap());
        let resolved = resolve(&profile, &context).unwrap();
        let changes = least_changes(&profile, &context, &resolved, &call("mount", [0; 6]));
        let given =
            |change: &Change| matches!(change.what, What::GiveCapability("CAP_SYS_ADMIN", _));
        assert!(changes.iter().any(given), "{changes:?}");
    }

    #[test]
    fn an_architecture_outside_the_set_is_added() {
        let document = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#;
        let read = Call::new(Arch::X86, 3, [0; 6]);
        assert_eq!(
            changes(document, &read),
            [(
                What::AddArchitecture("SCMP_ARCH_X86".to_owned()),
                Action::Allow
            )]
        );
        assert_eq!(changes(document, &Call::new(Arch::Arm, 3, [0; 6])), []);
    }
}
