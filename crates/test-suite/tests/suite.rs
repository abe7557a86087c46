//! Every case of the suite, put to everything that can answer it.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // A test throughout.

use callgate::compiler::decision::lower::lower;
use callgate::{Action, Call, CompileError, Filter, Profile, probe};
use callgate_test_suite::case::{self, Case};
use callgate_test_suite::live;
use callgate_test_suite::naive::Naive;

/// Who answered how many calls.
#[derive(Default)]
struct Tally {
    calls: usize,
    live: usize,
    refusals: usize,
}

#[test]
fn every_case_is_answered_alike() {
    let cases = case::all();
    let mut failures = Vec::new();
    let mut tally = Tally::default();
    for case in &cases {
        let outcome = match &case.error {
            Some(code) => refused(case, code, &mut tally),
            None => answered(case, &mut tally),
        };
        failures.extend(outcome.err().map(|error| format!("{}: {error}", case.name)));
    }
    let Tally {
        calls,
        live,
        refusals,
    } = tally;
    println!(
        "{} cases: {calls} calls, {live} of them by the live kernel; {refusals} refusals",
        cases.len()
    );
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(cases.len() >= 150, "only {} cases", cases.len());
}

fn compile(case: &Case) -> Result<Filter, CompileError> {
    Filter::compile(&Profile::parse(&case.json())?, &case.context())
}

fn refused(case: &Case, code: &str, tally: &mut Tally) -> Result<(), String> {
    tally.refusals += 1;
    let error = match compile(case) {
        Ok(_) => return Err("it is not refused".to_owned()),
        Err(CompileError::Profile(error)) => error,
        Err(other) => return Err(format!("another refusal: {other}")),
    };
    if error.code.to_string() != code {
        return Err(format!("another refusal: {error}"));
    }
    match &case.at {
        Some(at) if *at != error.place.to_string() => Err(format!("refused at {}", error.place)),
        _ => Ok(()),
    }
}

fn answered(case: &Case, tally: &mut Tally) -> Result<(), String> {
    let (json, context) = (case.json(), case.context());
    let filter = compile(case).map_err(|error| error.to_string())?;
    let codes: Vec<String> = filter
        .notices()
        .iter()
        .map(|notice| notice.code.to_string())
        .collect();
    if let Some(code) = case.notices.iter().find(|code| !codes.contains(code)) {
        return Err(format!("no notice {code}, but {codes:?}"));
    }
    if let Some(code) = case.no_notices.iter().find(|code| codes.contains(code)) {
        return Err(format!("notice {code}"));
    }
    let naive = Naive::read(&json, &context)?;
    let graph = lower(filter.policy());
    for (call, expected) in case.calls() {
        tally.calls += 1;
        let answers = [
            ("policy", filter.policy().decide(&call).action),
            ("naive reading", naive.verdict(&call)),
            ("graph", graph.evaluate(&call)),
            ("program", filter.program().simulate(&call).action),
        ];
        for (who, action) in answers {
            same(who, &call, action, expected)?;
        }
    }
    answered_live(case, &filter, tally)
}

fn answered_live(case: &Case, filter: &Filter, tally: &mut Tally) -> Result<(), String> {
    if probe::native_arch() != Some(case.context().arch) || !probe::has_filters() {
        return Ok(());
    }
    let (calls, expected): (Vec<Call>, Vec<Action>) = case.calls().into_iter().unzip();
    let answers = live::answers(filter.program(), &calls)?;
    for ((call, expected), action) in calls.iter().zip(expected).zip(answers) {
        if let Some(action) = action {
            tally.live += 1;
            same("kernel", call, action, expected)?;
        }
    }
    Ok(())
}

fn same(who: &str, call: &Call, action: Action, expected: Action) -> Result<(), String> {
    if action == expected {
        return Ok(());
    }
    Err(format!(
        "{who} answers {action} and not {expected} to {call:x?}"
    ))
}

#[test]
fn names_of_cases_are_unique() {
    let mut names: Vec<String> = case::all().into_iter().map(|case| case.name).collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn the_live_kernel_is_asked() {
    if probe::native_arch() != Some(callgate::Arch::X86_64) || !probe::has_filters() {
        eprintln!("skipped: the live kernel's answers: needs seccomp on x86_64");
    }
}
