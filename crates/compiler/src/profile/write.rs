//! Profile → plain OCI seccomp JSON, for a context.

use serde_json::{Map, Value, json};

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
        let mut members = Map::new();
        let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
        let default = self.default_action.on(context.arch);
        put("defaultAction", default.oci_name().into());
        if let Some(datum) = datum(default) {
            put("defaultErrnoRet", datum.into());
        }
        put("architectures", self.architecture_names(context).into());
        if !self.flags.is_empty() {
            put(
                "flags",
                self.flags
                    .iter()
                    .map(|flag| flag.oci_name())
                    .collect::<Vec<_>>()
                    .into(),
            );
        }
        if let Some(path) = &self.listener_path {
            put("listenerPath", path.as_str().into());
        }
        if let Some(metadata) = &self.listener_metadata {
            put("listenerMetadata", metadata.as_str().into());
        }
        let entries = self
            .entries_in(context)
            .map(|entry| entry_json(entry, context.arch));
        put("syscalls", entries.collect::<Vec<_>>().into());
        pretty(&members)
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

/// The members in their order; `serde_json` sorts them unless a feature of it is on.
fn pretty(members: &Map<String, Value>) -> String {
    const ORDER: [&str; 7] = [
        "defaultAction",
        "defaultErrnoRet",
        "architectures",
        "flags",
        "listenerPath",
        "listenerMetadata",
        "syscalls",
    ];
    let present = ORDER
        .iter()
        .filter_map(|name| Some((name, members.get(*name)?)));
    let lines = present.map(|(name, value)| {
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        format!("  \"{name}\": {}", text.replace('\n', "\n  "))
    });
    format!("{{\n{}\n}}\n", lines.collect::<Vec<_>>().join(",\n"))
}

fn entry_json(entry: &Entry, arch: Arch) -> Value {
    let action = entry.action.on(arch);
    let mut value = json!({ "names": entry.names, "action": action.oci_name() });
    if let Some(datum) = datum(action) {
        value["errnoRet"] = datum.into();
    }
    if !entry.args.is_empty() {
        value["args"] = entry.args.iter().map(arg_json).collect();
    }
    value
}

fn arg_json(arg: &Arg) -> Value {
    let mut value = json!({ "index": arg.index, "value": arg.value, "op": arg.op.oci_name() });
    if arg.op == Operator::MaskedEq {
        value["valueTwo"] = arg.value_two.into();
    }
    value
}

fn datum(action: Action) -> Option<u16> {
    match action {
        Action::Errno(datum) | Action::Trace(datum) => Some(datum),
        _ => None,
    }
}
