//! The suite's cases, as the files in `testdata/suite` have them: see the README there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use callgate::compiler::policy::RuleOrder;
use callgate::compiler::syscalls;
use callgate::{Action, Arch, Call, Capabilities, Context};
use serde::Deserialize;
use serde_json::{Value, json};

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

/// A profile, what it is read for, and what must come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it is called; of one file, each differently.
    pub name: String,
    /// The whole document, as JSON.
    profile: Option<String>,
    /// Or: its default action, as `ERRNO(EPERM)`.
    default: Option<String>,
    /// With it: its architectures beside the native one.
    #[serde(default)]
    architectures: Vec<String>,
    /// With it: its entries, as `NAME,NAME(0 EQ 1 & 1 MASKED_EQ 0xff 2) ACTION`.
    #[serde(default)]
    rules: Vec<String>,
    /// The native architecture.
    #[serde(default = "x86_64")]
    arch: String,
    /// The kernel's version.
    #[serde(default = "newest_kernel")]
    kernel: String,
    /// The capabilities, unless Docker's.
    caps: Option<Vec<String>>,
    /// The rule order, unless the runtimes'.
    order: Option<String>,
    /// Whether newer calls return ENOSYS.
    #[serde(default = "yes")]
    enosys: bool,
    /// Whether unknown names are errors.
    #[serde(default)]
    strict: bool,
    /// Calls, and what happens to each.
    #[serde(default)]
    calls: BTreeMap<String, String>,
    /// The code of the error that must come instead.
    pub error: Option<String>,
    /// Where it must be.
    pub at: Option<String>,
    /// Codes of notices that must be given.
    #[serde(default)]
    pub notices: Vec<String>,
    /// The flags that the filter must be loaded with, without their prefix.
    pub flags: Option<Vec<String>>,
    /// Whether a listener must be asked for.
    pub listener: Option<bool>,
    /// Codes of notices that must not be given.
    #[serde(default)]
    pub no_notices: Vec<String>,
}

fn x86_64() -> String {
    "x86_64".to_owned()
}

fn newest_kernel() -> String {
    "6.18".to_owned()
}

fn yes() -> bool {
    true
}

/// All cases of the suite, each named `FILE/CASE`.
///
/// # Panics
/// If a file can't be read: it is part of the workspace.
#[must_use]
pub fn all() -> Vec<Case> {
    let folder = workspace().join("testdata/suite");
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the suite is there")
        .filter_map(|e| Some(e.ok()?.path()))
        .collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
    });
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("a suite file is text");
        let file: File = toml::from_str(&text)
            .unwrap_or_else(|error| fail(&format!("{}: {error}", path.display())));
        let stem = path
            .file_stem()
            .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        cases.extend(file.case.into_iter().map(|case| Case {
            name: format!("{stem}/{}", case.name),
            ..case
        }));
    }
    cases
}

/// The root of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[allow(clippy::panic)] // A mistake in the suite's own text.
fn fail(message: &str) -> ! {
    panic!("{message}")
}

impl Case {
    /// The document.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        if let Some(profile) = &self.profile {
            return profile.clone().into_bytes();
        }
        let default = self
            .default
            .as_deref()
            .unwrap_or_else(|| fail(&format!("{}: no profile", self.name)));
        let mut document = json!({ "syscalls": self.rules.iter().map(|rule| self.entry(rule)).collect::<Vec<_>>() });
        put_action(
            &mut document,
            default,
            "defaultAction",
            "defaultErrnoRet",
            self.native(),
        );
        if !self.architectures.is_empty() {
            let named = self
                .architectures
                .iter()
                .map(|name| format!("SCMP_ARCH_{}", name.to_uppercase()));
            document["architectures"] = named.collect();
        }
        document.to_string().into_bytes()
    }

    /// What it is read for.
    #[must_use]
    pub fn context(&self) -> Context {
        let caps = self.caps.as_ref().map(|names| {
            let named = Capabilities::named(names.iter().map(String::as_str));
            named.unwrap_or_else(|error| fail(&format!("{}: {error}", self.name)))
        });
        let kernel = self
            .kernel
            .parse()
            .unwrap_or_else(|error| fail(&format!("{}: {error}", self.name)));
        Context {
            capabilities: caps.unwrap_or_default(),
            rule_order: if self.order.as_deref() == Some("document") {
                RuleOrder::Document
            } else {
                RuleOrder::Runtime
            },
            newer_calls: self.enosys,
            strict: self.strict,
            ..Context::new(self.native(), kernel)
        }
    }

    /// The calls, and what must happen to each.
    #[must_use]
    pub fn calls(&self) -> Vec<(Call, Action)> {
        let native = self.native();
        let calls = self.calls.iter().map(|(call, action)| {
            let action = Action::parse(action, native);
            let action = action
                .unwrap_or_else(|| fail(&format!("{}: {call}: what action is that?", self.name)));
            (self.call(call), action)
        });
        calls.collect()
    }

    fn native(&self) -> Arch {
        self.arch
            .parse()
            .unwrap_or_else(|error| fail(&format!("{}: {error}", self.name)))
    }

    /// `NAME,NAME(0 EQ 1 & 1 MASKED_EQ 0xff 2) ACTION` as an entry.
    fn entry(&self, rule: &str) -> Value {
        let (call, action) = rule
            .rsplit_once(' ')
            .unwrap_or_else(|| self.bad("rule", rule));
        let (names, conditions) = match call.split_once('(') {
            Some((names, rest)) => (
                names,
                rest.strip_suffix(')')
                    .unwrap_or_else(|| self.bad("rule", rule)),
            ),
            None => (call, ""),
        };
        let mut entry = json!({ "names": names.split(',').map(str::trim).collect::<Vec<_>>() });
        put_action(&mut entry, action, "action", "errnoRet", self.native());
        let conditions = conditions
            .split('&')
            .map(str::trim)
            .filter(|condition| !condition.is_empty());
        let args = conditions.map(|condition| {
            let words: Vec<&str> = condition.split_whitespace().collect();
            let value = |i: usize| words.get(i).and_then(|word| number(word)).unwrap_or_else(|| self.bad("rule", rule));
            let mut arg = json!({ "index": value(0), "op": format!("SCMP_CMP_{}", words[1]), "value": value(2) });
            if words.len() > 3 {
                arg["valueTwo"] = value(3).into();
            }
            arg
        });
        entry["args"] = args.collect();
        entry
    }

    /// `ABI:NAME(1, 2)`, or with a number for the name.
    fn call(&self, text: &str) -> Call {
        let (target, args) = text
            .strip_suffix(')')
            .and_then(|text| text.split_once('('))
            .unwrap_or_else(|| self.bad("call", text));
        let (arch, name) = match target.split_once(':') {
            Some((arch, name)) => (
                arch.parse().unwrap_or_else(|_| self.bad("call", text)),
                name,
            ),
            None => (self.native(), target),
        };
        let by_number = || number(name).and_then(|nr| u32::try_from(nr & 0xffff_ffff).ok());
        let nr = syscalls::number(arch, name)
            .or_else(by_number)
            .unwrap_or_else(|| self.bad("call", text));
        let mut values = [0; 6];
        let args = args.split(',').map(str::trim).filter(|arg| !arg.is_empty());
        for (value, arg) in values.iter_mut().zip(args) {
            *value = number(arg).unwrap_or_else(|| self.bad("call", text));
        }
        Call::new(arch, nr, values)
    }

    fn bad<T>(&self, what: &str, text: &str) -> T {
        fail(&format!("{}: what {what} is `{text}`?", self.name))
    }
}

fn put_action(object: &mut Value, action: &str, name: &str, datum: &str, arch: Arch) {
    let (action, number) = match action
        .strip_suffix(')')
        .and_then(|text| text.split_once('('))
    {
        Some((action, text)) => (action, Some(text)),
        None => (action, None),
    };
    object[name] = format!("SCMP_ACT_{action}").into();
    if let Some(text) = number {
        let named = callgate::compiler::errno::number(arch, text).map(u64::from);
        object[datum] = named
            .or_else(|| text.parse().ok())
            .map_or(Value::Null, Value::from);
    }
}

fn number(text: &str) -> Option<u64> {
    if let Some(digits) = text.strip_prefix('-') {
        return number(digits).map(u64::wrapping_neg);
    }
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}
