//! Linux: include/linux/uidgid.h. Kernel ids are types of their own; only a user namespace converts them.

use crate::UserNamespace;

/// What an id without a mapping shows as: `/proc/sys/kernel/overflowuid`.
pub const OVERFLOW_ID: u32 = 65534;

macro_rules! kernel_id {
    ($name:ident, $what:literal, $make:ident, $from:ident, $munged:ident, $map:ident) => {
        #[doc = concat!("A ", $what, " as the kernel stores it: an id of the first user namespace.")]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(u32);

        impl $name {
            /// The id no namespace maps; what a failed conversion gives.
            pub const INVALID: $name = $name(u32::MAX);
            /// Id 0 of the first user namespace.
            pub const GLOBAL_ROOT: $name = $name(0);

            /// The id with this number in the first user namespace.
            pub const fn from_global(id: u32) -> $name {
                $name(id)
            }

            /// The number in the first user namespace.
            pub const fn to_global(self) -> u32 {
                self.0
            }

            /// Whether this is an id at all.
            pub const fn is_valid(self) -> bool {
                self.0 != u32::MAX
            }
        }

        impl UserNamespace {
            #[doc = concat!("The kernel id of ", $what, " `id` of this namespace, or `INVALID` without a mapping.")]
            pub fn $make(&self, id: u32) -> $name {
                self.$map().map_down(id).map_or($name::INVALID, $name)
            }

            #[doc = concat!("The ", $what, " this namespace knows the kernel id by.")]
            pub fn $from(&self, id: $name) -> Option<u32> {
                self.$map().map_up(id.0)
            }

            #[doc = concat!("As the unmunged form, with the overflow id for a ", $what, " that has no mapping.")]
            pub fn $munged(&self, id: $name) -> u32 {
                self.$from(id).unwrap_or(OVERFLOW_ID)
            }
        }
    };
}

kernel_id!(Kuid, "user id", make_kuid, from_kuid, from_kuid_munged, uid_map);
kernel_id!(Kgid, "group id", make_kgid, from_kgid, from_kgid_munged, gid_map);
