//! Every call of a filter, and what it comes to.

use callgate::compiler::summary::{Conditional, ProgramSummary, Summary};
use callgate::compiler::syscalls;
use callgate::{Arch, Call, Filter};

use super::html::{class_of, escaped};
use crate::layout::listed;

/// One call on the ABIs on which it means the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) call: String,
    pub(super) archs: Vec<Arch>,
    /// `ALLOW`, or `by arguments`.
    pub(super) verdict: String,
    class: &'static str,
    /// The condition, and what decides.
    pub(super) detail: String,
}

/// All calls that have a name. Conditions are those of the profile, where there is one.
pub(super) fn rows(program: &ProgramSummary, filter: Option<&Filter>, native: Arch) -> Vec<Row> {
    let mut rows = Vec::new();
    for plain in &program.calls.plain {
        for call in &plain.calls {
            let archs = having(&plain.archs, call, &program.archs);
            rows.push(Row {
                call: call.clone(),
                verdict: plain.action.display(native).to_string(),
                class: class_of(plain.action),
                detail: filter.map_or_else(String::new, |filter| ground(filter, call, &archs)),
                archs,
            });
        }
    }
    let written = filter.map(|filter| Summary::of(filter.policy()));
    for conditional in &program.calls.conditional {
        let archs = having(&conditional.archs, &conditional.call, &program.archs);
        let same = |known: &&Conditional| {
            known.call == conditional.call
                && archs
                    .iter()
                    .all(|arch| having(&known.archs, &known.call, &program.archs).contains(arch))
        };
        let of_profile = written
            .as_ref()
            .and_then(|summary| summary.conditional.iter().find(same));
        let shown = of_profile.unwrap_or(conditional);
        let mut cases: Vec<String> = shown
            .cases
            .iter()
            .map(|case| format!("{} if {}", case.action.display(native), case.condition))
            .collect();
        let default = filter.map(|filter| filter.policy().default_action());
        if let Some(action) = shown.otherwise.or(default) {
            cases.push(format!("{} otherwise", action.display(native)));
        }
        rows.push(Row {
            call: conditional.call.clone(),
            archs,
            verdict: "by arguments".to_owned(),
            class: "other",
            detail: cases.join("; "),
        });
    }
    rows.sort_by(|a, b| (&a.call, &a.archs).cmp(&(&b.call, &b.archs)));
    rows
}

/// The ABIs that are meant: those named, or all that have the call.
fn having(archs: &[Arch], call: &str, all: &[Arch]) -> Vec<Arch> {
    if !archs.is_empty() {
        return archs.to_vec();
    }
    let has = |arch: &&Arch| {
        syscalls::number(**arch, call).is_some_and(|nr| syscalls::name(**arch, nr) == Some(call))
    };
    all.iter().filter(has).copied().collect()
}

/// What decides a call in a profile.
fn ground(filter: &Filter, call: &str, archs: &[Arch]) -> String {
    let numbers = archs
        .iter()
        .filter_map(|arch| Some((*arch, syscalls::number(*arch, call)?)));
    let Some((arch, nr)) = numbers.into_iter().next() else {
        return String::new();
    };
    let verdict = filter.policy().decide(&Call::new(arch, nr, [0; 6]));
    match verdict.rule().and_then(|id| filter.resolved().source(id)) {
        Some(source) => source.name.to_string(),
        None if filter.policy().is_newer(arch, nr) => "newer than the profile".to_owned(),
        None => "default action".to_owned(),
    }
}

impl Row {
    /// The kind of verdict that one may filter by: without the errno.
    pub(super) fn kind(&self) -> &str {
        self.verdict.split('(').next().unwrap_or("")
    }

    pub(super) fn html(&self) -> String {
        format!(
            "<tr data-verdict=\"{}\"><td class=\"code\">{}</td><td>{}</td><td class=\"{}\">{}</td><td class=\"code\">{}</td></tr>\n",
            escaped(self.kind()),
            escaped(&self.call),
            escaped(&listed(&self.archs)),
            self.class,
            escaped(&self.verdict),
            escaped(&self.detail)
        )
    }
}
