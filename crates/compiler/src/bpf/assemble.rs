//! Text → program: reads what [`disassemble`](super::disassemble::disassemble) prints, and what people write.
//!
//! One instruction a line. Jumps name the instruction that they lead to, by its place from 0 or by a label; what
//! follows a `;` is a comment. A place in front of an instruction is checked, so that a printed program that
//! lost a line is refused and not quietly turned into another one.
//!
//! ```text
//!         ld [4]                    ; the architecture
//!         jeq #0xc000003e, number, kill
//! number: ld [0]
//!         jeq #101, kill, allow     ; ptrace
//! allow:  ret 0x7fff0000
//! kill:   ret 0
//! ```

use std::collections::HashMap;

use super::check::{CheckError, check};
use super::{Insn, Program};
use crate::arch::ByteOrder;

/// Text that is no program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// A line can't be read.
    #[error("line {line}: {problem}")]
    Line {
        /// Which one, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The kernel would not take the instructions.
    #[error(transparent)]
    Check(#[from] CheckError),
}

/// Reads a program for kernels of a byte order.
///
/// ```
/// use callgate_compiler::ByteOrder;
/// use callgate_compiler::bpf::assemble::assemble;
///
/// let text = "ld [0]\n jeq #39, allow, 3 ; getpid\n allow: ret 0x7fff0000\n ret 0x00050001";
/// let program = assemble(text, ByteOrder::Little)?;
/// assert_eq!(program.insns()[1].jf, 1);
/// # Ok::<(), callgate_compiler::bpf::assemble::AssembleError>(())
/// ```
///
/// # Errors
/// [`AssembleError`], with the first line that can't be read, or the rule of the kernel's that is broken.
pub fn assemble(text: &str, byte_order: ByteOrder) -> Result<Program, AssembleError> {
    let mut labels = HashMap::new();
    let mut statements = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let located = |problem| AssembleError::Line {
            line: index + 1,
            problem,
        };
        let mut rest = line.split(';').next().unwrap_or_default().trim();
        while let Some((label, behind)) = rest.split_once(':') {
            let label = label.trim();
            if !is_label(label) {
                return Err(located(format!("`{label}` is no label")));
            }
            if labels.insert(label, statements.len()).is_some() {
                return Err(located(format!("the label {label} stands twice")));
            }
            rest = behind.trim();
        }
        if rest.is_empty() {
            continue;
        }
        rest = after_place(rest, statements.len()).map_err(located)?;
        statements.push((index + 1, rest));
    }
    let insns = statements.iter().enumerate().map(|(place, (line, text))| {
        let reader = Reader {
            place,
            labels: &labels,
        };
        reader.insn(text).map_err(|problem| AssembleError::Line {
            line: *line,
            problem,
        })
    });
    let insns = insns.collect::<Result<Vec<_>, _>>()?;
    Ok(check(insns, byte_order)?)
}

/// What follows the place that stands in front of an instruction, if one does.
fn after_place(text: &str, place: usize) -> Result<&str, String> {
    let Some((first, behind)) = text.split_once(char::is_whitespace) else {
        return Ok(text);
    };
    match first.parse::<usize>() {
        Ok(stated) if stated == place => Ok(behind.trim()),
        Ok(stated) => Err(format!("instruction {place} says that it is {stated}")),
        Err(_) => Ok(text),
    }
}

fn is_label(text: &str) -> bool {
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(starts) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Reads one instruction.
struct Reader<'a> {
    place: usize,
    labels: &'a HashMap<&'a str, usize>,
}

impl Reader<'_> {
    fn insn(&self, text: &str) -> Result<Insn, String> {
        let (mnemonic, operands) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let mut parts: Vec<&str> = operands.split(',').map(str::trim).collect();
        if parts == [""] {
            parts.clear();
        }
        let plain = |code| Insn {
            code,
            jt: 0,
            jf: 0,
            k: 0,
        };
        let with = |(code, k)| Insn { k, ..plain(code) };
        match (mnemonic, parts.as_slice()) {
            ("ld", [value]) => load(value, 0).map(with),
            ("ldx", [value]) => load(value, 1).map(with),
            ("st", [word]) => Ok(with((0x02, memory(word)?))),
            ("stx", [word]) => Ok(with((0x03, memory(word)?))),
            ("neg", []) => Ok(plain(0x84)),
            ("tax", []) => Ok(plain(0x07)),
            ("txa", []) => Ok(plain(0x87)),
            ("ret", ["a"]) => Ok(plain(0x16)),
            ("ret", [k]) => Ok(with((0x06, number(k)?))),
            ("ja", [target]) => {
                let skip = u32::try_from(self.skip(target)?);
                let k = skip.map_err(|_| format!("{target} is too far away"))?;
                Ok(with((0x05, k)))
            }
            (".insn", [code, jt, jf, k]) => Ok(Insn {
                code: small(code)?,
                jt: small(jt)?,
                jf: small(jf)?,
                k: number(k)?,
            }),
            (_, [operand]) => {
                let code = compute(mnemonic).ok_or_else(|| unknown(mnemonic, 1))?;
                operand_of(operand, code).map(with)
            }
            (_, [operand, yes, no]) => {
                let code = comparison(mnemonic).ok_or_else(|| unknown(mnemonic, 3))?;
                let (code, k) = operand_of(operand, code)?;
                let (jt, jf) = (self.short_skip(yes)?, self.short_skip(no)?);
                Ok(Insn { code, jt, jf, k })
            }
            _ => Err(unknown(mnemonic, parts.len())),
        }
    }

    fn short_skip(&self, target: &str) -> Result<u8, String> {
        let skip = u8::try_from(self.skip(target)?);
        skip.map_err(|_| format!("{target} is too far away: conditional jumps skip 255 at most"))
    }

    /// How many instructions lie between this one and the one that a label or a place names.
    fn skip(&self, target: &str) -> Result<usize, String> {
        let place = match self.labels.get(target) {
            Some(place) => *place,
            None => target
                .parse()
                .map_err(|_| format!("`{target}` is neither a label nor a place"))?,
        };
        place
            .checked_sub(self.place + 1)
            .ok_or_else(|| format!("{target} is not further on: jumps only go forward"))
    }
}

fn unknown(mnemonic: &str, operands: usize) -> String {
    let s = if operands == 1 { "" } else { "s" };
    format!("there is no instruction `{mnemonic}` with {operands} operand{s}")
}

/// Code and constant of a load; the class is 0 for the accumulator and 1 for the index register.
fn load(value: &str, class: u16) -> Result<(u16, u32), String> {
    if value == "len" {
        return Ok((0x80 | class, 0));
    }
    if value.starts_with('#') {
        return Ok((class, number(value)?));
    }
    if value.starts_with('M') {
        return Ok((0x60 | class, memory(value)?));
    }
    let offset = value.strip_prefix('[').and_then(|v| v.strip_suffix(']'));
    match offset {
        Some(offset) if class == 0 => Ok((0x20, number(offset)?)),
        Some(_) => Err("the index register isn't loaded from the call".to_owned()),
        None => Err(format!(
            "`{value}` is not `[OFFSET]`, `#NUMBER`, `M[WORD]` or `len`"
        )),
    }
}

fn compute(mnemonic: &str) -> Option<u16> {
    Some(match mnemonic {
        "add" => 0x04,
        "sub" => 0x14,
        "mul" => 0x24,
        "div" => 0x34,
        "or" => 0x44,
        "and" => 0x54,
        "lsh" => 0x64,
        "rsh" => 0x74,
        "xor" => 0xa4,
        _ => return None,
    })
}

fn comparison(mnemonic: &str) -> Option<u16> {
    Some(match mnemonic {
        "jeq" => 0x15,
        "jgt" => 0x25,
        "jge" => 0x35,
        "jset" => 0x45,
        _ => return None,
    })
}

/// An operation's code and constant with its second operand: a number, or `x`.
fn operand_of(text: &str, code: u16) -> Result<(u16, u32), String> {
    match text {
        "x" => Ok((code | 0x08, 0)),
        _ => Ok((code, number(text)?)),
    }
}

fn memory(text: &str) -> Result<u32, String> {
    let word = text.strip_prefix("M[").and_then(|w| w.strip_suffix(']'));
    number(word.ok_or_else(|| format!("`{text}` is not `M[WORD]`"))?)
}

fn small<T: TryFrom<u32>>(text: &str) -> Result<T, String> {
    T::try_from(number(text)?).map_err(|_| format!("{text} is too large"))
}

/// A 32-bit number, decimal or `0x`, with or without `#`.
fn number(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    let number = match digits.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    number.map_err(|_| format!("`{text}` is not a number of 32 bits"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::disassemble::disassemble;
    use super::*;

    fn printed(program: &Program) -> String {
        let lines = disassemble(program).into_iter();
        lines.map(|line| format!("{line}\n")).collect()
    }

    /// Instructions of all codes that seccomp allows, and some others; most are small numbers.
    fn insn() -> impl Strategy<Value = Insn> {
        let codes: Vec<u16> = (0..0x100).collect();
        let allowed = codes.into_iter().filter(|code| {
            let insn = Insn {
                code: *code,
                jt: 0,
                jf: 0,
                k: 0,
            };
            insn.operation().is_some()
        });
        let code = proptest::sample::select(allowed.collect::<Vec<_>>());
        let k = prop_oneof![0..16u32, Just(u32::MAX), any::<u32>()];
        (code, 0..3u8, 0..3u8, k).prop_map(|(code, jt, jf, k)| Insn { code, jt, jf, k })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_printed_is_read_back(insns in prop::collection::vec(insn(), 0..12)) {
            // Without what the kernel would refuse, and with returns at the end for jumps to land on.
            let ret = Insn { code: 0x06, jt: 0, jf: 0, k: 0 };
            let mut whole = Vec::new();
            for insn in insns {
                let mut tried = whole.clone();
                tried.push(insn);
                tried.extend([ret; 3]);
                if check(tried, ByteOrder::Little).is_ok() {
                    whole.push(insn);
                }
            }
            whole.extend([ret; 3]);
            let program = check(whole, ByteOrder::Little).unwrap();
            prop_assert_eq!(assemble(&printed(&program), ByteOrder::Little), Ok(program));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a-z0-9#:;, \n\\[\\]M.]{0,60}") {
            let _ = assemble(&text, ByteOrder::Big);
        }
    }

    #[test]
    fn what_is_wrong_is_located() {
        let cases = [
            (
                "ret 0\nld [0",
                "line 2: `[0` is not `[OFFSET]`, `#NUMBER`, `M[WORD]` or `len`",
            ),
            (
                "ldx [0]\nret 0",
                "line 1: the index register isn't loaded from the call",
            ),
            (
                "frob #1\nret 0",
                "line 1: there is no instruction `frob` with 1 operand",
            ),
            (
                "ja back\nret 0",
                "line 1: `back` is neither a label nor a place",
            ),
            (
                "a: ret 0\nja a",
                "line 2: a is not further on: jumps only go forward",
            ),
            ("a: ret 0\na: ret 1", "line 2: the label a stands twice"),
            (
                "0 ret 0\n2 ret 0",
                "line 2: instruction 1 says that it is 2",
            ),
            (
                "ret 0x100000000",
                "line 1: `0x100000000` is not a number of 32 bits",
            ),
            (
                "ld [3]\nret 0",
                "instruction 0: offset 3 is not a multiple of 4 below 64",
            ),
            ("; nothing", "a filter has at least one instruction"),
        ];
        for (text, expected) in cases {
            let error = assemble(text, ByteOrder::Little).unwrap_err();
            assert_eq!(error.to_string(), expected, "{text}");
        }
    }
}
