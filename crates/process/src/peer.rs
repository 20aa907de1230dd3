//! Who is at the other end of a unix socket.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The effective user of the process at the other end, at the time when it connected (unix(7), `SO_PEERCRED`).
pub fn peer_user(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut peer = MaybeUninit::<libc::ucred>::uninit();
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the pointers are to a `ucred` and to its length, which live until the call returns.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            peer.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, and the kernel writes the whole of a `ucred`.
    let libc::ucred { uid, pid, .. } = unsafe { peer.assume_init() };
    // A socket of another family has the option, too, and nobody at the other end.
    if pid <= 0 { Err(io::ErrorKind::NotConnected.into()) } else { Ok(uid) }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::peer_user;

    #[test]
    fn is_this_user_in_a_pair_of_ones_own() {
        let (one, _other) = UnixStream::pair().expect("a pair of sockets");
        // SAFETY: the call has no preconditions.
        let own = unsafe { libc::geteuid() };
        assert_eq!(peer_user(one.as_fd()).expect("the peer"), own);
    }

    #[test]
    fn is_nobody_for_other_sockets() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        assert!(peer_user(socket.as_fd()).is_err());
    }
}
