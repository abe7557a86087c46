//! Calls that failed with what a policy says of them, the like ones counted together.

use std::collections::{BTreeSet, HashMap};
use std::fs;

use callgate::compiler::errno;
use callgate::compiler::notice::JsonPath;
use callgate::compiler::policy::{Ground, Verdict};
use callgate::{Action, Arch, Call, Filter};
use serde_json::{Value, json};

use crate::remedy::telling_arguments;

/// So many kinds are told apart; what comes beyond is counted only. A container may try to have many.
const MAX_KINDS: usize = 500;
/// So many callers of a kind are told apart.
const MAX_CALLERS: usize = 200;

/// All that failed, by kind.
#[derive(Debug, Default)]
pub(crate) struct Denials {
    kinds: Vec<Kind>,
    by_key: HashMap<Key, usize>,
    /// How many calls were of none of the kinds, since there were too many.
    pub(crate) beyond: u64,
}

/// Calls that failed alike.
#[derive(Debug)]
pub(crate) struct Kind {
    /// The first of them.
    pub(crate) call: Call,
    /// As it is written, strings in it.
    pub(crate) text: String,
    pub(crate) failure: CallFailure,
    pub(crate) count: u64,
    /// The thread that made the first, and what it was called.
    pub(crate) first: (u32, String),
    callers: BTreeSet<u32>,
}

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CallFailure {
    /// The filter denied it.
    Denied(Verdict),
    /// The filter let it pass, and the kernel refused it with an errno.
    Refused(i32),
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    audit: u32,
    nr: u32,
    telling: [u64; 6],
    failure: CallFailure,
}

impl Denials {
    /// Counts a call; its text is asked for if it is the first of its kind. Whether it is.
    pub(crate) fn count(
        &mut self,
        filter: &Filter,
        call: &Call,
        failure: CallFailure,
        tid: u32,
        text: impl FnOnce() -> String,
    ) -> bool {
        let mut telling = [0; 6];
        for arg in telling_arguments(filter, call).into_iter().map(usize::from) {
            telling[arg] = call.args[arg];
        }
        let key = Key {
            audit: call.audit,
            nr: call.nr,
            telling,
            failure,
        };
        if let Some(&kind) = self.by_key.get(&key) {
            let kind = &mut self.kinds[kind];
            kind.count += 1;
            if kind.callers.len() < MAX_CALLERS {
                kind.callers.insert(tid);
            }
            return false;
        }
        if self.kinds.len() == MAX_KINDS {
            self.beyond += 1;
            return false;
        }
        self.by_key.insert(key, self.kinds.len());
        self.kinds.push(Kind {
            call: *call,
            text: text(),
            failure,
            count: 1,
            first: (tid, name_of(tid)),
            callers: BTreeSet::from([tid]),
        });
        true
    }

    /// The kinds, in the order in which the first of each came.
    pub(crate) fn kinds(&self) -> &[Kind] {
        &self.kinds
    }
}

impl Kind {
    /// How it ended for the caller, in a word.
    pub(crate) fn came_to(&self, native: Arch) -> String {
        let arch = Arch::of_call(self.call.audit, self.call.nr).unwrap_or(native);
        match self.failure {
            CallFailure::Denied(verdict) => came_to(verdict.action, arch),
            CallFailure::Refused(number) => name_of_errno(arch, number),
        }
    }

    /// How often, and by whom.
    pub(crate) fn by(&self) -> String {
        let times = match self.count {
            1 => "once".to_owned(),
            count => format!("{count} times"),
        };
        let (tid, name) = &self.first;
        let others = match self.callers.len() - 1 {
            0 => String::new(),
            1 => " and another".to_owned(),
            others if others + 1 == MAX_CALLERS => format!(" and {others} others or more"),
            others => format!(" and {others} others"),
        };
        format!("{times}, by {name}[{tid}]{others}")
    }

    /// Whether the filter answered as a kernel would that lacks the call. Programs go on with an older one then, so that
    /// is seldom what ails them.
    pub(crate) fn is_fallback(&self, native: Arch) -> bool {
        let by_errno = matches!(
            self.failure,
            CallFailure::Denied(Verdict {
                action: Action::Errno(_),
                ..
            })
        );
        by_errno && self.came_to(native) == "ENOSYS"
    }

    pub(crate) fn callers(&self) -> usize {
        self.callers.len()
    }
}

/// What a caller sees of an action, in a word.
pub(crate) fn came_to(action: Action, arch: Arch) -> String {
    match action {
        Action::Errno(0) => "returns 0 undone".to_owned(),
        Action::Errno(number) => name_of_errno(arch, number.into()),
        // With no tracer and no supervisor there.
        Action::Trace(_) | Action::Notify => "ENOSYS".to_owned(),
        Action::Trap => "SIGSYS".to_owned(),
        Action::KillThread => "kills the thread".to_owned(),
        Action::KillProcess => "kills the process".to_owned(),
        Action::Log | Action::Allow => "allowed".to_owned(),
    }
}

fn name_of_errno(arch: Arch, number: i32) -> String {
    let name = u16::try_from(number)
        .ok()
        .and_then(|number| errno::name(arch, number));
    name.map_or_else(|| format!("errno {number}"), str::to_owned)
}

/// What a thread is called, while it is there.
pub(crate) fn name_of(tid: u32) -> String {
    let name = fs::read(format!("/proc/{tid}/comm")).unwrap_or_default();
    let name = String::from_utf8_lossy(&name).trim_end().to_owned();
    if name.is_empty() {
        "?".to_owned()
    } else {
        name
    }
}

/// Where in the profile it says so.
pub(crate) fn place(filter: &Filter, profile: &JsonPath, ground: Ground) -> Option<JsonPath> {
    match ground {
        Ground::Rule(id) => filter.resolved().source(id).map(|source| source.name),
        Ground::Default => Some(profile.member("defaultAction")),
        Ground::NewerCall | Ground::ForeignArch | Ground::X32Disabled => None,
    }
}

/// What decided, in words.
pub(crate) fn ground(ground: Ground) -> &'static str {
    match ground {
        Ground::Rule(_) => "an entry",
        Ground::Default => "the default action",
        Ground::NewerCall => {
            "the rule on newer calls: the profile knows no call with so high a number (--no-enosys)"
        }
        Ground::ForeignArch => "the architecture, which isn't among the profile's",
        Ground::X32Disabled => "the x32 number, where x32 isn't among the profile's architectures",
    }
}

/// The members by which programs know a verdict.
pub(crate) fn verdict_json(
    filter: &Filter,
    profile: &JsonPath,
    verdict: Verdict,
    arch: Arch,
) -> Value {
    let word = match verdict.ground {
        Ground::Rule(_) => "rule",
        Ground::Default => "default action",
        Ground::NewerCall => "newer than the profile",
        Ground::ForeignArch => "architecture outside the profile",
        Ground::X32Disabled => "x32 outside the profile",
    };
    json!({
        "action": verdict.action.display(arch),
        "ground": word,
        "path": place(filter, profile, verdict.ground).map(|path| path.to_string()),
    })
}
