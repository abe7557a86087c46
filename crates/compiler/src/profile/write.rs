//! Profile → plain OCI seccomp JSON, for a context.
//!
//! Structures rather than maps: their members have one order, whatever features of `serde_json` are on.

use serde::Serialize;

use super::{Arg, Entry, Operator, Profile};
use crate::action::Action;
use crate::arch::Arch;
use crate::context::Context;

impl Profile {
    /// The plain OCI seccomp object that the profile comes to in a context: the architectures that can occur there,
    /// the entries that count there, errnos as numbers of the architecture. Pretty JSON, members in the
    /// runtime-spec's order.
    #[must_use]
    pub fn to_oci_json(&self, context: &Context) -> String {
        let default = self.default_action.on(context.arch);
        let entries = self.entries_in(context);
        let seccomp = Seccomp {
            default_action: default.oci_name(),
            default_errno_ret: datum(default),
            architectures: self.architecture_names(context),
            flags: self.flags.iter().map(|flag| flag.oci_name()).collect(),
            listener_path: self.listener_path.as_deref(),
            listener_metadata: self.listener_metadata.as_deref(),
            syscalls: entries
                .map(|entry| Syscall::new(entry, context.arch))
                .collect(),
        };
        // Strings and numbers can always be written.
        serde_json::to_string_pretty(&seccomp).unwrap_or_default() + "\n"
    }

    fn architecture_names(&self, context: &Context) -> Vec<String> {
        let mut archs = vec![context.arch];
        for spec in self.architectures_in(context) {
            let arch = spec.arch.unwrap_or(context.arch);
            if context.arch.runs(arch) && !archs.contains(&arch) {
                archs.push(arch);
            }
        }
        archs.into_iter().map(Arch::oci_name).collect()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Seccomp<'a> {
    default_action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_errno_ret: Option<u16>,
    architectures: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flags: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listener_path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listener_metadata: Option<&'a str>,
    syscalls: Vec<Syscall<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Syscall<'a> {
    names: &'a [String],
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno_ret: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<Condition>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    index: u8,
    value: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_two: Option<u64>,
    op: &'static str,
}

impl Syscall<'_> {
    fn new(entry: &Entry, arch: Arch) -> Syscall<'_> {
        let action = entry.action.on(arch);
        Syscall {
            names: &entry.names,
            action: action.oci_name(),
            errno_ret: datum(action),
            args: entry.args.iter().map(Condition::new).collect(),
        }
    }
}

impl Condition {
    fn new(arg: &Arg) -> Condition {
        Condition {
            index: arg.index,
            value: arg.value,
            value_two: (arg.op == Operator::MaskedEq).then_some(arg.value_two),
            op: arg.op.oci_name(),
        }
    }
}

fn datum(action: Action) -> Option<u16> {
    match action {
        Action::Errno(datum) | Action::Trace(datum) => Some(datum),
        _ => None,
    }
}
