//! User namespaces, and the namespaces that they own.

mod boundary;
mod capability;
mod create;
mod exec;
mod extents;
mod file_caps;
mod files;
mod gid_map;
mod identity;
mod ids;
mod limits;
mod map_text;
mod mount;
mod nsfs;
mod opener;
mod others;
mod pid;
mod posix_acl;
mod setgroups;
mod setgroups_file;
mod setns;
mod setns_pidfd;
mod status;
mod uid_map;
