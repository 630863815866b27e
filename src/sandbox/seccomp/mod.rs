//! Which system calls the programs of a container may make: the effect of docker's default profile
//! as a program for the kernel (seccomp(2), kernel: userspace-api/seccomp_filter).
//!
//! `tools/seccomp/profile` has the names, `tables` what was made of them. What docker refuses is
//! refused with EPERM; a number that is in no table is answered with ENOSYS, so that a C library
//! that is newer than lath goes another way. Where a processor's words have 64 bits they are
//! compared in full: a high half that is not zero is none of the values that docker's rules name.

mod tables;

use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use crate::sys::seccomp::Instruction;

// The classes of the tables; from NEEDS on a capability's number is added.
// What docker refuses is 1.
const UNKNOWN: u8 = 0;
const ALLOWED: u8 = 2;
const SOCKET: u8 = 3;
const PERSONALITY: u8 = 4;
const CLONE: u8 = 5;
const CLONE3: u8 = 6;
const NEEDS: u8 = 64;

/// The number of CAP_SYS_ADMIN, and those that were once a part of it: CAP_SYSLOG, CAP_PERFMON and
/// CAP_BPF.
const SYS_ADMIN: u8 = 21;
const PARTS_OF_ADMIN: [u8; 3] = [34, 38, 39];

/// The flags of clone(2) that make namespaces: all but CLONE_NEWTIME, which clone cannot be given.
const NEW_NAMESPACES: u32 = 0x7e02_0000;
/// The execution domains that docker allows: Linux and its 32 bits, with and without UNAME26's bit,
/// and the question for the present one (personality(2)).
const DOMAINS: [u32; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// Families of addresses from which on the answer changes (socket(2), linux/socket.h); all others
/// up to 45 are allowed. Not: AF_SECURITY, AF_PPPOX, AF_TIPC, AF_IUCV, AF_ALG, AF_VSOCK and such.
const FAMILIES: [(u32, bool); 15] = [
    (0, true),
    (12, false),
    (13, true),
    (19, false),
    (21, true),
    (23, false),
    (24, true),
    (25, false),
    (26, true),
    (34, false),
    (35, true),
    (37, false),
    (39, true),
    (40, false),
    (41, true),
];
const FIRST_UNKNOWN_FAMILY: u32 = 46;

/// A processor's way to call: its audit number (linux/audit.h), its table, and the numbers far
/// above it that are allowed.
type Way = (u32, &'static [(u16, u8)], &'static [u32]);

#[cfg(any(test, target_arch = "x86_64", target_arch = "x86"))]
const X86_64: Way = (0xc000_003e, tables::X86_64, &[]);
#[cfg(any(test, target_arch = "x86_64", target_arch = "x86"))]
const X86: Way = (0x4000_0003, tables::X86, &[]);
#[cfg(any(test, target_arch = "aarch64", target_arch = "arm"))]
const ARM64: Way = (0xc000_00b7, tables::ARM64, &[]);
/// The private calls of 32-bit ARM: breakpoint, cacheflush and set_tls (asm/unistd.h).
#[cfg(any(test, target_arch = "aarch64", target_arch = "arm"))]
const ARM: Way = (0x4000_0028, tables::ARM, &[0xf_0001, 0xf_0002, 0xf_0005]);
#[cfg(any(test, target_arch = "riscv64"))]
const RISCV64: Way = (0xc000_00f3, tables::RISCV64, &[]);

/// The bit of an audit number that says that words have 64 bits (linux/audit.h).
const WIDE: u32 = 0x8000_0000;

/// How programs call on this processor. A lath of 32 bits may stand on a kernel of 64, which runs
/// programs of both.
#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
const WAYS: &[Way] = &[X86_64, X86];
#[cfg(any(target_arch = "aarch64", target_arch = "arm"))]
const WAYS: &[Way] = &[ARM64, ARM];
#[cfg(target_arch = "riscv64")]
const WAYS: &[Way] = &[RISCV64];

// The instructions that are needed (linux/bpf_common.h): load a word, compare with a constant and
// jump over so many, jump, mask, end with an answer.
const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const IF_SET: u16 = 0x45;
const JUMP: u16 = 0x05;
const ANSWER: u16 = 0x06;

// Where things are in what the program looks at (linux/seccomp.h, seccomp_data), little-endian.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENT: u32 = 16;
const ARGUMENT_HIGH: u32 = 20;

// SECCOMP_RET_ALLOW and SECCOMP_RET_ERRNO.
const ALLOW: u32 = 0x7fff_0000;
const FAIL: u32 = 0x0005_0000;

/// The program for a container with these capabilities.
pub fn filter(held: CapabilitySet) -> Vec<Instruction> {
    program(WAYS, held)
}

fn program(ways: &[Way], held: CapabilitySet) -> Vec<Instruction> {
    let mut code = vec![load(ARCH)];
    for (arch, table, private) in ways {
        let mut way = vec![load(NUMBER)];
        for number in *private {
            way.extend([if_equal(*number, 0, 1), answer(ALLOW)]);
        }
        search(table, &Rules { held, is_wide: arch & WIDE != 0 }, &mut way);
        code.extend(unless_equal(*arch, way.len()));
        code.append(&mut way);
    }
    // Another processor's way to call, or none that is known.
    code.push(fail(Errno::NOSYS));
    code
}

/// What the answers of one way depend on.
struct Rules {
    held: CapabilitySet,
    is_wide: bool,
}

impl Rules {
    /// Loads the first argument, after a look at its high half.
    fn argument(&self, code: &mut Vec<Instruction>) {
        if self.is_wide {
            code.extend([load(ARGUMENT_HIGH), if_equal(0, 1, 0), fail(Errno::PERM)]);
        }
        code.push(load(ARGUMENT));
    }
}

/// Finds the class of the number that is loaded by halves, so that no call waits for long.
fn search(pairs: &[(u16, u8)], rules: &Rules, code: &mut Vec<Instruction>) {
    let (low, high) = pairs.split_at(pairs.len() / 2);
    match (low, high) {
        ([], []) => code.push(fail(Errno::NOSYS)),
        ([], [(_, class), ..]) => class_of(*class, rules, code),
        (low, [(first, _), ..]) => {
            let mut below = Vec::new();
            search(low, rules, &mut below);
            let first = u32::from(*first);
            match u8::try_from(below.len()) {
                Ok(length) => code.push(Instruction::new(IF_AT_LEAST, length, 0, first)),
                Err(_) => {
                    code.push(Instruction::new(IF_AT_LEAST, 0, 1, first));
                    code.push(jump(below.len()));
                }
            }
            code.append(&mut below);
            search(high, rules, code);
        }
        (_, []) => {}
    }
}

/// What is answered to a call of a class.
fn class_of(class: u8, rules: &Rules, code: &mut Vec<Instruction>) {
    let has = |number: u8| rules.held.bits() & (1 << number) != 0;
    let is_admin = has(SYS_ADMIN);
    match class {
        ALLOWED => code.push(answer(ALLOW)),
        CLONE | CLONE3 if is_admin => code.push(answer(ALLOW)),
        CLONE3 => code.push(fail(Errno::NOSYS)),
        CLONE => code.extend([
            load(ARGUMENT),
            Instruction::new(IF_SET, 1, 0, NEW_NAMESPACES),
            answer(ALLOW),
            fail(Errno::PERM),
        ]),
        PERSONALITY => {
            rules.argument(code);
            for domain in DOMAINS {
                code.extend([if_equal(domain, 0, 1), answer(ALLOW)]);
            }
            code.push(fail(Errno::PERM));
        }
        SOCKET => {
            rules.argument(code);
            let (refused, allowed) = (fail(Errno::PERM), answer(ALLOW));
            code.extend([Instruction::new(IF_AT_LEAST, 0, 1, FIRST_UNKNOWN_FAMILY), refused]);
            for (first, is_allowed) in FAMILIES.iter().rev() {
                let verdict = if *is_allowed { allowed } else { refused };
                code.extend([Instruction::new(IF_AT_LEAST, 0, 1, *first), verdict]);
            }
        }
        UNKNOWN => code.push(fail(Errno::NOSYS)),
        class if class >= NEEDS => {
            let number = class - NEEDS;
            let is_enough = has(number) || is_admin && PARTS_OF_ADMIN.contains(&number);
            code.push(if is_enough { answer(ALLOW) } else { fail(Errno::PERM) });
        }
        _ => code.push(fail(Errno::PERM)),
    }
}

fn load(offset: u32) -> Instruction {
    Instruction::new(LOAD, 0, 0, offset)
}

fn if_equal(value: u32, yes: u8, no: u8) -> Instruction {
    Instruction::new(IF_EQUAL, yes, no, value)
}

fn unless_equal(value: u32, length: usize) -> [Instruction; 2] {
    [if_equal(value, 1, 0), jump(length)]
}

fn jump(length: usize) -> Instruction {
    // A program has 4096 instructions at most, which the kernel checks.
    Instruction::new(JUMP, 0, 0, u32::try_from(length).unwrap_or(u32::MAX))
}

fn answer(value: u32) -> Instruction {
    Instruction::new(ANSWER, 0, 0, value)
}

fn fail(errno: Errno) -> Instruction {
    answer(FAIL | errno.raw_os_error().unsigned_abs())
}

#[cfg(test)]
mod tests;
