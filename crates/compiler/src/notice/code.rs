//! The kinds of errors and notices: numbers that stay, a line on each, and the whole story.
//!
//! The stories are Markdown, in `explanations.md`, one section a code: the command prints them, and
//! `docs/diagnostics.md` is made of them.

use std::fmt;
use std::str::FromStr;

/// Defines the codes, each with its number and its title.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $title:literal;)*) => {
        /// Identifies a kind of error or notice for good: `CG0007`. Numbers below 100 are errors, those from 100 on say what
        /// is odd about the document, from 200 on what it lets through, from 300 on where it doesn't hold.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $name = $number,)*
        }

        impl Code {
            /// All of them, by number.
            pub const ALL: [Code; [$($number),*].len()] = [$(Code::$name),*];

            /// What it is about, in a line.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self {
                    $(Code::$name => $title,)*
                }
            }
        }
    };
}

codes! {
    /// The document is not JSON, or nested too deep.
    Syntax = 1, "the document is not JSON, or nested too deep";
    /// A value has another type than it must have.
    WrongType = 2, "a value of another type than its member has";
    /// A member occurs twice.
    DuplicateMember = 3, "a member that occurs twice";
    /// A member differs from a known one only in case.
    MemberCase = 4, "a member that differs from a known one only in case";
    /// An entry, argument or condition has a member that is not known.
    UnknownMember = 5, "an unknown member where it could change what is meant";
    /// A member is missing.
    MissingMember = 6, "a member that must be there is missing";
    /// A name of an action, operator, flag, architecture, capability or errno is not known.
    UnknownName = 7, "an unknown action, operator, flag, architecture, capability or errno";
    /// A number is out of range.
    OutOfRange = 8, "a value out of range";
    /// Two things exclude each other.
    NotTogether = 9, "two things that exclude each other";
    /// A configuration has no seccomp part.
    NoSeccomp = 10, "a configuration without a seccomp part";
    /// NOTIFY is not possible there.
    NotifyRefused = 11, "NOTIFY where it can't be";
    /// Two rules have the same conditions and different actions.
    Conflict = 12, "rules with the same conditions and different actions";
    /// A system call is not known, and strictness was asked for.
    StrictSyscall = 13, "an unknown system call, in strict mode";
    /// The document is larger than any profile.
    TooLarge = 14, "a document larger than any profile";
    /// The filter is longer than the kernel takes.
    FilterTooLong = 15, "a filter longer than the kernel takes";
    /// The filter is too intricate to be proved within bounds.
    NotProved = 16, "a filter too intricate to be proved";

    /// A member at the top level is not known.
    IgnoredMember = 101, "an unknown member at the top level";
    /// A system call is not known on any architecture.
    UnknownSyscall = 102, "a system call that no architecture has";
    /// An entry names no system call.
    NoNames = 103, "an entry without a system call";
    /// An architecture can't occur under the kernel that the filter is for.
    ForeignArchitecture = 104, "an architecture that can't occur under the kernel";
    /// A masked comparison has datum bits that the mask doesn't.
    DatumOutsideMask = 105, "bits to compare that the mask leaves out";
    /// A datum has more bits than the arguments of a 32-bit ABI.
    DatumTooWide = 106, "a value that 32-bit arguments can't have";
    /// An entry has several conditions on one argument, which makes each of them a rule.
    RepeatedArgument = 107, "conditions on one argument, any of which suffices";
    /// A rule can decide no call.
    DeadRule = 108, "a rule that decides nothing";
    /// A condition is lost where the call goes through a multiplexer.
    LostCondition = 109, "a condition that a multiplexed call loses";
    /// A rule says what the default action says.
    RedundantRule = 110, "a rule that does what the default action does";
    /// A second value is given to an operator that takes one.
    IgnoredValue = 111, "a second value for an operator that takes one";
    /// A flag has no effect without NOTIFY.
    IgnoredFlag = 112, "a flag without effect";
    /// A rule comes before another one that stands earlier in the document, and takes all its calls.
    PrefixRule = 113, "a rule behind a shorter one that stands later";
    /// The order of the rules in the document would give another verdict.
    OrderDependent = 114, "rules whose order in the document would give another verdict";
    /// A comment, or a comma behind the last element, was passed over.
    Tolerated = 130, "comments, or commas behind the last element";

    /// A condition tells calls apart by bits of an argument that the kernel ignores.
    HighBits = 201, "an argument of 32 bits that is compared in 64";
    /// A condition holds for no argument that the kernel could see.
    NeverHolds = 202, "a condition that never holds";
    /// A condition holds for every argument.
    AlwaysHolds = 203, "a condition that always holds";
    /// A restricted call can be made through a multiplexer that is open.
    OpenMultiplexer = 204, "a restricted call that is open through a multiplexer";
    /// A restricted call has a twin that is open.
    WayAround = 205, "a restricted call whose work another one does";
    /// `io_uring` is open beside calls that are denied.
    OpenRing = 206, "io_uring beside calls that it makes without a filter";
    /// A rule is on a call that the kernel shows to no filter.
    UnseenCall = 207, "a rule on a call that filters don't see";
    /// A rule asks for an argument that is in another place on an ABI.
    MovedArgument = 208, "an argument that is in another place on an architecture";
    /// A denial has another errno than ENOSYS, on which a C library would fall back.
    WrongErrno = 209, "a denial that C libraries take for a failure";
    /// NOTIFY is asked for, and no place where the listener goes.
    NoListenerPath = 210, "NOTIFY without a place for the listener";
    /// A caller that waits for a supervisor can be interrupted.
    InterruptedNotify = 211, "NOTIFY whose calls a signal makes anew";

    /// Names are newer than a target.
    NewerThanTarget = 301, "system calls that are newer than a target";
    /// What a target has instead of an allowed call isn't allowed.
    MissingEquivalent = 302, "a call that goes by another name on a target, where it isn't allowed";
    /// A target lacks an action or a flag.
    MissingFeature = 303, "an action or a flag that a target lacks";
    /// A target is of an architecture outside the profile.
    MissingArchitecture = 304, "a target whose architecture is outside the profile";
    /// Nothing is known of a target.
    UnknownTarget = 305, "a target that nothing is known of";
}

impl Code {
    /// Whether it ends the reading.
    #[must_use]
    pub fn is_error(self) -> bool {
        self.number() < 100
    }

    /// Its number, as in `CG0007`.
    #[must_use]
    pub fn number(self) -> u16 {
        self as u16
    }

    /// What it means at length, with an example: a few paragraphs of Markdown.
    ///
    /// ```
    /// use callgate_compiler::Code;
    /// assert!(Code::RepeatedArgument.explanation().contains("any one of them"));
    /// ```
    #[must_use]
    pub fn explanation(self) -> &'static str {
        let heading = format!("\n## {self}\n");
        let section = EXPLANATIONS.split_once(heading.as_str());
        let section = section.map_or("", |(_, behind)| behind);
        section.split("\n## ").next().unwrap_or("").trim()
    }
}

const EXPLANATIONS: &str = include_str!("explanations.md");

/// `CG0007`
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CG{:04}", self.number())
    }
}

/// The text is not the code of an error or notice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a code: they are written as CG0107")]
pub struct NotACode(pub String);

impl FromStr for Code {
    type Err = NotACode;

    /// Takes `CG0107`, in any case, and the number alone.
    fn from_str(text: &str) -> Result<Code, NotACode> {
        let prefix = text
            .get(..2)
            .filter(|prefix| prefix.eq_ignore_ascii_case("CG"));
        let digits = prefix.map_or(text, |_| &text[2..]);
        let number: Option<u16> = digits.parse().ok();
        let known = Code::ALL
            .into_iter()
            .find(|code| Some(code.number()) == number);
        known.ok_or_else(|| NotACode(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_listed_by_number() {
        assert!(Code::ALL.is_sorted_by_key(|code| code.number()));
        let titles: std::collections::BTreeSet<_> = Code::ALL.map(Code::title).into();
        assert_eq!(titles.len(), Code::ALL.len());
    }

    #[test]
    fn every_code_has_its_story_in_order() {
        let headings = EXPLANATIONS
            .lines()
            .filter_map(|line| line.strip_prefix("## "));
        let codes: Vec<String> = Code::ALL.iter().map(Code::to_string).collect();
        assert_eq!(headings.collect::<Vec<_>>(), codes);
        for code in Code::ALL {
            assert!(code.explanation().len() > 40, "{code}");
        }
    }

    #[test]
    fn codes_are_read_as_they_are_written() {
        for code in Code::ALL {
            assert_eq!(code.to_string().parse(), Ok(code));
        }
        assert_eq!("cg0107".parse(), Ok(Code::RepeatedArgument));
        assert_eq!("107".parse(), Ok(Code::RepeatedArgument));
        for bad in ["", "CG", "CG0000", "CG010é", "X0107"] {
            assert!(bad.parse::<Code>().is_err(), "{bad}");
        }
    }
}
