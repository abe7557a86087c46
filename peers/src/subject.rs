//! What the figures are about: published profiles and the built-in one, and the programs that come of them.

use anyhow::{Context as _, Result, bail};
use callgate::compiler::bpf::Program;
use callgate::compiler::profile;
use callgate::{Arch, Context};

use crate::libseccomp::{self, Optimize, Outcome};
use crate::rules::Rules;
use crate::{ours, real, seccompiler};

/// A profile for some architectures.
#[derive(Debug)]
pub(crate) struct Subject {
    /// What it is called in the tables.
    pub(crate) name: String,
    /// The bytes that callgate begins with.
    pub(crate) json: Vec<u8>,
    /// And what for.
    pub(crate) context: Context,
    /// What the others begin with.
    pub(crate) rules: Rules,
}

/// The columns of every table. The last is empty where seccompiler can't express the profile.
pub(crate) const COMPILERS: [&str; 4] = ["callgate", "libseccomp 1", "libseccomp 2", "seccompiler"];

/// All of them, with all their architectures and with the native one alone.
pub(crate) fn all() -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    let builtin = ("callgate's default", profile::DEFAULT.as_bytes().to_vec());
    let real = real::profiles()
        .into_iter()
        .map(|(file, json)| (file.trim_end_matches(".json"), json));
    for (file, json) in real.chain([builtin]) {
        for arch in [Arch::X86_64, Arch::Aarch64] {
            let context = ours::context(arch);
            let rules = ours::resolve(&json, &context)?;
            let archs: Vec<&str> = rules.archs()?.into_iter().map(Arch::name).collect();
            let mut alone = rules.clone();
            alone.architectures.truncate(1);
            subjects.push(Subject {
                name: format!("{file}, {arch} alone"),
                json: alone.to_json()?,
                context: context.clone(),
                rules: alone,
            });
            subjects.push(Subject {
                name: format!("{file}, {}", archs.join(" + ")),
                json: json.clone(),
                context,
                rules,
            });
        }
    }
    Ok(subjects)
}

impl Subject {
    /// The programs, in the order of [`COMPILERS`].
    pub(crate) fn programs(&self) -> Result<Vec<Program>> {
        let filter = ours::compile_json(&self.json, &self.context)?;
        let mut programs = vec![filter.program().clone()];
        for optimize in Optimize::ALL {
            match libseccomp::build(&self.rules, optimize).context("libseccomp")? {
                Outcome::Built(program) => programs.push(program),
                outcome => bail!("{}: libseccomp: {outcome:?}", self.name),
            }
        }
        if self.has_seccompiler() {
            programs.extend(seccompiler::build(&self.rules)?);
        }
        Ok(programs)
    }

    /// Whether seccompiler can express it.
    pub(crate) fn has_seccompiler(&self) -> bool {
        self.rules.architectures.len() == 1
    }
}
