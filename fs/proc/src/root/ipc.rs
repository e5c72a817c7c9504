//! `/proc/sysvipc`: titles only. Linux: ipc/{msg,sem,shm}.c.

use fs_kernfs::simple::text;
use fs_kernfs::{Node, StaticDir};

const MSG: &str = "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      \
                   stime      rtime      ctime\n";
const SEM: &str = "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n";
const SHM: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      \
                   atime      dtime      ctime                   rss                  swap\n";

pub(super) fn dir() -> Node {
    StaticDir::new(0o555)
        .with("msg", text(0o444, MSG))
        .with("sem", text(0o444, SEM))
        .with("shm", text(0o444, SHM))
        .node()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_the_native_kernels() {
        for (name, ours) in [("msg", MSG), ("sem", SEM), ("shm", SHM)] {
            let native = std::fs::read_to_string(format!("/proc/sysvipc/{name}")).unwrap_or_default();
            assert_eq!(native.lines().next(), ours.lines().next());
        }
    }
}
