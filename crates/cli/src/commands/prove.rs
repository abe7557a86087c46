//! `callgate prove`: whether a filter means a profile.

use std::process::ExitCode;

use callgate::compiler::bpf::Program;
use callgate::compiler::proof::{ProofError, prove, prove_together};
use callgate::{Arch, Filter};
use clap::Args;
use serde_json::json;

use crate::call;
use crate::context::ContextOptions;
use crate::failure::Failure;
use crate::input::{AnyFilter, Input};
use crate::output;

/// Prove that a filter, whoever compiled it, means a profile on every possible call
///
/// The filter may be a raw one, that of a process, or another profile, which is compiled for the same context. If it
/// doesn't mean the profile, a call is printed on which the two differ.
#[derive(Args)]
#[command(after_help = "Examples:
  callgate prove profile.json filter.bpf
  callgate prove --no-enosys docker.json pid:1234
  callgate prove old.json new.json

Exit status: 0 if it does; 1 if it doesn't; 2 if that can't be told.")]
pub(crate) struct Options {
    /// Profile: a path, `-`, or `default`
    profile: String,

    /// Raw filter, profile, or pid:N for those of a process, which answer together
    filter: String,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    context: ContextOptions,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let context = options.context.context()?;
    let profile = Input::read(&options.profile)?.compile(&context, false)?;
    let filter = AnyFilter::read(&options.filter, &context)?;
    let orders = filter.programs().iter().map(Program::byte_order);
    if orders
        .into_iter()
        .any(|order| order != context.arch.byte_order())
    {
        return Err(Failure::new(format!(
            "{}: the filter is for kernels of the other byte order",
            options.filter
        )));
    }
    let outcome = match filter.programs() {
        [program] => prove(profile.policy(), program),
        programs => prove_together(profile.policy(), programs),
    };
    let status = match &outcome {
        Ok(_) => 0,
        Err(ProofError::Refuted { .. }) => 1,
        Err(error) => return Err(Failure::new(format!("{}: {error}", options.filter))),
    };
    let text = if options.json {
        format!("{:#}\n", to_json(&outcome, &profile, context.arch))
    } else {
        sentence(&outcome, &profile, context.arch) + "\n"
    };
    output::print(&text)?;
    Ok(ExitCode::from(status))
}

type Outcome = Result<callgate::compiler::proof::Proof, ProofError>;

fn sentence(outcome: &Outcome, profile: &Filter, arch: Arch) -> String {
    match outcome {
        Ok(proof) => {
            let how = match proof.nodes {
                Some(nodes) => format!("a diagram of {nodes} nodes"),
                None => "rule by rule".to_owned(),
            };
            format!("proved: the filter means the profile on every call ({how})")
        }
        Err(ProofError::Refuted {
            witness,
            expected,
            found,
        }) => {
            let rule = profile
                .policy()
                .decide(witness)
                .rule()
                .and_then(|id| profile.resolved().source(id));
            let rule = rule
                .map(|source| format!(" ({})", source.name))
                .unwrap_or_default();
            let (expected, found) = (expected.display(arch), found.display(arch));
            format!(
                "refuted: to {} the profile says {expected}{rule}, the filter {found}",
                call::display(witness, arch)
            )
        }
        Err(other) => other.to_string(),
    }
}

fn to_json(outcome: &Outcome, profile: &Filter, arch: Arch) -> serde_json::Value {
    let mut document = json!({ "schema": "callgate.prove.v1", "proved": outcome.is_ok(), "because": sentence(outcome, profile, arch) });
    match outcome {
        Ok(proof) => {
            document["nodes"] = proof.nodes.into();
            let digest = profile.digest().ok();
            document["digest"] = digest.map(|digest| digest.to_string()).into();
        }
        Err(ProofError::Refuted {
            witness,
            expected,
            found,
        }) => {
            document["witness"] = json!({
                "call": call::display(witness, arch),
                "audit_arch": witness.audit,
                "nr": witness.nr,
                "args": witness.args,
                "instruction_pointer": witness.instruction_pointer,
            });
            document["profile_says"] = expected.display(arch).into();
            document["filter_says"] = found.display(arch).into();
        }
        Err(_) => {}
    }
    document
}
