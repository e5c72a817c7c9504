//! [`Mutex`] and [`RwLock`] over `parking_lot`, with a level in the type.

use crate::order;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A mutual exclusion lock of order `LEVEL`.
pub struct Mutex<T: ?Sized, const LEVEL: u16> {
    inner: parking_lot::Mutex<T>,
}

/// Releases its [`Mutex`] when dropped.
pub struct MutexGuard<'a, T: ?Sized, const LEVEL: u16> {
    guard: parking_lot::MutexGuard<'a, T>,
}

impl<T, const LEVEL: u16> Mutex<T, LEVEL> {
    /// A new, unlocked mutex.
    pub const fn new(value: T) -> Self {
        Mutex { inner: parking_lot::Mutex::new(value) }
    }

    /// The value, which nobody else can hold any more.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<T: ?Sized, const LEVEL: u16> Mutex<T, LEVEL> {
    /// Takes the lock.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T, LEVEL> {
        order::acquire(LEVEL, false);
        MutexGuard { guard: self.inner.lock() }
    }

    /// Takes the lock while another one of the same level is held. The caller has ordered the two, by address or by
    /// their place in a tree.
    #[inline]
    #[track_caller]
    pub fn lock_nested(&self) -> MutexGuard<'_, T, LEVEL> {
        order::acquire(LEVEL, true);
        MutexGuard { guard: self.inner.lock() }
    }

    /// Takes the lock if it is free.
    #[inline]
    #[track_caller]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T, LEVEL>> {
        let guard = self.inner.try_lock()?;
        order::acquire(LEVEL, true);
        Some(MutexGuard { guard })
    }

    /// The value, through an exclusive reference to the mutex.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }
}

impl<T: Default, const LEVEL: u16> Default for Mutex<T, LEVEL> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

impl<T: ?Sized, const LEVEL: u16> Deref for MutexGuard<'_, T, LEVEL> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: ?Sized, const LEVEL: u16> DerefMut for MutexGuard<'_, T, LEVEL> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T: ?Sized, const LEVEL: u16> Drop for MutexGuard<'_, T, LEVEL> {
    fn drop(&mut self) {
        order::release(LEVEL);
    }
}

/// A reader-writer lock of order `LEVEL`.
pub struct RwLock<T: ?Sized, const LEVEL: u16> {
    inner: parking_lot::RwLock<T>,
}

/// Shared access to an [`RwLock`]'s value.
pub struct RwLockReadGuard<'a, T: ?Sized, const LEVEL: u16> {
    guard: parking_lot::RwLockReadGuard<'a, T>,
}

/// Exclusive access to an [`RwLock`]'s value.
pub struct RwLockWriteGuard<'a, T: ?Sized, const LEVEL: u16> {
    guard: parking_lot::RwLockWriteGuard<'a, T>,
}

impl<T, const LEVEL: u16> RwLock<T, LEVEL> {
    /// A new, unlocked lock.
    pub const fn new(value: T) -> Self {
        RwLock { inner: parking_lot::RwLock::new(value) }
    }

    /// The value, which nobody else can hold any more.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<T: ?Sized, const LEVEL: u16> RwLock<T, LEVEL> {
    /// Takes the lock for reading.
    #[inline]
    #[track_caller]
    pub fn read(&self) -> RwLockReadGuard<'_, T, LEVEL> {
        order::acquire(LEVEL, false);
        RwLockReadGuard { guard: self.inner.read() }
    }

    /// Takes the lock for writing.
    #[inline]
    #[track_caller]
    pub fn write(&self) -> RwLockWriteGuard<'_, T, LEVEL> {
        order::acquire(LEVEL, false);
        RwLockWriteGuard { guard: self.inner.write() }
    }

    /// As [`RwLock::write`], while another lock of the same level is held, taken in an order the caller vouches for.
    #[inline]
    #[track_caller]
    pub fn write_nested(&self) -> RwLockWriteGuard<'_, T, LEVEL> {
        order::acquire(LEVEL, true);
        RwLockWriteGuard { guard: self.inner.write() }
    }

    /// The value, through an exclusive reference to the lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }
}

impl<T: Default, const LEVEL: u16> Default for RwLock<T, LEVEL> {
    fn default() -> Self {
        RwLock::new(T::default())
    }
}

impl<T: ?Sized, const LEVEL: u16> Deref for RwLockReadGuard<'_, T, LEVEL> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: ?Sized, const LEVEL: u16> Drop for RwLockReadGuard<'_, T, LEVEL> {
    fn drop(&mut self) {
        order::release(LEVEL);
    }
}

impl<T: ?Sized, const LEVEL: u16> Deref for RwLockWriteGuard<'_, T, LEVEL> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: ?Sized, const LEVEL: u16> DerefMut for RwLockWriteGuard<'_, T, LEVEL> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T: ?Sized, const LEVEL: u16> Drop for RwLockWriteGuard<'_, T, LEVEL> {
    fn drop(&mut self) {
        order::release(LEVEL);
    }
}

impl<T: fmt::Debug, const LEVEL: u16> fmt::Debug for Mutex<T, LEVEL> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<T: fmt::Debug, const LEVEL: u16> fmt::Debug for RwLock<T, LEVEL> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "lock order")]
    fn taking_a_lower_level_is_caught() {
        let low: Mutex<(), 1> = Mutex::new(());
        let high: Mutex<(), 2> = Mutex::new(());
        let _high = high.lock();
        let _low = low.lock();
    }

    #[test]
    fn rising_levels_and_release_are_fine() {
        let low: Mutex<u8, 1> = Mutex::new(1);
        let high: RwLock<u8, 2> = RwLock::new(2);
        for _ in 0..2 {
            let l = low.lock();
            let h = high.read();
            assert_eq!((*l, *h), (1, 2));
        }
    }
}
