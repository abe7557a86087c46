//! Calls as people and strace write them: `socket(AF_INET, SOCK_STREAM, 0)`, `x86:socketcall(1)`, `x86_64:0x40000001()`.

use callgate::compiler::arch::X32_BIT;
use callgate::compiler::signatures::{self, Argument, constants};
use callgate::compiler::syscalls;
use callgate::{Arch, Call};

/// A call as it was written, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) text: String,
    pub(crate) call: Call,
}

/// Reads a call. Where it names no ABI it is one of `native`.
pub(crate) fn parse(text: &str, native: Arch) -> Result<Written, String> {
    let trimmed = text.trim();
    let inside = |error: String| format!("`{trimmed}`: {error}");
    let (target, args) = match trimmed.split_once('(') {
        Some((target, rest)) => {
            let args = rest
                .strip_suffix(')')
                .ok_or_else(|| inside("the parenthesis is not closed".to_owned()))?;
            (target.trim(), args)
        }
        None => (trimmed, ""),
    };
    let (arch, name) = match target.split_once(':') {
        Some((abi, name)) => {
            let arch = abi.trim().parse();
            let arch = arch.map_err(|_| inside(format!("unknown ABI `{abi}`")))?;
            (arch, name.trim())
        }
        None => (native, target),
    };
    let nr = number(arch, name).map_err(inside)?;
    let args = parse_args(args, arch).map_err(inside)?;
    Ok(Written {
        text: trimmed.to_owned(),
        call: Call::new(arch, nr, args),
    })
}

fn number(arch: Arch, name: &str) -> Result<u32, String> {
    if name.is_empty() {
        return Err("a call is written as NAME(ARGUMENTS), as in `socket(2, 1, 0)`".to_owned());
    }
    if let Some(value) = parse_number(name) {
        let narrow = value.map(|value| u32::try_from(value).or_else(|_| minus(value)));
        let nr = narrow?
            .map_err(|()| format!("{name} is not a number of a system call: they have 32 bits"))?;
        // A number of x32 has its bit; who names the ABI needn't write it.
        return Ok(if arch == Arch::X32 { nr | X32_BIT } else { nr });
    }
    if let Some(nr) = syscalls::number(arch, name) {
        return Ok(nr);
    }
    if syscalls::numbers(name).is_some() {
        return Err(format!("{arch} has no `{name}`"));
    }
    let similar = syscalls::similar(name).map(|similar| format!(": did you mean `{similar}`?"));
    Err(format!(
        "no architecture has a system call `{name}`{}",
        similar.unwrap_or_default()
    ))
}

/// A negative number of 32 bits.
fn minus(value: u64) -> Result<u32, ()> {
    let high = value >> 31 == u64::MAX >> 31;
    u32::try_from(value & u64::from(u32::MAX))
        .ok()
        .filter(|_| high)
        .ok_or(())
}

fn parse_args(text: &str, arch: Arch) -> Result<[u64; 6], String> {
    let mut args = [0; 6];
    if text.trim().is_empty() {
        return Ok(args);
    }
    let written: Vec<&str> = text.split(',').collect();
    if written.len() > args.len() {
        return Err(format!(
            "{} arguments: a call has six at most",
            written.len()
        ));
    }
    for (arg, text) in args.iter_mut().zip(written) {
        *arg = parse_arg(text.trim(), arch)?;
    }
    Ok(args)
}

/// Numbers and constants, joined by `|`.
pub(crate) fn parse_arg(text: &str, arch: Arch) -> Result<u64, String> {
    let mut parts = text.split('|').map(|part| parse_part(part.trim(), arch));
    parts.try_fold(0, |value, part| Ok(value | part?))
}

fn parse_part(part: &str, arch: Arch) -> Result<u64, String> {
    if let Some(number) = parse_number(part) {
        return number;
    }
    if let Some(value) = constants::value(arch, part) {
        return Ok(value);
    }
    let is_name = part.starts_with(|c: char| c.is_ascii_uppercase());
    let hint = match constants::similar(part).filter(|_| is_name) {
        _ if part == "NULL" => return Ok(0),
        Some(similar) if similar == part => {
            format!("{arch} has no constant `{part}` that is known")
        }
        Some(similar) => {
            format!("`{part}` is not a constant that is known: did you mean `{similar}`?")
        }
        None if is_name => format!("`{part}` is not a constant that is known: write its number"),
        None if part.starts_with('"') => {
            "a filter sees no text, only where it lies: write a number, or 0".to_owned()
        }
        None => format!(
            "`{part}` is not an argument: that is a number (decimal, 0x…, 0… for octal, or negative), or constants such as AF_INET"
        ),
    };
    Err(hint)
}

/// A number, if the text begins as one: decimal, 0x…, or octal with a leading 0, as strace writes modes. Negative ones are sign-extended to 64 bits.
fn parse_number(text: &str) -> Option<Result<u64, String>> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let hex = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"));
    let value = match (hex, digits.strip_prefix('0')) {
        (Some(hex), _) => u64::from_str_radix(hex, 16),
        (None, Some(octal)) if !octal.is_empty() => u64::from_str_radix(octal, 8),
        (None, _) => digits.parse(),
    };
    let magnitude = match value {
        Ok(value) if !negative || value <= 1 << 63 => value,
        Ok(_) => return Some(Err(format!("{text} does not fit into 64 bits"))),
        Err(error) => return Some(Err(format!("`{text}`: {error}"))),
    };
    Some(Ok(if negative {
        magnitude.wrapping_neg()
    } else {
        magnitude
    }))
}

/// A call in the form that [`parse`] reads: the ABI where it isn't `native`, arguments up to the last that isn't 0.
pub(crate) fn display(call: &Call, native: Arch) -> String {
    let arch = Arch::of_call(call.audit, call.nr).unwrap_or(native);
    let name =
        syscalls::name(arch, call.nr).map_or_else(|| format!("{:#x}", call.nr), str::to_owned);
    let prefix = if arch == native && !name.starts_with("0x") {
        String::new()
    } else {
        format!("{arch}:")
    };
    let count = call
        .args
        .iter()
        .rposition(|arg| *arg != 0)
        .map_or(0, |last| last + 1);
    let signature = signatures::arguments(arch, &name);
    let args = call.args[..count].iter().enumerate();
    let args: Vec<String> = args
        .map(|(index, arg)| display_arg(arch, signature.get(index), *arg))
        .collect();
    format!("{prefix}{name}({})", args.join(", "))
}

/// The value of an argument, by its constants where it takes such.
pub(crate) fn display_arg(arch: Arch, argument: Option<&Argument>, value: u64) -> String {
    match argument.and_then(|argument| argument.set) {
        Some(set) => set.display(arch, value),
        None if value < 1024 => value.to_string(),
        None => format!("{value:#x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(text: &str) -> Call {
        parse(text, Arch::X86_64).unwrap().call
    }

    fn error(text: &str) -> String {
        parse(text, Arch::X86_64).unwrap_err()
    }

    #[test]
    fn calls_are_read_as_they_are_written() {
        assert_eq!(call("getpid"), Call::new(Arch::X86_64, 39, [0; 6]));
        assert_eq!(
            call(" socket( 2 , 0x1|0x800 ) "),
            Call::new(Arch::X86_64, 41, [2, 0x801, 0, 0, 0, 0])
        );
        assert_eq!(call("personality(-1)").args[0], u64::MAX);
        assert_eq!(
            call("x86:socketcall(1)"),
            Call::new(Arch::X86, 102, [1, 0, 0, 0, 0, 0])
        );
        assert_eq!(call("x86_64:0x40000001()").nr, 0x4000_0001);
        assert_eq!(call("x86_64:-1").nr, u32::MAX);
        assert_eq!(call("x32:1()").nr, 0x4000_0001);
        assert_eq!(call("x32:write()").nr, 0x4000_0001);
        assert_eq!(call("close(0x8000000000000000)").args[0], 1 << 63);
        assert_eq!(
            call("socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0)").args,
            [2, 0x80001, 0, 0, 0, 0]
        );
        assert_eq!(call("mips:socket(AF_INET, SOCK_STREAM)").args[..2], [2, 2]);
        assert_eq!(
            call("openat(AT_FDCWD, NULL, O_RDONLY)").args[0],
            100_u64.wrapping_neg()
        );
        assert_eq!(call("chmod(0, 0750)").args[1], 0o750);
        assert_eq!(call("close(00)").args[0], 0);
    }

    #[test]
    fn what_is_no_call_says_why() {
        assert!(error("sockt(1)").contains("did you mean `socket`?"));
        assert!(error("socket(1").contains("not closed"));
        assert!(error("socket(AF_INTE)").contains("did you mean `AF_INET`?"));
        assert!(error("socket(MY_FAMILY)").contains("write its number"));
        assert!(error("socket(one)").contains("is not an argument"));
        assert!(error("open(\"/etc/passwd\", 0)").contains("sees no text"));
        assert!(error("parisc:socket(AF_INET, SOCK_STREAM)").contains("parisc has no"));
        assert!(error("read(1,2,3,4,5,6,7)").contains("six at most"));
        assert!(error("z80:read()").contains("unknown ABI"));
        assert!(error("aarch64:open()").contains("aarch64 has no `open`"));
        assert!(error("x86_64:0x100000000()").contains("32 bits"));
        assert!(error("x86_64:-4294967296()").contains("32 bits"));
        assert!(error("read(18446744073709551616)").contains("too large"));
        assert!(error("chmod(0, 0788)").contains("invalid digit"));
        assert!(error("").contains("NAME(ARGUMENTS)"));
    }

    #[test]
    fn what_is_printed_is_read_back() {
        for text in [
            "getpid()",
            "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC)",
            "socket(AF_VSOCK|0x100000000)",
            "clone(SIGCHLD|CLONE_NEWUSER)",
            "mips:socket(AF_INET, SOCK_DGRAM)",
            "x86:socketcall(SYS_SOCKET)",
            "x86_64:0x3fffffff()",
            "x32:write(0, 0xffffffffffffffff)",
        ] {
            assert_eq!(display(&call(text), Arch::X86_64), text);
        }
    }
}
