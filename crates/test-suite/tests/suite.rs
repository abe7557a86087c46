//! Every case of the suite, put to everything that can answer it.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // A test throughout.

use std::fs;

use callgate::compiler::decision::lower::lower;
use callgate::{Action, Arch, Call, CompileError, Context, Filter, Profile, probe};
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

fn compile(json: &[u8], context: &Context) -> Result<Filter, CompileError> {
    Filter::compile(&Profile::parse(json)?, context)
}

fn refused(case: &Case, code: &str, tally: &mut Tally) -> Result<(), String> {
    tally.refusals += 1;
    if Naive::read(&case.json(), &case.context()).is_ok() {
        return Err("the naive reading takes it".to_owned());
    }
    let error = match compile(&case.json(), &case.context()) {
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
    let filter = compile(&json, &context).map_err(|error| error.to_string())?;
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
    loaded_as_expected(case, &filter)?;
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

fn loaded_as_expected(case: &Case, filter: &Filter) -> Result<(), String> {
    let flags = filter.flags().iter().map(|flag| flag.oci_name());
    let flags: Vec<&str> = flags
        .map(|name| name.trim_start_matches("SECCOMP_FILTER_FLAG_"))
        .collect();
    if case
        .flags
        .as_ref()
        .is_some_and(|expected| *expected != flags)
    {
        return Err(format!("flags {flags:?}"));
    }
    let listener = filter.needs_listener();
    if case.listener.is_some_and(|expected| expected != listener) {
        return Err(format!("listener: {listener}"));
    }
    Ok(())
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

/// The corpus of documents with one mistake each: the second reading finds every mistake, too.
#[test]
fn broken_documents_are_refused_by_both_readings() {
    let folder = case::workspace().join("testdata/profiles/broken");
    let context = Context::new(Arch::X86_64, "6.18".parse().unwrap());
    let mut documents = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        documents += 1;
        let json = fs::read(&path).unwrap();
        let name = path.display();
        assert!(compile(&json, &context).is_err(), "{name}");
        assert!(Naive::read(&json, &context).is_err(), "{name}");
    }
    assert!(documents >= 130, "only {documents} documents");
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
    if probe::native_arch() != Some(Arch::X86_64) || !probe::has_filters() {
        eprintln!("skipped: the live kernel's answers: needs seccomp on x86_64");
    }
}
