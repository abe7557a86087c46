//! The whole way: profile and context in, filter out.

use std::fmt;

use crate::action::Action;
use crate::arch::Arch;
use crate::bpf::check::{CheckError, check};
use crate::bpf::cost::BUDGET;
use crate::bpf::emit::emit;
use crate::bpf::{Insn, Program, op};
use crate::context::Context;
use crate::decision::lower::{lower_call, lower_for};
use crate::decision::workload::Workload;
use crate::limits::MAX_INSTRUCTIONS;
use crate::notice::{Notice, ProfileError};
use crate::policy::{Policy, Resolved, Rule, resolve};
use crate::profile::{Flag, Profile};
use crate::proof::{Digest, Proof, ProofError, digest, prove};
use crate::syscalls;

/// A program with all that is needed to load it. It is a pure function of its profile, its context, and the
/// [version of the tables](crate::syscalls::TABLE_VERSION): those three make a key under which it can be cached.
#[derive(Clone, Debug)]
pub struct Filter {
    program: Program,
    resolved: Resolved,
    proof: Proof,
}

impl Filter {
    /// Compiles a profile for a context, and proves that the program means what the policy says on every call.
    ///
    /// ```
    /// use callgate_compiler::{Action, Arch, Call, Context, Filter, Profile};
    /// let profile = Profile::parse(br#"{
    ///     "defaultAction": "SCMP_ACT_ERRNO",
    ///     "syscalls": [{ "names": ["getpid"], "action": "SCMP_ACT_ALLOW" }]
    /// }"#)?;
    /// let filter = Filter::compile(&profile, &Context::new(Arch::X86_64, "6.18".parse()?))?;
    /// let getpid = Call::new(Arch::X86_64, 39, [0; 6]);
    /// assert_eq!(filter.program().simulate(&getpid).action, Action::Allow);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What can't be meant ([`CompileError::Profile`]), a filter that is longer than the kernel takes, one that is too intricate to
    /// be proved, and, should the compiler ever be wrong, a program that is not the policy.
    pub fn compile(profile: &Profile, context: &Context) -> Result<Filter, CompileError> {
        let resolved = resolve(profile, context)?;
        let program = compile(&resolved.policy)?;
        let proof = prove(&resolved.policy, &program)?;
        Ok(Filter {
            program,
            resolved,
            proof,
        })
    }

    /// The proof that the program means what the policy says.
    #[must_use]
    pub fn proof(&self) -> Proof {
        self.proof
    }

    /// A name for what the filter means: equal exactly for filters that answer every call alike, on every machine. With
    /// [`flags`](Self::flags) and the kernel's byte order it is a key under which a program can be cached.
    ///
    /// # Errors
    /// [`ProofError::TooLarge`] for a filter that was proved rule by rule.
    pub fn digest(&self) -> Result<Digest, ProofError> {
        digest(self.policy())
    }

    /// The instructions.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// What they mean.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.resolved.policy
    }

    /// How they are to be loaded.
    #[must_use]
    pub fn flags(&self) -> &[Flag] {
        &self.resolved.flags
    }

    /// Whether a listener is to be asked for.
    #[must_use]
    pub fn needs_listener(&self) -> bool {
        self.resolved.needs_listener
    }

    /// What was odd about the profile.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.resolved.notices
    }

    /// All that the profile came to.
    #[must_use]
    pub fn resolved(&self) -> &Resolved {
        &self.resolved
    }
}

/// Compiles a policy, from wherever it comes.
///
/// # Errors
/// If the program is longer than the kernel takes.
pub fn compile(policy: &Policy) -> Result<Program, CompileError> {
    compile_for(policy, &Workload::default())
}

/// As [`compile`], with short paths for the calls of a workload. What the program means is the same.
///
/// # Errors
/// If the program is longer than the kernel takes.
pub fn compile_for(policy: &Policy, workload: &Workload) -> Result<Program, CompileError> {
    let insns = emit(&lower_for(policy, workload), policy.byte_order());
    if insns.len() > MAX_INSTRUCTIONS {
        return Err(CompileError::TooLong(TooLong::new(policy, insns.len())));
    }
    let program = check(insns, policy.byte_order())?;
    check_form(policy, &program)?;
    Ok(program)
}

/// The only instructions that are emitted.
const EMITTED: [u16; 8] = [
    op::LD_W_ABS,
    op::AND_K,
    op::JA,
    op::JEQ_K,
    op::JGT_K,
    op::JGE_K,
    op::JSET_K,
    op::RET_K,
];

/// What the proof doesn't tell, as it is about cost and not about meaning: that the kernel can cache the program's answers, and
/// takes it beside other filters.
fn check_form(policy: &Policy, program: &Program) -> Result<(), FormError> {
    let foreign = |insn: &Insn| !EMITTED.contains(&insn.code);
    if let Some(index) = program.insns().iter().position(foreign) {
        return Err(FormError::Instruction(index));
    }
    let length = program.converted_length();
    if length > BUDGET {
        return Err(FormError::Length(length));
    }
    for (arch, abi) in policy.abis() {
        let allowed = |rules: &[Rule]| {
            let first = rules.first().filter(|rule| rule.is_unconditional());
            first.is_some_and(|rule| rule.action == Action::Allow)
        };
        let mut allowed = abi.rules().filter(|(_, rules)| allowed(rules));
        if let Some((nr, _)) = allowed.find(|(nr, _)| !program.is_constant_allow(arch.audit(), *nr))
        {
            return Err(FormError::NotCached(arch, nr));
        }
    }
    Ok(())
}

/// No filter came out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The profile can't be taken.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The kernel would not take so long a filter.
    #[error("{0}")]
    TooLong(TooLong),
    /// The kernel would not take the filter: a mistake in this compiler.
    #[error("the compiler made a program that the kernel would refuse: {0}")]
    Check(#[from] CheckError),
    /// The filter isn't as filters are to be: a mistake in this compiler.
    #[error("the compiler made a program that {0}")]
    Form(#[from] FormError),
    /// The program is not known to be the policy: it is too intricate ([`ProofError::TooLarge`]), or else there is a mistake in this
    /// compiler.
    #[error("the filter could not be proved to be the profile: {0}")]
    Proof(#[from] ProofError),
}

/// What is wrong with a program that the kernel would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormError {
    /// There is an instruction that the compiler doesn't use.
    #[error("has an instruction at {0} that filters don't need")]
    Instruction(usize),
    /// The kernel makes more of it than the filters of a thread may have together ([`BUDGET`]).
    #[error("comes to {0} instructions in the kernel, more than a thread may have")]
    Length(usize),
    /// The kernel's cache (`seccomp_is_const_allow`) would not find that a call is allowed whatever its arguments are.
    #[error("asks more of call {1} of {0} than the kernel can cache")]
    NotCached(Arch, u32),
}

/// How much too long a filter is, and where it grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// How many instructions it has.
    pub length: usize,
    /// The calls with the longest rules, the longest first: ABI, number, instructions.
    pub heaviest: Vec<(Arch, u32, usize)>,
}

impl TooLong {
    fn new(policy: &Policy, length: usize) -> TooLong {
        let calls = policy
            .abis()
            .flat_map(|(arch, abi)| abi.rules().map(move |(nr, _)| (arch, nr)));
        let weighed = calls.map(|(arch, nr)| {
            let length = emit(&lower_call(policy, arch, nr), policy.byte_order()).len();
            (arch, nr, length)
        });
        let mut heaviest: Vec<_> = weighed.collect();
        heaviest.sort_by_key(|(arch, nr, length)| (usize::MAX - length, *arch, *nr));
        heaviest.truncate(5);
        TooLong { length, heaviest }
    }
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = self.length - MAX_INSTRUCTIONS;
        write!(
            f,
            "the filter has {} instructions, {over} more than the kernel takes; the heaviest calls are",
            self.length
        )?;
        for (i, (arch, nr, length)) in self.heaviest.iter().enumerate() {
            let separator = if i == 0 { "" } else { "," };
            match syscalls::name(*arch, *nr) {
                Some(name) => write!(f, "{separator} {arch}:{name} ({length})")?,
                None => write!(f, "{separator} {arch}:{nr} ({length})")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Condition, PolicyBuilder, RuleId, Test};

    #[test]
    fn a_filter_that_is_too_long_says_where_it_grows() {
        let mut builder = PolicyBuilder::new(Arch::X86_64, Action::Errno(1));
        for i in 0..3000 {
            let conditions = [
                Condition {
                    arg: 0,
                    test: Test::Eq(i),
                },
                Condition {
                    arg: 1,
                    test: Test::Eq(i << 32 | i),
                },
            ];
            let id = RuleId(u32::try_from(i).unwrap());
            builder
                .rule(Arch::X86_64, 16, id, Action::Allow, &conditions)
                .unwrap();
        }
        let Err(CompileError::TooLong(error)) = compile(&builder.build()) else {
            panic!("it is longer than 4096");
        };
        assert_eq!(
            (error.heaviest[0].0, error.heaviest[0].1),
            (Arch::X86_64, 16)
        );
        assert!(error.to_string().contains("x86_64:ioctl"), "{error}");
    }
}
