//! Futexes.

mod pi;
mod requeue;
mod robust;
mod wait;
mod waitv;
