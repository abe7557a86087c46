//! Compares verdicts: callgate's program, libseccomp's program, and what the profile means.
//!
//! A mismatch is never settled by a majority of compilers. An independent reading of the profile
//! ([`Reference`]) says what is meant; a mismatch with libseccomp is put into a [class](crate::classes), and
//! one that is in no class, or in which callgate is not what is meant, makes the run fail.

use anyhow::{Result, ensure};
use callgate::{Arch, Call, CompileError, Filter};

use crate::classes::Difference;
use crate::generate::{self, Profiles, Random};
use crate::libseccomp::{self, Optimize, Outcome};
use crate::reference::Reference;
use crate::rules::Rules;
use crate::tally::Tally;
use crate::{ours, real, sys};

/// Options of the subcommand.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many random profiles
    #[arg(long, default_value_t = 1000)]
    profiles: u64,
    /// How many random calls for each profile
    #[arg(long, default_value_t = 1000)]
    calls: usize,
    /// Where the random numbers start: the same seed gives the same profiles and calls
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave out the published profiles, of which every number is compared
    #[arg(long)]
    skip_real: bool,
    /// Print each profile that has a difference
    #[arg(long)]
    verbose: bool,
}

/// Runs the comparison and prints its tally. An error if a difference is in no known class.
pub(crate) fn run(options: &Options) -> Result<()> {
    println!("# Differences with libseccomp {}\n", sys::version());
    let mut tally = Tally::new(options.verbose);
    if !options.skip_real {
        real_profiles(&mut tally)?;
    }
    let mut profiles = Profiles::new(options.seed)?;
    let mut seeds = Random::new(!options.seed);
    let real = tally.profiles;
    for i in 0.. {
        // Those that a compiler refuses don't count.
        if tally.profiles - real >= options.profiles {
            break;
        }
        let rules = profiles.next();
        let (archs, seed) = (rules.archs()?, seeds.next());
        let profile = Profile::new(format!("random profile {i}"), rules)?;
        let calls = generate::calls(&profile.reference, &archs, seed, options.calls);
        compare(&profile, &calls, &mut tally)?;
    }
    tally.print();
    let faults = tally.faults;
    ensure!(faults == 0, "{faults} differences are in no known class");
    Ok(())
}

/// Published profiles, for the machines that most containers run on: every number, and arguments at the borders.
fn real_profiles(tally: &mut Tally) -> Result<()> {
    for (file, json) in real::profiles() {
        for arch in [Arch::X86_64, Arch::Aarch64] {
            let rules = ours::resolve(&json, &ours::context(arch))?;
            let profile = Profile::new(format!("{file} on {arch}"), rules)?;
            let calls = generate::border_calls(&profile.reference);
            compare(&profile, &calls, tally)?;
        }
    }
    Ok(())
}

/// A profile, and what is made of it here.
#[derive(Debug)]
pub(crate) struct Profile {
    /// How it is called in the report.
    pub(crate) name: String,
    /// What it says.
    pub(crate) rules: Rules,
    /// What it means.
    pub(crate) reference: Reference,
    /// What callgate makes of it.
    pub(crate) ours: Result<Filter, CompileError>,
}

impl Profile {
    fn new(name: String, rules: Rules) -> Result<Profile> {
        let reference = Reference::new(&rules)?;
        let ours = ours::compile(&rules)?;
        Ok(Profile {
            name,
            rules,
            reference,
            ours,
        })
    }
}

/// Compares everything about one profile.
fn compare(profile: &Profile, calls: &[Call], tally: &mut Tally) -> Result<()> {
    if let Ok(ours) = &profile.ours {
        own_verdicts(profile, ours, calls, tally);
    }
    for optimize in Optimize::ALL {
        let theirs = libseccomp::build(&profile.rules, optimize)?;
        tally.built(profile, optimize, &theirs);
        if let (Ok(ours), Outcome::Built(theirs)) = (&profile.ours, theirs) {
            for call in calls {
                let programs = [ours.program(), &theirs];
                let difference = Difference::find(profile, optimize, programs, call);
                tally.compared(difference.as_ref());
            }
        }
    }
    tally.explain(profile)
}

/// callgate's program and its policy must be what is meant, whatever others say.
fn own_verdicts(profile: &Profile, ours: &Filter, calls: &[Call], tally: &mut Tally) {
    for call in calls {
        let meant = profile.reference.decide(call);
        let decided = ours.policy().decide(call).action;
        let returned = ours.program().simulate(call).action;
        if decided != meant || returned != meant {
            tally.faults += 1;
            let name = &profile.name;
            println!(
                "callgate is wrong: {name}: {call:x?}: meant {meant}, policy {decided}, program {returned}"
            );
        }
    }
}
