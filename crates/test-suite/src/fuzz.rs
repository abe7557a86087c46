//! What a fuzzer tries: functions of any bytes that panic if something is wrong.
//!
//! `fuzz/` has a target for each; `cargo test` puts the corpus that it has gathered to them, and inputs that once failed. Bytes are the
//! document itself where that is what is read, and choices that lead to rules or instructions where a document would hardly ever
//! get so far.

use arbitrary::{Result, Unstructured};
use callgate::compiler::bpf::assemble::assemble;
use callgate::compiler::bpf::check::{CheckError, check};
use callgate::compiler::bpf::disassemble::disassemble;
use callgate::compiler::bpf::encode::{decode, encode};
use callgate::compiler::bpf::{self, Insn, Operation, Program};
use callgate::compiler::filter::compile;
use callgate::compiler::policy::{
    Condition, Policy, PolicyBuilder, RuleId, RuleOrder, Test, resolve as to_policy,
};
use callgate::compiler::proof::{ProofError, compare, prove};
use callgate::{
    Action, Arch, ByteOrder, Call, Capabilities, CompileError, Context, KernelVersion, Profile,
};
use serde_json::Value;

use crate::generate::{self, BORDERS};
use crate::naive::Naive;
use crate::sample::Sampler;

/// A name and what it is a name of.
pub type Target = (&'static str, fn(&[u8]));

/// What is fuzzed.
pub const TARGETS: [Target; 5] = [
    ("parse", parse),
    ("resolve", resolve),
    ("compile", compile_and_prove),
    ("lift", lift),
    ("assemble", assemble_and_disassemble),
];

/// Reads bytes as a document. What is taken must be JSON, and is the same when it is written down plainly and read again.
///
/// # Panics
/// If it isn't so.
pub fn parse(data: &[u8]) {
    let profile = match Profile::parse(data) {
        Ok(profile) => profile,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(
        serde_json::from_slice::<Value>(data).is_ok(),
        "taken, but not JSON"
    );
    let context = Context::new(Arch::X86_64, NEWEST);
    let plain = profile.to_oci_json(&context);
    let again = Profile::parse(plain.as_bytes()).expect("its own writing is read");
    assert_eq!(again.to_oci_json(&context), plain);
}

/// Reads what stands before a NUL byte as a profile, for a context that the bytes behind it choose. Both readings refuse the same,
/// and mean the same by what they take.
///
/// # Panics
/// If it isn't so.
pub fn resolve(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (json, choices) = (parts.next().unwrap_or(data), parts.next().unwrap_or(&[]));
    let Ok(context) = context(&mut Unstructured::new(choices)) else {
        return;
    };
    let resolved = Profile::parse(json).and_then(|profile| to_policy(&profile, &context));
    match (resolved, Naive::read(json, &context)) {
        (Ok(resolved), Ok(naive)) => {
            let value = serde_json::from_slice(json).unwrap_or(Value::Null);
            for call in generate::calls(&value, context.arch, 7, 50) {
                let (ours, theirs) = (resolved.policy.decide(&call).action, naive.verdict(&call));
                assert_eq!(ours, theirs, "{call:x?}");
            }
        }
        (Err(_), Err(_)) => {}
        (ours, theirs) => {
            let (ours, theirs) = (ours.err().map(|e| e.to_string()), theirs.err());
            assert_eq!(ours.is_some(), theirs.is_some(), "{ours:?} {theirs:?}");
        }
    }
}

const NEWEST: KernelVersion = KernelVersion {
    major: 6,
    minor: 18,
};

fn context(choices: &mut Unstructured<'_>) -> Result<Context> {
    if choices.is_empty() {
        return Ok(Context::new(Arch::X86_64, NEWEST));
    }
    let natives: Vec<Arch> = Arch::ALL
        .into_iter()
        .filter(|arch| arch.is_native())
        .collect();
    let (major, minor) = *choices.choose(&[(6, 18), (4, 8), (5, 4)])?;
    let capabilities = [
        Capabilities::default(),
        Capabilities::none(),
        Capabilities::all(),
    ];
    Ok(Context {
        capabilities: choices.choose(&capabilities)?.clone(),
        rule_order: *choices.choose(&[RuleOrder::Runtime, RuleOrder::Document])?,
        newer_calls: !choices.ratio(1, 4)?,
        strict: choices.ratio(1, 4)?,
        ..Context::new(*choices.choose(&natives)?, KernelVersion { major, minor })
    })
}

/// Compiles rules that the bytes choose. The program is proved to be the policy, and answers like it wherever that is tried.
///
/// # Panics
/// If it isn't so.
pub fn compile_and_prove(data: &[u8]) {
    let Ok(policy) = policy(&mut Unstructured::new(data)) else {
        return;
    };
    let program = match compile(&policy) {
        Ok(program) => program,
        Err(CompileError::TooLong(error)) => return assert!(!error.to_string().is_empty()),
        Err(error) => unreachable!("{error}"),
    };
    match prove(&policy, &program) {
        Ok(_) | Err(ProofError::TooLarge) => {}
        Err(error) => unreachable!("{error}: {policy:x?}"),
    }
    let mut sampler = Sampler::new(&policy, &program, 7);
    for _ in 0..50 {
        let call = sampler.draw();
        let (means, answers) = (policy.decide(&call).action, program.simulate(&call).action);
        assert_eq!(means, answers, "{call:x?}: {policy:x?}");
    }
}

/// The most rules of a fuzzed policy: as many as take a moment.
const RULES: usize = 48;

fn policy(choices: &mut Unstructured<'_>) -> Result<Policy> {
    let natives = [Arch::X86_64, Arch::Aarch64, Arch::S390x, Arch::M68k];
    let native = *choices.choose(&natives)?;
    let mut builder = PolicyBuilder::new(native, action(choices)?);
    builder.rule_order(*choices.choose(&[RuleOrder::Runtime, RuleOrder::Document])?);
    builder.newer_calls(choices.arbitrary()?);
    let guests: Vec<Arch> = Arch::ALL
        .into_iter()
        .filter(|arch| native.runs(*arch))
        .collect();
    for i in 0..RULES {
        if choices.is_empty() {
            break;
        }
        let arch = *choices.choose(&guests)?;
        let number = match choices.int_in_range(0..=9)? {
            0 => choices.arbitrary()?,
            small => small,
        };
        let number = if arch == Arch::X32 {
            number | 0x4000_0000
        } else {
            number
        };
        let conditions = (0..choices.int_in_range(0..=3)?).map(|_| condition(choices));
        let conditions = conditions.collect::<Result<Vec<_>>>()?;
        let id = RuleId(u32::try_from(i).unwrap_or(0));
        // What the builder refuses is left out.
        if builder.abi(arch).is_ok() {
            let _ = builder.rule(arch, number, id, action(choices)?, &conditions);
        }
    }
    Ok(builder.build())
}

fn action(choices: &mut Unstructured<'_>) -> Result<Action> {
    let actions = [
        Action::Allow,
        Action::Errno(1),
        Action::Errno(38),
        Action::Trap,
        Action::Log,
        Action::KillProcess,
        Action::KillThread,
        Action::Trace(7),
    ];
    Ok(*choices.choose(&actions)?)
}

fn condition(choices: &mut Unstructured<'_>) -> Result<Condition> {
    let arg = choices.int_in_range(0..=5)?;
    let one = datum(choices)?;
    let test = match choices.int_in_range(0..=6)? {
        0 => Test::Eq(one),
        1 => Test::Ne(one),
        2 => Test::Lt(one),
        3 => Test::Le(one),
        4 => Test::Gt(one),
        5 => Test::Ge(one),
        _ => Test::Masked {
            mask: one,
            value: datum(choices)?,
        },
    };
    Ok(Condition { arg, test })
}

fn datum(choices: &mut Unstructured<'_>) -> Result<u64> {
    Ok(match choices.int_in_range(0..=3)? {
        0 => choices.arbitrary()?,
        1 => u64::from(choices.arbitrary::<u8>()?),
        2 => u64::from(choices.arbitrary::<u8>()?) << 28,
        _ => *choices.choose(&BORDERS)?,
    })
}

/// Makes two programs of the bytes, one a mutant of the other, that the kernel would take, and compares them with each other and with
/// programs that only return. What is said to differ does so on the witness; what is said to be equal is so wherever that is tried.
///
/// # Panics
/// If it isn't so.
pub fn lift(data: &[u8]) {
    let choices = &mut Unstructured::new(data);
    let Ok((byte_order, place, other)) = mutation(choices) else {
        return;
    };
    let Ok(program) = program(choices, byte_order) else {
        return;
    };
    let mut insns = program.insns().to_vec();
    if let Some(insn) = insns.get_mut(usize::from(place)) {
        *insn = Insn {
            code: insn.code ^ other.code,
            jt: insn.jt ^ other.jt,
            jf: insn.jf ^ other.jf,
            k: insn.k ^ other.k,
        };
    }
    let mutant = check(insns, byte_order);
    let returns = [0x7fff_0000, 0, 0x0005_0001].map(|k| {
        check(
            vec![Insn {
                code: 0x06,
                jt: 0,
                jf: 0,
                k,
            }],
            byte_order,
        )
    });
    for other in returns
        .into_iter()
        .chain([mutant, Ok(program.clone())])
        .flatten()
    {
        compared(&program, &other, data);
    }
}

fn mutation(choices: &mut Unstructured<'_>) -> Result<(ByteOrder, u8, Insn)> {
    let byte_order = *choices.choose(&[ByteOrder::Little, ByteOrder::Big])?;
    let place = choices.arbitrary()?;
    let insn = Insn {
        // Bits that make another legal operation of many.
        code: *choices.choose(&[0, 0, 0, 0x10, 0x20, 0x40, 0x60, 0x08])?,
        jt: *choices.choose(&[0, 0, 0, 1, 2, 3])?,
        jf: *choices.choose(&[0, 0, 0, 1, 2, 3])?,
        k: *choices.choose(&[0, 0, 4, 1, 2, 8, 0x8000_0000])?,
    };
    Ok((byte_order, place, insn))
}

fn compared(a: &Program, b: &Program, data: &[u8]) {
    let differs = |call: &Call| a.simulate(call).action != b.simulate(call).action;
    match compare(a, b) {
        Ok(Some(witness)) => assert!(differs(&witness), "{a:?} {b:?} {witness:x?}"),
        Ok(None) => {
            let seed = data.iter().fold(7, |seed: u64, byte| {
                seed.wrapping_mul(31).wrapping_add(u64::from(*byte))
            });
            let nothing = PolicyBuilder::new(Arch::X86_64, Action::Allow).build();
            let mut sampler = Sampler::new(&nothing, a, seed);
            for _ in 0..50 {
                let call = sampler.draw();
                assert!(!differs(&call), "{a:?} {b:?} {call:x?}");
            }
        }
        Err(ProofError::Refuted { .. }) => unreachable!("two programs are compared"),
        Err(_) => {}
    }
}

/// The most instructions of a fuzzed program.
const INSTRUCTIONS: usize = 40;

/// A program that the kernel would take, most often one that isn't over at once.
fn program(choices: &mut Unstructured<'_>, byte_order: ByteOrder) -> Result<Program> {
    let mut insns = Vec::new();
    while !choices.is_empty() && insns.len() < INSTRUCTIONS {
        insns.push(insn(choices)?);
    }
    let ret = |k| Insn {
        code: 0x06,
        jt: 0,
        jf: 0,
        k,
    };
    insns.extend([ret(0x7fff_0000), ret(0x0005_0001), ret(0)]);
    // What jumps too far jumps to the end, and what the kernel would still not take does nothing.
    let count = insns.len();
    for (index, insn) in insns.iter_mut().enumerate() {
        let behind = u32::try_from(count - index - 1).unwrap_or(0);
        let cut = |skip: u8| {
            u8::try_from(u32::from(skip).min(behind.saturating_sub(1))).unwrap_or(u8::MAX)
        };
        match insn.operation() {
            Some(Operation::Jump(k)) => insn.k = k.min(behind.saturating_sub(1)),
            Some(Operation::JumpIf { yes, no, .. }) => (insn.jt, insn.jf) = (cut(yes), cut(no)),
            _ => {}
        }
    }
    loop {
        match check(insns.clone(), byte_order) {
            Ok(program) => return Ok(program),
            Err(CheckError::Instruction { index, .. }) => insns[index] = NOTHING,
            Err(_) => return Err(arbitrary::Error::IncorrectFormat),
        }
    }
}

/// Goes on with the next instruction.
const NOTHING: Insn = Insn {
    code: 0x05,
    jt: 0,
    jf: 0,
    k: 0,
};

/// Operations that seccomp allows and few compilers use.
const OTHERS: [u16; 30] = [
    0x00, 0x01, 0x80, 0x81, 0x04, 0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x34, 0x3c, 0x44, 0x4c, 0x5c, 0x64,
    0x6c, 0x74, 0x7c, 0xa4, 0xac, 0x84, 0x05, 0x1d, 0x2d, 0x3d, 0x4d, 0x16, 0x07, 0x87,
];

fn insn(choices: &mut Unstructured<'_>) -> Result<Insn> {
    // Those that callgate and other compilers use are many times as likely as the rest.
    let code = match choices.int_in_range(0..=15)? {
        0..=3 => 0x20,
        4 | 5 => 0x15,
        6 => 0x25,
        7 => 0x35,
        8 => 0x45,
        9 | 10 => 0x54,
        11 => 0x06,
        12 => *choices.choose(&[0x02, 0x60, 0x03, 0x61])?,
        _ => *choices.choose(&OTHERS)?,
    };
    let small = choices.int_in_range(0..=15)?;
    let insn = Insn {
        code,
        jt: choices.int_in_range(0..=7)?,
        jf: choices.int_in_range(0..=7)?,
        k: small,
    };
    let k = match insn.operation() {
        Some(Operation::Load(_, bpf::Value::Data(_))) => 4 * small,
        Some(Operation::Load(..) | Operation::Store(..) | Operation::Jump(_)) => small,
        _ => match small {
            0..=3 => choices.arbitrary()?,
            4..=7 => u32::from(choices.arbitrary::<u8>()?) << 24,
            8 | 9 => 0xc000_003e,
            _ => small,
        },
    };
    Ok(Insn { k, ..insn })
}

/// Prints a program of the bytes and reads that again, reads what is encoded, and reads the bytes as text.
///
/// # Panics
/// If something else comes back.
pub fn assemble_and_disassemble(data: &[u8]) {
    let choices = &mut Unstructured::new(data);
    let byte_order = choices
        .choose(&[ByteOrder::Little, ByteOrder::Big])
        .copied();
    let made = byte_order.and_then(|byte_order| program(choices, byte_order));
    let raw = decode(data, ByteOrder::Little);
    for program in made.into_iter().chain(raw) {
        goes_round(&program);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        match assemble(text, ByteOrder::Big) {
            Ok(program) => goes_round(&program),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

fn goes_round(program: &Program) {
    let lines = disassemble(program)
        .iter()
        .map(|line| format!("{line}\n"))
        .collect::<String>();
    let again = match assemble(&lines, program.byte_order()) {
        Ok(again) => again,
        Err(error) => unreachable!("{error}:\n{lines}"),
    };
    // Fields that an operation doesn't look at aren't printed.
    let operations = |program: &Program| {
        program
            .insns()
            .iter()
            .map(|insn| insn.operation())
            .collect::<Vec<_>>()
    };
    assert_eq!(operations(program), operations(&again), "\n{lines}");
    assert_eq!(
        decode(&encode(program), program.byte_order()).as_ref(),
        Ok(program)
    );
}
