//! What depends on the processor.

mod x86_64;
