//! Programs as bytes and as source text, and back from bytes.
//!
//! The raw form is what `seccomp(2)` takes: an array of `struct sock_filter`, eight bytes each, in the byte
//! order of the kernel it is for: code (2 bytes), jt, jf (1 each), k (4).

use std::fmt::Write as _;

use super::check::{CheckError, check};
use super::{Insn, Program};
use crate::arch::ByteOrder;

/// The size of `struct sock_filter` in bytes.
pub const INSN_SIZE: usize = 8;

/// Bytes that are no program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The length is not a multiple of eight.
    #[error("{0} bytes are not a whole number of 8-byte instructions")]
    Length(usize),
    /// The kernel would not take the instructions.
    #[error(transparent)]
    Check(#[from] CheckError),
}

/// The raw form of a program.
#[must_use]
pub fn encode(program: &Program) -> Vec<u8> {
    let little = program.byte_order() == ByteOrder::Little;
    let mut bytes = Vec::with_capacity(program.insns().len() * INSN_SIZE);
    for insn in program.insns() {
        let (code, k) = if little {
            (insn.code.to_le_bytes(), insn.k.to_le_bytes())
        } else {
            (insn.code.to_be_bytes(), insn.k.to_be_bytes())
        };
        bytes.extend(code);
        bytes.extend([insn.jt, insn.jf]);
        bytes.extend(k);
    }
    bytes
}

/// Reads the raw form of a program for a kernel of the given byte order.
///
/// # Errors
/// [`DecodeError`] if the length is odd, or the kernel would not take the instructions.
pub fn decode(bytes: &[u8], byte_order: ByteOrder) -> Result<Program, DecodeError> {
    if bytes.len() % INSN_SIZE != 0 {
        return Err(DecodeError::Length(bytes.len()));
    }
    let little = byte_order == ByteOrder::Little;
    let insns = bytes.chunks_exact(INSN_SIZE).map(|b| {
        let (code, k) = ([b[0], b[1]], [b[4], b[5], b[6], b[7]]);
        let (code, k) = if little {
            (u16::from_le_bytes(code), u32::from_le_bytes(k))
        } else {
            (u16::from_be_bytes(code), u32::from_be_bytes(k))
        };
        Insn {
            code,
            jt: b[2],
            jf: b[3],
            k,
        }
    });
    Ok(check(insns.collect(), byte_order)?)
}

/// The program as C initialisers of a `struct sock_filter` array.
#[must_use]
pub fn to_c(program: &Program) -> String {
    let mut text =
        String::from("#include <linux/filter.h>\n\nstatic struct sock_filter filter[] = {\n");
    for Insn { code, jt, jf, k } in program.insns() {
        let _ = writeln!(text, "\t{{ 0x{code:02x}, {jt}, {jf}, 0x{k:08x} }},");
    }
    text.push_str("};\n");
    text
}

/// The program as a Rust constant of tuples `(code, jt, jf, k)`, in the order of `libc::sock_filter`'s members.
#[must_use]
pub fn to_rust(program: &Program) -> String {
    let count = program.insns().len();
    let mut text =
        format!("/// code, jt, jf, k\npub const FILTER: [(u16, u8, u8, u32); {count}] = [\n");
    for Insn { code, jt, jf, k } in program.insns() {
        let _ = writeln!(text, "    (0x{code:02x}, {jt}, {jf}, 0x{k:08x}),");
    }
    text.push_str("];\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_programs_are_read_back() {
        let insns = vec![
            Insn {
                code: 0x20,
                jt: 0,
                jf: 0,
                k: 4,
            },
            Insn {
                code: 0x15,
                jt: 1,
                jf: 0,
                k: 0xc000_003e,
            },
            Insn {
                code: 0x06,
                jt: 0,
                jf: 0,
                k: 0,
            },
            Insn {
                code: 0x06,
                jt: 0,
                jf: 0,
                k: 0x7fff_0000,
            },
        ];
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let program = check(insns.clone(), order).unwrap();
            assert_eq!(decode(&encode(&program), order), Ok(program));
        }
    }

    #[test]
    fn what_is_no_program_is_refused() {
        let little = ByteOrder::Little;
        assert_eq!(decode(&[0; 7], little), Err(DecodeError::Length(7)));
        assert_eq!(decode(&[], little), Err(CheckError::Empty.into()));
        assert!(matches!(
            decode(&[0xff; 8], little),
            Err(DecodeError::Check(_))
        ));
    }
}
