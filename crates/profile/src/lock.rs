//! A lock for what starts and stops a profile. It is not [`std::sync::Mutex`], because a fork must be able to take it before
//! and to open it after, in the parent and in the child.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};

/// A value that one thread at a time may use.
pub struct Lock<T> {
    is_held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: only the thread that holds the lock gets at the value.
unsafe impl<T: Send> Sync for Lock<T> {}

/// The right to use the value, until it is dropped.
pub struct Held<'a, T>(&'a Lock<T>);

impl<T> Lock<T> {
    /// An open lock.
    pub const fn new(value: T) -> Self {
        Self { is_held: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// The value, unless someone has it.
    pub fn try_hold(&self) -> Option<Held<'_, T>> {
        let free = self.is_held.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        free.is_ok().then_some(Held(self))
    }

    /// The value, as soon as nobody has it.
    pub fn hold(&self) -> Held<'_, T> {
        loop {
            if let Some(held) = self.try_hold() {
                return held;
            }
            std::thread::yield_now();
        }
    }

    /// Opens the lock.
    ///
    /// # Safety
    /// The thread has forgotten a [`Held`] of the lock, or is the child's of a thread that has.
    pub unsafe fn open(&self) {
        self.is_held.store(false, Ordering::Release);
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this thread holds the lock.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this thread holds the lock.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        self.0.is_held.store(false, Ordering::Release);
    }
}
