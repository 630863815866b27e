//! The filter, run as the kernel runs it.

use super::*;
use crate::sys::identity::DEFAULT_CAPABILITIES;

/// What the kernel would answer: its interpreter for the few instructions, and a fault for anything
/// that its checker refuses.
fn run(code: &[Instruction], arch: u32, number: u32, first: u64) -> u32 {
    let (mut at, mut word) = (0, 0);
    loop {
        let one = code[at];
        at += 1;
        match one.code {
            LOAD => {
                word = match one.value {
                    NUMBER => number,
                    ARCH => arch,
                    ARGUMENT => first as u32,
                    ARGUMENT_HIGH => (first >> 32) as u32,
                    other => panic!("load {other}"),
                }
            }
            IF_EQUAL | IF_AT_LEAST | IF_SET => {
                let holds = match one.code {
                    IF_EQUAL => word == one.value,
                    IF_AT_LEAST => word >= one.value,
                    _ => word & one.value != 0,
                };
                at += usize::from(if holds { one.yes } else { one.no });
            }
            JUMP => at += one.value as usize,
            ANSWER => return one.value,
            other => panic!("instruction {other:#x}"),
        }
    }
}

const EPERM: u32 = FAIL | 1;
const ENOSYS: u32 = FAIL | 38;
const ALL_WAYS: [Way; 5] = [X86_64, X86, ARM64, ARM, RISCV64];

#[test]
fn every_number_of_every_processor_has_the_answer_of_its_class() {
    let sets = [
        CapabilitySet::empty(),
        DEFAULT_CAPABILITIES,
        CapabilitySet::SYS_ADMIN,
        CapabilitySet::SYSLOG,
        CapabilitySet::from_bits_retain((1 << 41) - 1),
    ];
    for held in sets {
        let code = program(&ALL_WAYS, held);
        assert!(code.len() < 4096, "the kernel takes no more");
        for (arch, table, private) in ALL_WAYS {
            for number in (0..700).chain(0xf_0000..0xf_0010).chain([0x4000_0001, u32::MAX]) {
                let below = table.iter().rev().find(|(first, _)| u32::from(*first) <= number);
                let class = below.map_or(UNKNOWN, |(_, class)| *class);
                let admin = held.contains(CapabilitySet::SYS_ADMIN);
                let expected = match class {
                    _ if private.contains(&number) => ALLOW,
                    UNKNOWN => ENOSYS,
                    ALLOWED | SOCKET | PERSONALITY | CLONE => ALLOW,
                    CLONE3 => {
                        if admin {
                            ALLOW
                        } else {
                            ENOSYS
                        }
                    }
                    class if class >= NEEDS => {
                        let has = held.bits() & (1 << (class - NEEDS)) != 0;
                        let part = [98, 102, 103].contains(&class) && admin;
                        if has || part { ALLOW } else { EPERM }
                    }
                    _ => EPERM,
                };
                assert_eq!(run(&code, arch, number, 0), expected, "{arch:#x} {number} {held:?}");
            }
        }
        assert_eq!(run(&code, 0x1234, 1, 0), ENOSYS, "another processor");
    }
}

/// docker's rule for each argument, written down as the profile has it.
#[test]
fn arguments_are_looked_at_as_docker_does() {
    let code = program(&ALL_WAYS, DEFAULT_CAPABILITIES);
    let calls = [
        (X86_64.0, 41, 135, 56),
        (X86.0, 359, 136, 120),
        (ARM64.0, 198, 92, 220),
        (ARM.0, 281, 136, 120),
        (RISCV64.0, 198, 92, 220),
    ];
    for (arch, socket, personality, clone) in calls {
        let families = |family: u64| {
            let single =
                [13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36];
            family < 12 || single.contains(&family) || [39, 41, 42, 43, 44, 45].contains(&family)
        };
        // A word of 32 bits has no high half.
        let word = |value: u64| if arch & WIDE == 0 { value & 0xffff_ffff } else { value };
        for family in (0..64).chain([1 << 31, 1 << 32, (1 << 32) + 2, u64::MAX]) {
            let expected = if families(word(family)) { ALLOW } else { EPERM };
            assert_eq!(run(&code, arch, socket, family), expected, "{arch:#x} socket {family}");
        }
        for domain in [0, 8, 0x20000, 0x20008, 0xffff_ffff] {
            assert_eq!(run(&code, arch, personality, domain), ALLOW, "{arch:#x} {domain:#x}");
        }
        for domain in [1, 9, 0x40000, 0x20009, 0xffff_fffe, 1 << 32, u64::MAX] {
            let expected = if word(domain) == domain { EPERM } else { ALLOW };
            assert_eq!(run(&code, arch, personality, domain), expected, "{arch:#x} {domain:#x}");
        }
        for bit in 0..64 {
            // CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
            let makes = [17, 25, 26, 27, 28, 29, 30].contains(&bit);
            let expected = if makes { EPERM } else { ALLOW };
            assert_eq!(run(&code, arch, clone, 1 << bit), expected, "{arch:#x} clone bit {bit}");
        }
    }
}

/// Numbers from another source than the tables: the C library's.
#[cfg(target_arch = "x86_64")]
#[test]
fn calls_that_have_opened_containers_are_refused() {
    let code = filter(DEFAULT_CAPABILITIES);
    let answer = |number: libc::c_long| run(&code, X86_64.0, u32::try_from(number).unwrap(), 0);
    for number in [
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_userfaultfd,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_open_by_handle_at,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_kexec_load,
        libc::SYS_init_module,
        libc::SYS_reboot,
        libc::SYS_swapon,
        libc::SYS_settimeofday,
        libc::SYS_move_mount,
        libc::SYS_fsopen,
        libc::SYS_mount_setattr,
        libc::SYS_ioperm,
        libc::SYS_iopl,
        libc::SYS_acct,
        libc::SYS_quotactl,
        libc::SYS_syslog,
    ] {
        assert_eq!(answer(number), EPERM, "{number}");
    }
    for number in [
        libc::SYS_openat,
        libc::SYS_execve,
        libc::SYS_futex,
        libc::SYS_ptrace,
        libc::SYS_chroot,
        libc::SYS_mknod,
        libc::SYS_statx,
        libc::SYS_landlock_create_ruleset,
        libc::SYS_memfd_create,
    ] {
        assert_eq!(answer(number), ALLOW, "{number}");
    }
    assert_eq!(answer(libc::SYS_clone3), ENOSYS);
    assert_eq!(answer(600), ENOSYS);
}
