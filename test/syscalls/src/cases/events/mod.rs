//! Pipes, and the calls that wait for events.

mod epoll;
mod eventfd;
mod fifo;
mod pipe;
mod poll;
mod signalfd;
mod timerfd;
