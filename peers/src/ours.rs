//! callgate's side of every comparison.

use anyhow::{Context as _, Result};
use callgate::{Arch, CompileError, Context, Filter, KernelVersion, Profile};

use crate::rules::Rules;

/// The kernel that the figures are for: none of the profiles changes with it any more.
pub(crate) const KERNEL: KernelVersion = KernelVersion {
    major: 6,
    minor: 18,
};

/// A context without the rule for newer calls, which others don't have.
pub(crate) fn context(arch: Arch) -> Context {
    Context {
        newer_calls: false,
        ..Context::new(arch, KERNEL)
    }
}

/// Compiles the bytes of a profile.
pub(crate) fn compile_json(json: &[u8], context: &Context) -> Result<Filter, CompileError> {
    Filter::compile(&Profile::parse(json)?, context)
}

/// Compiles a resolved profile. The inner error is callgate's refusal.
pub(crate) fn compile(rules: &Rules) -> Result<Result<Filter, CompileError>> {
    let native = *rules.archs()?.first().context("no architecture")?;
    Ok(compile_json(&rules.to_json()?, &context(native)))
}

/// What a profile comes to in a context, as every compiler here is given it.
pub(crate) fn resolve(json: &[u8], context: &Context) -> Result<Rules> {
    let resolved = Profile::parse(json)?.to_oci_json(context);
    Ok(serde_json::from_str(&resolved)?)
}
