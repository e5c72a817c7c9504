//! The `ioctl(2)` requests that are made while guests run, for the sentry's filter. Those of setting up, before the sentry
//! confines itself, are not among them.
//!
//! Linux: include/uapi/linux/kvm.h.

use kvm_bindings::{
    kvm_cpuid2, kvm_device_attr, kvm_msrs, kvm_sregs, kvm_userspace_memory_region, kvm_vcpu_events, kvm_xcrs,
    kvm_xsave,
};

const NONE: u32 = 0;
const WRITE: u32 = 1;
const READ: u32 = 2;

/// `_IOC`, with the type of KVM.
const fn request(direction: u32, number: u32, size: usize) -> u32 {
    const KVMIO: u32 = 0xae;
    assert!(size < 1 << 14);
    #[allow(clippy::cast_possible_truncation)] // Just checked.
    let size = size as u32;
    direction << 30 | size << 16 | KVMIO << 8 | number
}

/// `KVM_SET_DEVICE_ATTR`.
pub(crate) const KVM_SET_DEVICE_ATTR: u32 = request(WRITE, 0xe1, size_of::<kvm_device_attr>());

/// Made on the virtual machine's descriptor.
pub const VM: [u32; 2] = [
    // KVM_CREATE_VCPU, KVM_SET_USER_MEMORY_REGION
    request(NONE, 0x41, 0),
    request(WRITE, 0x46, size_of::<kvm_userspace_memory_region>()),
];

/// Made on virtual processors' descriptors. The most frequent one is first.
pub const VCPU: [u32; 11] = [
    // KVM_RUN
    request(NONE, 0x80, 0),
    // KVM_GET_XSAVE, KVM_SET_XSAVE
    request(READ, 0xa4, 4096),
    request(WRITE, 0xa5, size_of::<kvm_xsave>()),
    // KVM_GET_SREGS, KVM_SET_SREGS, KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS
    request(READ, 0x83, size_of::<kvm_sregs>()),
    request(WRITE, 0x84, size_of::<kvm_sregs>()),
    request(READ, 0x9f, size_of::<kvm_vcpu_events>()),
    request(WRITE, 0xa0, size_of::<kvm_vcpu_events>()),
    // KVM_SET_CPUID2, KVM_SET_XCRS, KVM_SET_MSRS
    request(WRITE, 0x90, size_of::<kvm_cpuid2>()),
    request(WRITE, 0xa7, size_of::<kvm_xcrs>()),
    request(WRITE, 0x89, size_of::<kvm_msrs>()),
    KVM_SET_DEVICE_ATTR,
];

// Every request of a virtual processor with a structure says how long that is; the numbers are as the kernel prints them.
const _: () = assert!(KVM_SET_DEVICE_ATTR == 0x4018_aee1 && VCPU[0] == 0xae80 && VCPU[1] == 0x9000_aea4);
const _: () = assert!(VM[1] == 0x4020_ae46 && VCPU[9] == 0x4008_ae89 && VCPU[7] == 0x4008_ae90);
