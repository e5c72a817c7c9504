//! Linux: arch/x86/kernel/fpu/regset.c. The extended state of a stopped thread.

use crate::tracee::ptrace_error;
use platform::{FpState, PlatformError};
use platform_host::ptrace;
use platform_host::xstate::XstateLayout;

/// More than any processor's image (with AMX tiles it is 11 KiB).
const MAX_XSTATE: usize = 64 * 1024;

/// Learns the layout from a stopped thread.
pub(crate) fn layout_of_tracee(tid: i32) -> Result<XstateLayout, PlatformError> {
    let mut image = vec![0; MAX_XSTATE];
    let len = ptrace::get_xstate(tid, &mut image).map_err(|errno| {
        PlatformError::Unavailable(format!("the processor must have XSAVE: PTRACE_GETREGSET: {errno}"))
    })?;
    image.truncate(len);
    XstateLayout::of_image(&image)
}

/// Reads the state of a stopped thread.
pub(crate) fn read(layout: &XstateLayout, tid: i32) -> Result<FpState, PlatformError> {
    let mut image = vec![0; layout.initial().len()];
    let len = ptrace::get_xstate(tid, &mut image).map_err(ptrace_error("PTRACE_GETREGSET"))?;
    image.truncate(len);
    Ok(FpState::from_bytes(image))
}

/// Loads a checked image into a stopped thread.
pub(crate) fn load(tid: i32, image: &[u8]) -> Result<(), PlatformError> {
    ptrace::set_xstate(tid, image).map_err(ptrace_error("PTRACE_SETREGSET"))
}
