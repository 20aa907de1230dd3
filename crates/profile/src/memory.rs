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

/// The most addresses for [`gather`].
pub const MOST: usize = 128;

/// Reads as many words from each address, one after another, by one system call. False if one of them has not all of its words.
pub fn gather(addresses: &[usize], each: usize, words: &mut [usize]) -> bool {
    let Some(words) = words.get_mut(..addresses.len() * each) else { return false };
    let local = libc::iovec { iov_base: words.as_mut_ptr().cast(), iov_len: size_of_val(words) };
    let mut remote = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; MOST];
    let Some(remote) = remote.get_mut(..addresses.len()) else { return false };
    for (part, address) in remote.iter_mut().zip(addresses) {
        *part = libc::iovec { iov_base: *address as *mut _, iov_len: each * size_of::<usize>() };
    }
    let count = remote.len() as libc::c_ulong;
    // SAFETY: the kernel writes to the words and no further, and checks the addresses that it reads from.
    let read = unsafe { libc::process_vm_readv(pid(), &raw const local, 1, remote.as_ptr(), count, 0) };
    usize::try_from(read) == Ok(local.iov_len)
}

/// Reads a word, and words from another address, by one system call.
pub fn word_and_words<const N: usize>(first: usize, others: usize) -> Option<(usize, [usize; N])> {
    let (mut word, mut words) = (0_usize, [0_usize; N]);
    let (one, many) = (size_of::<usize>(), size_of_val(&words));
    let part = |start: *mut libc::c_void, length| libc::iovec { iov_base: start, iov_len: length };
    let local = [part((&raw mut word).cast(), one), part(words.as_mut_ptr().cast(), many)];
    let remote = [part(first as *mut _, one), part(others as *mut _, many)];
    // SAFETY: as above.
    let read = unsafe { libc::process_vm_readv(pid(), local.as_ptr(), 2, remote.as_ptr(), 2, 0) };
    (usize::try_from(read) == Ok(one + many)).then_some((word, words))
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
    fn gathers() {
        let here = [1_usize, 2, 3, 4];
        let at = |index: usize| (&raw const here[index]).addr();
        let mut words = [0; 6];
        assert!(gather(&[at(2), at(0), at(1)], 2, &mut words));
        assert_eq!(words, [3, 4, 1, 2, 2, 3]);
        assert!(!gather(&[at(2), 8], 2, &mut words));
        assert!(!gather(&[at(0); 4], 2, &mut words));
        assert_eq!(word_and_words(at(3), at(0)), Some((4, [1, 2])));
        assert_eq!(word_and_words::<2>(at(3), 8), None);
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
