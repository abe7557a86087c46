//! Counts what a comparison finds, by class, with the first example of each.

use std::collections::BTreeMap;

use anyhow::Result;
use callgate::{Arch, Call};

use crate::classes::{self, Difference, classify, classify_refusal};
use crate::differential::Profile;
use crate::libseccomp::{Optimize, Outcome};
use crate::shrink::{differs, one_refuses, shrink};

/// What is found in no class.
const UNKNOWN: &str = "in no known class";

/// The counts.
#[derive(Debug)]
pub(crate) struct Tally {
    /// How many differences are in no class, and how many verdicts of callgate's are not what is meant.
    pub(crate) faults: u64,
    /// How many profiles both compilers took.
    pub(crate) profiles: u64,
    verbose: bool,
    verdicts: u64,
    same: u64,
    /// How often each pair of outcomes came up.
    builds: BTreeMap<String, Seen>,
    /// By class and level.
    differences: BTreeMap<(&'static str, Optimize), Seen>,
    /// Of the profile at hand, to be shown with it.
    fault: Option<Fault>,
}

/// A difference in no known class.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Verdict(Optimize, Call),
    Build(Optimize),
}

/// How often something came up, and the first example.
#[derive(Debug, Default)]
struct Seen {
    count: u64,
    meant: u64,
    example: String,
}

impl Seen {
    fn again(&mut self, is_meant: bool, example: impl FnOnce() -> String) {
        if self.count == 0 {
            self.example = example();
        }
        self.count += 1;
        self.meant += u64::from(is_meant);
    }
}

impl Tally {
    /// Nothing yet. A verbose one shows the smallest profile that has the last fault of each profile.
    pub(crate) fn new(verbose: bool) -> Tally {
        Tally {
            faults: 0,
            profiles: 0,
            verbose,
            verdicts: 0,
            same: 0,
            builds: BTreeMap::new(),
            differences: BTreeMap::new(),
            fault: None,
        }
    }

    /// Notes what libseccomp made of a profile, beside what callgate did.
    pub(crate) fn built(&mut self, profile: &Profile, optimize: Optimize, theirs: &Outcome) {
        let (theirs, refuses, words) = match theirs {
            Outcome::Built(_) => ("took it", Some(false), ""),
            Outcome::Refused(why) => ("refused it", Some(true), why.as_str()),
            Outcome::TimedOut => ("ran into the time limit", None, ""),
            Outcome::Broken(how) => ("died", None, how.as_str()),
        };
        let class = refuses.and_then(|refuses| classify_refusal(profile, refuses));
        if class.is_none() {
            self.faults += 1;
            self.fault = Some(Fault::Build(optimize));
        }
        let (ours, refusal) = match &profile.ours {
            Ok(_) => ("took it", String::new()),
            Err(refusal) => ("refused it", refusal.to_string()),
        };
        if ours == theirs && ours == "took it" && optimize == Optimize::List {
            self.profiles += 1;
        }
        let class = class.unwrap_or(UNKNOWN);
        let level = optimize.level();
        let key = format!("{ours} | {theirs} | {level} | {class}");
        let example = || format!("{}: {refusal} {words}", profile.name);
        self.builds.entry(key).or_default().again(true, example);
    }

    /// Notes two verdicts, and in what they differ if they do.
    pub(crate) fn compared(&mut self, difference: Option<&Difference<'_>>) {
        self.verdicts += 1;
        let Some(difference) = difference else {
            self.same += 1;
            return;
        };
        let class = classify(difference);
        if class.is_none() {
            self.faults += 1;
            self.fault = Some(Fault::Verdict(difference.optimize, difference.call));
        }
        let key = (class.map_or(UNKNOWN, |c| c.name), difference.optimize);
        let is_meant = difference.ours == difference.meant;
        let seen = self.differences.entry(key).or_default();
        seen.again(is_meant, || difference.to_string());
    }

    /// Shows the last fault of a profile with the smallest profile that has it.
    pub(crate) fn explain(&mut self, profile: &Profile) -> Result<()> {
        let Some(fault) = self.fault.take().filter(|_| self.verbose) else {
            return Ok(());
        };
        let rules = &profile.rules;
        let least = match fault {
            Fault::Verdict(optimize, call) => shrink(rules, |r| differs(r, optimize, &call)),
            Fault::Build(optimize) => shrink(rules, |r| one_refuses(r, optimize)),
        };
        let json = String::from_utf8(least?.to_json()?)?;
        println!("{}: {fault:x?}: {json}", profile.name);
        Ok(())
    }

    /// Prints everything as Markdown.
    pub(crate) fn print(&self) {
        let Tally {
            profiles,
            verdicts,
            same,
            ..
        } = self;
        println!("{profiles} profiles; {same} of {verdicts} verdicts are the same.\n");
        println!("| callgate | libseccomp | optimize | class | profiles | first |");
        println!("|---|---|---|---|---|---|");
        for (what, seen) in &self.builds {
            println!("| {what} | {} | {} |", seen.count, seen.example);
        }
        println!("\n| class | optimize | verdicts | callgate's is meant | first |");
        println!("|---|---|---|---|---|");
        for ((class, optimize), seen) in &self.differences {
            let (level, Seen { count, meant, .. }) = (optimize.level(), seen);
            println!(
                "| {class} | {level} | {count} | {meant} | {} |",
                seen.example
            );
        }
        println!();
        for class in &classes::CLASSES {
            println!("- {}: {}.", class.name, class.reason);
        }
    }
}

impl std::fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, call) = (&self.profile.name, self.call);
        let arch = self.arch.map_or("foreign", Arch::name);
        let (ours, theirs, meant) = (self.ours, self.theirs, self.meant);
        write!(f, "{name}: {arch} {:#x} {:x?}: ", call.nr, call.args)?;
        write!(f, "callgate {ours}, libseccomp {theirs}, meant {meant}")
    }
}
