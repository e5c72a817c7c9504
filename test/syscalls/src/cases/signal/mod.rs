//! Signals.

mod context;
mod deliver;
mod fault;
mod interrupt;
mod queue;
mod stack;
mod stop;
mod wait;
