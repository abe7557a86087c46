//! What there is to say of calls that failed: by which line of the profile, and what would let them pass.

use std::fmt::Write as _;

use callgate::compiler::policy::Ground;
use callgate::{Context, Filter, Profile};
use serde_json::{Value, json};

use crate::denials::{self, CallFailure, Denials, Kind};
use crate::diagnostics::{Document, Source};
use crate::edit::Edit;
use crate::remedy::{self, Remedy};

/// A profile with all that it came to.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) name: String,
    pub(crate) text: Vec<u8>,
    pub(crate) profile: Profile,
    pub(crate) filter: Filter,
    pub(crate) context: Context,
}

/// Calls that failed, explained.
pub(crate) struct Report<'a> {
    document: Document<'a>,
    profile: &'a Profile,
    filter: &'a Filter,
    context: &'a Context,
    denials: &'a Denials,
    /// Of each kind.
    remedies: Vec<Vec<Remedy>>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(compiled: &'a Compiled, denials: &'a Denials) -> Report<'a> {
        let source = Source {
            name: &compiled.name,
            bytes: &compiled.text,
        };
        let mut report = Report {
            document: Document::new(&source),
            profile: &compiled.profile,
            filter: &compiled.filter,
            context: &compiled.context,
            denials,
            remedies: Vec::new(),
        };
        report.remedies = report
            .kinds()
            .map(|kind| report.remedies_of(kind))
            .collect();
        report
    }
}

impl Report<'_> {
    fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.denials.kinds().iter()
    }

    fn remedies_of(&self, kind: &Kind) -> Vec<Remedy> {
        let CallFailure::Denied(verdict) = kind.failure else {
            return Vec::new();
        };
        if matches!(verdict.ground, Ground::ForeignArch | Ground::X32Disabled) {
            let text = remedy::foreign(&kind.call, self.context);
            let edits = Vec::new();
            return vec![Remedy { text, edits }];
        }
        remedy::remedies(
            self.document.text(),
            self.profile,
            self.filter,
            self.context,
            &kind.call,
            verdict,
        )
    }

    /// For people.
    pub(crate) fn to_text(&self) -> String {
        let is_denied = |kind: &&Kind| matches!(kind.failure, CallFailure::Denied(_));
        let denied = self.kinds().filter(is_denied).count();
        let refused = self.kinds().count() - denied;
        let mut text = match (denied, refused) {
            (0, 0) => "callgate: no call was denied\n".to_owned(),
            (0, _) => "callgate: no call was denied by the filter\n".to_owned(),
            (1, _) => "callgate: one kind of call was denied\n".to_owned(),
            (denied, _) => format!("callgate: {denied} kinds of calls were denied\n"),
        };
        for (kind, remedies) in self.kinds().zip(&self.remedies) {
            self.describe(kind, remedies, &mut text);
        }
        if self.denials.beyond > 0 {
            let beyond = self.denials.beyond;
            let _ = writeln!(
                text,
                "\nand {beyond} calls more, of too many kinds to tell apart"
            );
        }
        text
    }

    fn describe(&self, kind: &Kind, remedies: &[Remedy], text: &mut String) {
        let came_to = kind.came_to(self.context.arch);
        let _ = writeln!(text, "\n{}  {came_to}  {}", kind.text, kind.by());
        let CallFailure::Denied(verdict) = kind.failure else {
            let _ = writeln!(
                text,
                "  allowed by the filter: the kernel itself refused it, as for want of a capability"
            );
            return;
        };
        let ground = denials::ground(verdict.ground);
        let place = denials::place(self.filter, &self.profile.path, verdict.ground);
        let place = place.map(|path| format!(": {} {path}", self.document.locate(&path)));
        let _ = writeln!(text, "  denied by {ground}{}", place.unwrap_or_default());
        if kind.is_fallback(self.context.arch) {
            let _ = writeln!(
                text,
                "  as a kernel answers that lacks the call; most programs then use an older one"
            );
        }
        for (number, remedy) in remedies.iter().enumerate() {
            let _ = writeln!(text, "  {}. {}", number + 1, remedy.text);
            for edit in &remedy.edits {
                if let Edit::Add(entry) = edit {
                    let _ = writeln!(text, "       {entry}");
                }
            }
        }
    }

    /// The profile with the first remedy of each kind, as far as it is one of the profile. What programs fall back from stays.
    pub(crate) fn fixed(&self) -> String {
        let mut text = self.document.text().to_owned();
        for (kind, remedies) in self.kinds().zip(&self.remedies) {
            let denied = matches!(kind.failure, CallFailure::Denied(_));
            let left = !denied || kind.is_fallback(self.context.arch);
            if left || remedy::allows(&text, self.context, &kind.call) {
                continue;
            }
            let fixes = remedies.iter().filter(|remedy| !remedy.edits.is_empty());
            let mut fixed = fixes.filter_map(|remedy| remedy::edited(&text, &remedy.edits));
            match fixed.find(|text| remedy::allows(text, self.context, &kind.call)) {
                Some(fixed) => text = fixed,
                None => anstream::eprintln!(
                    "callgate: --write: no change of the profile is known that allows {}",
                    kind.text
                ),
            }
        }
        text
    }

    /// The kinds, for programs.
    pub(crate) fn to_json(&self) -> Vec<Value> {
        let kinds = self.kinds().zip(&self.remedies);
        kinds
            .map(|(kind, remedies)| self.kind_to_json(kind, remedies))
            .collect()
    }

    fn kind_to_json(&self, kind: &Kind, remedies: &[Remedy]) -> Value {
        let (tid, name) = &kind.first;
        let mut document = json!({
            "call": kind.text,
            "audit_arch": kind.call.audit,
            "nr": kind.call.nr,
            "args": kind.call.args,
            "outcome": kind.came_to(self.context.arch),
            "count": kind.count,
            "callers": kind.callers(),
            "first": { "tid": tid, "name": name },
            "allowed_by_filter": true,
        });
        if let CallFailure::Denied(verdict) = kind.failure {
            let path = &self.profile.path;
            document["allowed_by_filter"] = false.into();
            document["verdict"] =
                denials::verdict_json(self.filter, path, verdict, self.context.arch);
            let place = denials::place(self.filter, path, verdict.ground);
            document["place"] = place.map(|path| self.document.locate(&path)).into();
            let remedies = remedies.iter().map(|remedy| {
                let entries = remedy.edits.iter().filter_map(|edit| match edit {
                    Edit::Add(entry) => serde_json::from_str::<Value>(entry).ok(),
                    _ => None,
                });
                json!({ "change": remedy.text, "entries": entries.collect::<Vec<_>>() })
            });
            document["remedies"] = remedies.collect();
        }
        document
    }
}
