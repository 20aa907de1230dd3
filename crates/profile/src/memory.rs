//! Memory of this process that may not be there. The kernel reads it, so that an address without memory is an error and not
//! the end of the process.

use std::sync::atomic::{AtomicI32, Ordering};

/// The process's id. A system call would cost as much as the read.
static PID: AtomicI32 = AtomicI32::new(0);

fn pid() -> i32 {
    match PID.load(Ordering::Relaxed) {
        0 => {
            // SAFETY: takes nothing.
            let pid = unsafe { libc::getpid() };
            PID.store(pid, Ordering::Relaxed);
            pid
        }
        pid => pid,
    }
}

/// For a forked child: its id is another one.
pub fn forget_pid() {
    PID.store(0, Ordering::Relaxed);
}

/// Reads as many bytes as there are from that address on, and returns their number. The read ends at the first page without
/// memory.
pub fn read_up_to(address: usize, buffer: &mut [u8]) -> usize {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: address as *mut _, iov_len: buffer.len() };
    // SAFETY: the kernel writes to the buffer and no further, and checks the address that it reads from.
    let read = unsafe { libc::process_vm_readv(pid(), &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(read).unwrap_or(0)
}

/// Reads the whole buffer, or nothing.
pub fn read(address: usize, buffer: &mut [u8]) -> Option<()> {
    (read_up_to(address, buffer) == buffer.len()).then_some(())
}

/// Reads words.
pub fn words<const N: usize>(address: usize) -> Option<[usize; N]> {
    let mut words = [0_usize; N];
    // SAFETY: words are bytes.
    let bytes = unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), N * size_of::<usize>()) };
    read(address, bytes)?;
    Some(words)
}

/// Whether this process may read its own memory in this way at all: a sandbox may forbid it.
pub fn is_permitted() -> bool {
    let here = 0x5eed_usize;
    words::<1>((&raw const here).addr()) == Some([here])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_there() {
        let words_here = [1_usize, 2, 3];
        assert_eq!(words::<3>(words_here.as_ptr().addr()), Some(words_here));
        assert!(is_permitted());
    }

    #[test]
    fn does_not_read_what_is_not_there() {
        assert_eq!(words::<1>(8), None);
        assert_eq!(words::<1>(usize::MAX - 7), None);
        // SAFETY: two new pages, of which the second is taken away.
        let page = unsafe {
            let pages = libc::mmap(
                std::ptr::null_mut(),
                8192,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert_ne!(pages, libc::MAP_FAILED);
            libc::munmap(pages.byte_add(4096), 4096);
            pages.addr()
        };
        assert_eq!(words::<1>(page + 4088), Some([0]));
        assert_eq!(words::<1>(page + 4092), None);
        assert_eq!(read_up_to(page + 4092, &mut [0; 8]), 4);
    }
}
