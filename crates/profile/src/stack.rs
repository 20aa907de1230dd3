//! The calling thread's stack: how far it may be read.

use std::ops::Range;

use crate::memory;

/// Where the words of the stack are read from.
pub struct Stack {
    /// The mapping of the thread's stack. Empty if it is not known.
    mapped: Range<usize>,
    /// What lies above, in the mapping, is there for as long as the thread runs. At the lower end there may be a guard, which the
    /// kernel does not show as a mapping of its own (`MADV_GUARD_INSTALL`).
    used: usize,
}

impl Stack {
    /// The stack that holds the address, which is of the calling thread's stack.
    ///
    /// `pthread_getattr_np` would tell, but it takes a lock of the thread and allocates, so within `malloc` it could wait for
    /// itself: V8 calls it, too.
    pub fn of_this_thread(address: usize) -> Self {
        // SAFETY: takes nothing. In glibc and musl it is the address of the thread's control block, which lies at the upper
        // end of the thread's stack.
        let control = unsafe { libc::pthread_self() } as usize;
        // SAFETY: takes a number. These bytes of the kernel's lie at the upper end of the first thread's stack.
        let random = unsafe { libc::getauxval(libc::AT_RANDOM) } as usize;
        let mapped = match mapping_of(address) {
            // What lies above the control block may be another mapping, which can go away.
            Some(range) if range.contains(&control) => range.start..control,
            Some(range) if range.contains(&random) => range,
            // A coroutine's stack, or a signal's: it may be gone tomorrow.
            _ => 0..0,
        };
        let used = if mapped.contains(&address) { address } else { mapped.end };
        Self { mapped, used }
    }

    /// Begins a walk at that stack pointer.
    pub fn begin(&mut self, stack_pointer: usize) {
        // It may be on another stack now: a coroutine's, or a signal's.
        if self.mapped.contains(&stack_pointer) {
            self.used = self.used.min(stack_pointer);
        }
    }

    /// The word at the address, if there is one.
    pub fn word(&self, address: usize) -> Option<usize> {
        self.words::<1>(address).map(|[word]| word)
    }

    /// Words from that address on, if they are there.
    #[inline]
    pub fn words<const N: usize>(&self, address: usize) -> Option<[usize; N]> {
        if !address.is_multiple_of(size_of::<usize>()) {
            return None;
        }
        if self.used <= address && address.checked_add(N * size_of::<usize>())? <= self.mapped.end {
            // SAFETY: in use, aligned, and the calling thread's own stack.
            return Some(unsafe { (address as *const [usize; N]).read_volatile() });
        }
        memory::words(address)
    }
}

/// The mapping that holds the address, by `/proc/self/maps`. It uses system calls only, because the C library's functions for
/// files allocate.
fn mapping_of(address: usize) -> Option<Range<usize>> {
    // SAFETY: a C string.
    let file = unsafe { libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if file < 0 {
        return None;
    }
    let mut found = None;
    let mut line = Line::default();
    let mut buffer = [0_u8; 4096];
    'file: loop {
        // SAFETY: the buffer has as many bytes as said.
        let read = unsafe { libc::read(file, buffer.as_mut_ptr().cast(), buffer.len()) };
        let Ok(1..) = usize::try_from(read) else { break };
        for byte in &buffer[..read as usize] {
            if let Some(range) = line.take(*byte)
                && range.contains(&address)
            {
                found = Some(range);
                break 'file;
            }
        }
    }
    // SAFETY: opened above.
    unsafe { libc::close(file) };
    found
}

/// Reads the two numbers at the start of each line.
#[derive(Default)]
struct Line {
    start: usize,
    number: usize,
    is_done: bool,
}

impl Line {
    fn take(&mut self, byte: u8) -> Option<Range<usize>> {
        match byte {
            b'\n' => *self = Self::default(),
            _ if self.is_done => {}
            b'-' => (self.start, self.number) = (self.number, 0),
            b' ' => {
                self.is_done = true;
                return Some(self.start..self.number);
            }
            _ => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                self.number = (self.number << 4) | digit as usize;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_stacks_of_threads() {
        let check = || {
            let here = 0x1234_5678_usize;
            let address = (&raw const here).addr();
            let stack = Stack::of_this_thread(address);
            assert!(stack.mapped.contains(&address));
            assert_eq!(stack.word(address), Some(here));
            assert_eq!(stack.word(8), None);
            assert_eq!(stack.word(address + 1), None);
            assert_eq!(stack.used, address);
            let mut stack = stack;
            stack.begin(address - 64);
            assert_eq!(stack.used, address - 64);
            stack.begin(8);
            assert_eq!(stack.used, address - 64);
            stack.mapped
        };
        let here = check();
        let other = std::thread::spawn(check).join().unwrap();
        assert!(here.end <= other.start || other.end <= here.start);
    }

    #[test]
    fn does_not_trust_another_stack() {
        let block = vec![7_usize; 1024];
        let stack = Stack::of_this_thread(block.as_ptr().addr());
        assert_eq!(stack.mapped, 0..0);
        assert_eq!(stack.word(block.as_ptr().addr()), Some(7));
    }
}
