//! Counts what a shard's threads ask of the allocator and of futexes.
//!
//! Unsafe because a global allocator is, which only counts and passes on, and so is a signal
//! handler, which counts and changes what the call returns.
#![allow(unsafe_code, clippy::unwrap_used, unreachable_pub)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use shards::command::NodeFacts;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

impl Counting {
    fn note() {
        // A thread that is ending has no such cell any more, and is not counted.
        if COUNTED.try_with(Cell::get).unwrap_or(false) {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: passes every call on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::note();
        // SAFETY: as our caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as our caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::note();
        // SAFETY: as our caller promised.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

pub fn facts() -> NodeFacts {
    NodeFacts {
        version: "0".into(),
        driver: "test",
        port: 0,
        pid: 0,
        run_id: "0".repeat(40),
        started: 0,
        executable: String::new(),
        os: String::new(),
        shards: 1,
        cluster: Arc::default(),
    }
}

static FUTEXES: AtomicU64 = AtomicU64::new(0);

/// Answers a futex call with EAGAIN, upon which its caller tries again.
extern "C" fn note_futex(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    FUTEXES.fetch_add(1, Ordering::Relaxed);
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel passes the context of the interrupted call, ours to change until we
    // return; the register is where a call's result is expected.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        let result = &mut (*context).uc_mcontext.gregs[libc::REG_RAX as usize];
        #[cfg(target_arch = "aarch64")]
        let result = &mut (*context).uc_mcontext.regs[0];
        *result = -i64::from(libc::EAGAIN) as _;
    }
}

/// Counts this thread's futex calls that wait from now on.
pub fn count_futexes() {
    // SAFETY: an all-zero action is a valid one; the handler only touches an atomic and the
    // context it is given.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = note_futex as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()), 0);
    }
    // Only calls that wait: a wake that did not come about would leave another thread asleep,
    // as one that has waited for the allocator beside us.
    let waits = |operation: i32| {
        let is_it = SeccompCmpOp::MaskedEq(0x7f); // without its flags
        let operation = SeccompCondition::new(1, SeccompCmpArgLen::Dword, is_it, operation as u64);
        SeccompRule::new(vec![operation.unwrap()]).unwrap()
    };
    let waits = [libc::FUTEX_WAIT, libc::FUTEX_WAIT_BITSET, libc::FUTEX_LOCK_PI].map(waits);
    let rules = BTreeMap::from([(libc::SYS_futex, waits.to_vec())]);
    let arch: TargetArch = std::env::consts::ARCH.try_into().unwrap();
    let (others, futex) = (SeccompAction::Allow, SeccompAction::Trap);
    let filter = SeccompFilter::new(rules, others, futex, arch).unwrap();
    let program: seccompiler::BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

/// Counts this thread's allocations from now on, or no more.
pub fn count_allocations(on: bool) {
    COUNTED.set(on);
}

/// Allocations and futex calls of all shards so far.
fn counts() -> (u64, u64) {
    (ALLOCATIONS.load(Ordering::Relaxed), FUTEXES.load(Ordering::Relaxed))
}

/// Those of some work.
pub fn during(work: impl FnOnce()) -> (u64, u64) {
    let before = counts();
    work();
    let after = counts();
    (after.0 - before.0, after.1 - before.1)
}
