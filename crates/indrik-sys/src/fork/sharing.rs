//! The split in which the process in between runs on the zygote's memory, as a child of `vfork` does.
//!
//! The zygote stands still until the process in between has ended. That one calls the C library's
//! `fork` on the zygote's stack, below everything the zygote needs, so at-fork handlers run as if the
//! zygote itself had forked, and the worker comes out of the call like from a `fork` of the zygote.
//!
//! What the kernel does not hand on this way is the thread's registration for restartable sequences
//! (`rseq`): the worker registers again, or `sched_getcpu` and allocators that use it would be misled.

use std::arch::asm;
use std::ffi::c_long;
use std::io;
use std::mem::MaybeUninit;

use super::split::Split;

/// Only a process with one thread: at-fork handlers that end and wait for other threads should run in
/// those threads' own process.
pub(super) fn is_possible() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

/// # Safety
/// The calling process has one thread.
pub(super) unsafe fn split() -> io::Result<Split> {
    let mut worker: libc::pid_t = -1;
    // A handler that ran in the process in between would run on the zygote's memory.
    let before = block_signals();
    // SAFETY: one thread (the caller's promise), no signal is delivered, and the cell lives on.
    let result = unsafe { clone_and_fork(&raw mut worker) };
    // The process in between failed on this memory, so its error is found here.
    let fork_error = io::Error::last_os_error();
    if result == 0 {
        register_rseq();
    }
    restore_signals(&before);
    match libc::pid_t::try_from(result) {
        Ok(0) => Ok(Split::Worker),
        Ok(between) if between > 0 => {
            let worker = u32::try_from(worker).map_err(|_| fork_error);
            Ok(Split::Zygote { between, worker })
        }
        Ok(error) => Err(io::Error::from_raw_os_error(-error)),
        Err(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Returns 0 in the worker; in the zygote the number of the process in between, which has ended, or a
/// negative error. `worker` then holds what `fork` said, if it came to that.
///
/// # Safety
/// The process has one thread, signals are blocked, and `worker` is writable.
#[cfg(target_arch = "x86_64")]
unsafe fn clone_and_fork(worker: *mut libc::pid_t) -> c_long {
    let fork: unsafe extern "C" fn() -> libc::pid_t = libc::fork;
    let result: c_long;
    // SAFETY: three processes leave or end this block. The zygote is suspended while the process in
    // between runs and gets its registers back from the kernel; of its memory that one changes
    // `worker`, what the C library's `fork` changes anyway, and the unused stack below (this block
    // does not promise `nostack`, so nothing is kept there and a call finds the stack aligned). The
    // process in between never leaves the block. The worker does, with a copy of the memory and the
    // registers of that moment, among which those that a call preserves are the zygote's.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "call r12",
            "test eax, eax",
            "jnz 3f",
            "xor eax, eax",
            "jmp 2f",
            "3:",
            "mov dword ptr [r13], eax",
            "xor edi, edi",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            "2:",
            exit = const libc::SYS_exit_group,
            inlateout("rax") libc::SYS_clone => result,
            in("rdi") libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            in("rsi") 0,
            in("rdx") 0,
            in("r10") 0,
            in("r8") 0,
            in("r12") fork,
            in("r13") worker,
            clobber_abi("C"),
        );
    }
    result
}

/// As on x86-64.
///
/// # Safety
/// As on x86-64.
#[cfg(target_arch = "aarch64")]
unsafe fn clone_and_fork(worker: *mut libc::pid_t) -> c_long {
    let fork: unsafe extern "C" fn() -> libc::pid_t = libc::fork;
    let flags = c_long::from(libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD);
    let result: c_long;
    // SAFETY: as on x86-64.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "blr x20",
            "cbnz w0, 3f",
            "mov x0, 0",
            "b 2f",
            "3:",
            "str w0, [x21]",
            "mov x0, 0",
            "mov x8, {exit}",
            "svc 0",
            "udf 0",
            "2:",
            exit = const libc::SYS_exit_group,
            inlateout("x0") flags => result,
            in("x1") 0,
            in("x2") 0,
            in("x3") 0,
            in("x4") 0,
            in("x8") libc::SYS_clone,
            in("x20") fork,
            in("x21") worker,
            clobber_abi("C"),
        );
    }
    result
}

/// Returns the mask there was.
fn block_signals() -> libc::sigset_t {
    let mut all = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: both sets are writable, and the calls fill them in.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    }
}

fn restore_signals(before: &libc::sigset_t) {
    // SAFETY: a set that `block_signals` was given.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
}

/// The least length of an area, and that of every area in C libraries so far but the newest.
const RSEQ_BYTES_MIN: usize = 32;
/// Marks code that a restart may jump to; part of the ABI.
#[cfg(target_arch = "x86_64")]
const RSEQ_SIGNATURE: u32 = 0x5305_3053;
#[cfg(target_arch = "aarch64")]
const RSEQ_SIGNATURE: u32 = 0xd428_bc00;
/// What the C library takes for "ask the kernel each time".
const RSEQ_CPU_UNKNOWN: i32 = -2;
/// Where in the area the number of the CPU lies.
const RSEQ_CPU_AT: isize = 4;

/// Registers this thread's area for restartable sequences, if the C library (glibc 2.35 or later) had
/// done so.
fn register_rseq() {
    // SAFETY: both names end with a zero; the symbols, where they exist, are an `isize` and a `u32`.
    let (offset, size) = unsafe {
        let offset = libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr());
        let size = libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_size".as_ptr());
        if offset.is_null() || size.is_null() || size.cast::<u32>().read() == 0 {
            return;
        }
        (offset.cast::<isize>().read(), size.cast::<u32>().read() as usize)
    };
    // SAFETY: the vector of the kernel always answers.
    let features = unsafe { libc::getauxval(AT_RSEQ_FEATURE_SIZE) };
    let features = usize::try_from(features).unwrap_or(0).next_multiple_of(RSEQ_BYTES_MIN);
    let length = size.next_multiple_of(RSEQ_BYTES_MIN).max(features).max(RSEQ_BYTES_MIN);
    // SAFETY: the C library keeps the area at this distance from the thread pointer, as long as the
    // thread lives, and the kernel knows none for this thread.
    let failed = unsafe {
        let area = thread_pointer().offset(offset);
        let result = libc::syscall(libc::SYS_rseq, area, length, 0, RSEQ_SIGNATURE);
        let failed = result != 0 && io::Error::last_os_error().raw_os_error() != Some(libc::EBUSY);
        failed.then_some(area)
    };
    if let Some(area) = failed {
        // SAFETY: inside the area, aligned, and read by nobody else at this moment.
        unsafe { area.offset(RSEQ_CPU_AT).cast::<i32>().write(RSEQ_CPU_UNKNOWN) };
    }
}

/// The kernel's word for how much of an area it uses.
const AT_RSEQ_FEATURE_SIZE: libc::c_ulong = 27;

#[cfg(target_arch = "x86_64")]
fn thread_pointer() -> *mut u8 {
    let pointer: *mut u8;
    // SAFETY: the first word that fs points at is its own address, by the ABI.
    unsafe { asm!("mov {}, fs:0", out(reg) pointer, options(nostack, preserves_flags, readonly)) };
    pointer
}

#[cfg(target_arch = "aarch64")]
fn thread_pointer() -> *mut u8 {
    let pointer: *mut u8;
    // SAFETY: reads a register.
    unsafe {
        asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, preserves_flags, nomem))
    };
    pointer
}
