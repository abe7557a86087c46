//! A resolved profile as plain data: what a container runtime holds when it begins to build a filter.
//!
//! It is written and read as the OCI runtime-spec's `linux.seccomp` object, so the same bytes go to every
//! compiler that is compared here.

use anyhow::{Context as _, Result};
use callgate::compiler::{Action, Arch};
use serde::{Deserialize, Serialize};

/// The whole profile.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rules {
    /// `SCMP_ACT_*`
    pub(crate) default_action: String,
    /// With ERRNO and TRACE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default_errno_ret: Option<u16>,
    /// `SCMP_ARCH_*`, the native one first.
    pub(crate) architectures: Vec<String>,
    /// The entries, in document order.
    pub(crate) syscalls: Vec<Entry>,
}

/// An action for some calls.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// Names of calls.
    pub(crate) names: Vec<String>,
    /// `SCMP_ACT_*`
    pub(crate) action: String,
    /// With ERRNO and TRACE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) errno_ret: Option<u16>,
    /// Conditions; none means always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) args: Vec<Arg>,
}

/// A condition on one argument.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Arg {
    /// 0 to 5.
    pub(crate) index: u8,
    /// The datum, or the mask of a masked comparison.
    pub(crate) value: u64,
    /// The datum of a masked comparison.
    #[serde(default)]
    pub(crate) value_two: u64,
    /// How they are compared.
    pub(crate) op: Operator,
}

/// A comparison. The discriminants are those of `enum scmp_compare`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u32)]
#[allow(missing_docs)] // The names are the field's own.
pub(crate) enum Operator {
    #[serde(rename = "SCMP_CMP_NE")]
    Ne = 1,
    #[serde(rename = "SCMP_CMP_LT")]
    Lt = 2,
    #[serde(rename = "SCMP_CMP_LE")]
    Le = 3,
    #[serde(rename = "SCMP_CMP_EQ")]
    Eq = 4,
    #[serde(rename = "SCMP_CMP_GE")]
    Ge = 5,
    #[serde(rename = "SCMP_CMP_GT")]
    Gt = 6,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEq = 7,
}

impl Rules {
    /// The action of calls that no entry decides.
    pub(crate) fn default(&self) -> Result<Action> {
        action(&self.default_action, self.default_errno_ret)
    }

    /// The architectures, the native one first.
    pub(crate) fn archs(&self) -> Result<Vec<Arch>> {
        let parse = |name: &String| name.parse().with_context(|| name.clone());
        self.architectures.iter().map(parse).collect()
    }

    /// The profile as a runtime reads it.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }
}

impl Entry {
    /// What happens to its calls.
    pub(crate) fn action(&self) -> Result<Action> {
        action(&self.action, self.errno_ret)
    }

    /// The conditions of its rules: one rule with all of them, or one rule each where two name the same argument,
    /// as container runtimes have it.
    pub(crate) fn alternatives(&self) -> Vec<&[Arg]> {
        let repeats = |arg: &Arg| self.args.iter().filter(|a| a.index == arg.index).count() > 1;
        if self.args.iter().any(repeats) {
            self.args.chunks(1).collect()
        } else {
            vec![&self.args]
        }
    }
}

impl Arg {
    /// Whether a value passes.
    pub(crate) fn holds(&self, given: u64) -> bool {
        match self.op {
            Operator::Ne => given != self.value,
            Operator::Lt => given < self.value,
            Operator::Le => given <= self.value,
            Operator::Eq => given == self.value,
            Operator::Ge => given >= self.value,
            Operator::Gt => given > self.value,
            Operator::MaskedEq => given & self.value == self.value_two & self.value,
        }
    }

    /// Whether it asks the same.
    pub(crate) fn is_same(&self, other: &Arg) -> bool {
        let second = self.op != Operator::MaskedEq || self.value_two == other.value_two;
        self.index == other.index && self.op == other.op && self.value == other.value && second
    }
}

/// An action by its name and number; EPERM where ERRNO or TRACE has none.
fn action(name: &str, errno: Option<u16>) -> Result<Action> {
    const EPERM: u16 = 1;
    let datum = errno.unwrap_or(EPERM);
    Ok(match name {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_ERRNO" => Action::Errno(datum),
        "SCMP_ACT_TRACE" => Action::Trace(datum),
        "SCMP_ACT_NOTIFY" => Action::Notify,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_ALLOW" => Action::Allow,
        _ => anyhow::bail!("unknown action `{name}`"),
    })
}
