//! Files, descriptors, mounts. Each module names the Linux file it follows.
