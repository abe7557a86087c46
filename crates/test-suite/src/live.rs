//! The live kernel as an answerer.
//!
//! A child loads the program with every action replaced by an errno of its own, so that no call that is asked about is
//! ever made: it returns an errno which says what would have happened. From then on *every* call of the child is answered
//! like that, `exit` too. So results go through shared memory, and the child ends by an illegal instruction.
//!
//! The only `unsafe` of the suite: fork, shared memory, and system calls by number.
#![allow(unsafe_code)]

use std::ptr;

use callgate::compiler::bpf::check::check;
use callgate::compiler::bpf::{Operation, Program};
use callgate::load::Options;
use callgate::{Action, Arch, Call, Prepared, probe};

/// The first of the errnos that stand for actions: above all that the kernel has.
const FIRST: u16 = 3000;

/// What the kernel of this machine answers to each call; `None` for calls that can't be made here.
///
/// # Errors
/// Why nothing can be answered, in a word: it is a reason to skip.
pub fn answers(program: &Program, calls: &[Call]) -> Result<Vec<Option<Action>>, String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("calls by number are written for x86_64".to_owned());
    }
    let (replaced, actions) = replace_actions(program);
    let options = Options {
        no_new_privs: true,
        ..Options::default()
    };
    let prepared = Prepared::program(&replaced, &options).map_err(|error| error.to_string())?;
    let results = run_in_child(&prepared, calls)?;
    let action = |result: i64| {
        let index = usize::try_from(-result - i64::from(FIRST)).ok()?;
        actions.get(index).copied()
    };
    let answers = calls.iter().zip(results).map(|(call, result)| {
        if !can_be_made(call) {
            return Ok(None);
        }
        let action = action(result).ok_or_else(|| format!("{call:x?} returned {result}"));
        action.map(Some)
    });
    answers.collect()
}

/// Whether the kernel can be shown such a call: of the native ABI, of x32, and of i386 with arguments of 32 bits. The kernel
/// shows `uretprobe` and `uprobe` to no filter.
fn can_be_made(call: &Call) -> bool {
    match probe::native_arch() {
        Some(Arch::X86_64) => match Arch::of_call(call.audit, call.nr) {
            Some(Arch::X86_64) => !matches!(call.nr, 335 | 336),
            Some(Arch::X32) => true,
            Some(Arch::X86) => call.args.iter().all(|arg| *arg <= u64::from(u32::MAX)),
            _ => false,
        },
        _ => false,
    }
}

/// The program with each action replaced by an errno, and the action for each.
fn replace_actions(program: &Program) -> (Program, Vec<Action>) {
    let mut actions = Vec::new();
    let mut insns = program.insns().to_vec();
    for insn in &mut insns {
        if let Some(Operation::Return(ret)) = insn.operation() {
            let action = Action::from_ret(ret);
            let index = actions
                .iter()
                .position(|known| *known == action)
                .unwrap_or_else(|| {
                    actions.push(action);
                    actions.len() - 1
                });
            insn.k = Action::Errno(FIRST + u16::try_from(index).unwrap_or(1000)).to_ret();
        }
    }
    let replaced = check(insns, program.byte_order());
    (
        replaced.expect("only returned values have changed"),
        actions,
    )
}

/// Makes the calls in a child that has the filter, and returns what each returned.
fn run_in_child(prepared: &Prepared, calls: &[Call]) -> Result<Vec<i64>, String> {
    let length = (calls.len() + 1) * size_of::<i64>();
    // SAFETY: a new mapping, of nothing else.
    let memory = unsafe {
        libc::mmap(
            ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if memory == libc::MAP_FAILED {
        return Err("no shared memory".to_owned());
    }
    let results: *mut i64 = memory.cast();
    // SAFETY: the child makes system calls and writes to the shared memory, and nothing else: it takes no lock and
    // allocates nothing.
    match unsafe { libc::fork() } {
        0 => {
            let installed = i64::from(prepared.install().is_ok());
            // SAFETY: the mapping has room for one result more than there are calls.
            unsafe { results.write_volatile(installed) };
            for (i, call) in calls.iter().enumerate().filter(|_| installed == 1) {
                if can_be_made(call) {
                    let result = make(call);
                    // SAFETY: within the mapping, as above.
                    let place = unsafe { results.add(i + 1) };
                    // SAFETY: as above.
                    unsafe { place.write_volatile(result) };
                }
            }
            end_without_a_call()
        }
        -1 => Err("fork failed".to_owned()),
        child => {
            let mut status = 0;
            // SAFETY: waits for the child above, and writes its status to a local.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            // SAFETY: the mapping holds this many results, all zero to begin with, and the child is gone.
            let results = unsafe { std::slice::from_raw_parts(results, calls.len() + 1) }.to_vec();
            // SAFETY: nothing refers to the mapping any more.
            unsafe { libc::munmap(memory, length) };
            if results[0] == 1 {
                Ok(results[1..].to_vec())
            } else {
                Err("the filter could not be loaded".to_owned())
            }
        }
    }
}

/// Makes a call by its number, and returns the raw result.
#[cfg(target_arch = "x86_64")]
fn make(call: &Call) -> i64 {
    use std::arch::asm;
    let result: i64;
    let [a, b, c, d, e, f] = call.args;
    if call.audit == Arch::X86_64.audit() {
        // SAFETY: the filter that is installed lets no call be made, so the arguments mean nothing.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") u64::from(call.nr) => result,
                in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
                lateout("rcx") _, lateout("r11") _,
            );
        }
        return result;
    }
    let registers = [u64::from(call.nr), a, b, c, d, e, f];
    // SAFETY: as above; the registers that the compiler keeps for itself are put back.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "mov eax, dword ptr [rdi]",
            "mov ebx, dword ptr [rdi + 8]",
            "mov ecx, dword ptr [rdi + 16]",
            "mov edx, dword ptr [rdi + 24]",
            "mov esi, dword ptr [rdi + 32]",
            "mov ebp, dword ptr [rdi + 48]",
            "mov edi, dword ptr [rdi + 40]",
            "int 0x80",
            "pop rbp",
            "pop rbx",
            inlateout("rdi") registers.as_ptr() => _,
            lateout("rax") result,
            lateout("rcx") _, lateout("rdx") _, lateout("rsi") _,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    // A result of 32 bits.
    i64::from(i32::from_ne_bytes(
        (u32::try_from(result & 0xffff_ffff).unwrap_or(0)).to_ne_bytes(),
    ))
}

#[cfg(not(target_arch = "x86_64"))]
fn make(_call: &Call) -> i64 {
    0
}

/// Ends the process where no system call would.
fn end_without_a_call() -> ! {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: an instruction that is none raises SIGILL, whose default action ends the process.
    unsafe {
        std::arch::asm!("ud2", options(noreturn))
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::process::abort()
}
