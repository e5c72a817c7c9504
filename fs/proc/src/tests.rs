//! Files of a kernel with one process.
