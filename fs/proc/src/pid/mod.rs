//! `/proc/[pid]` and `/proc/[pid]/task/[tid]`. Linux: fs/proc/base.c.

mod cmdline;
mod comm;
mod dir;
mod entry;
mod fd;
mod gid_map;
mod id_map;
mod identity;
mod ids;
mod limits;
mod links;
mod maps;
mod mem;
mod misc;
mod mounts;
mod ns;
mod oom;
mod projid_map;
mod setgroups;
mod smaps;
mod stat;
mod status;
mod subject;
mod task_dir;
mod timens_offsets;
mod uid_map;

pub(crate) use dir::PidDir;
pub(crate) use fd::name_to_int;
pub(crate) use subject::{ProcTask, Subject};
