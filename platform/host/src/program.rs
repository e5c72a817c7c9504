//! The memory that the sentry's own program takes.

use std::ffi::{c_int, c_void};

/// Takes the pages of the program's file and of its libraries' out of the page tables, as far as nothing has written to
/// them: most of them were for start-up alone. Those still needed come back from the page cache when they are next touched,
/// sixteen at a time. Linux: `free_initmem`; madvise(2), MADV_DONTNEED.
pub fn forget_start_up() {
    // SAFETY: the callback has the type asked for, and does not unwind.
    unsafe { libc::dl_iterate_phdr(Some(forget), std::ptr::null_mut()) };
}

unsafe extern "C" fn forget(info: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
    const PAGE: u64 = 4096;
    // SAFETY: the caller passes a structure that is valid during the call, with as many headers as it says.
    let (base, headers) = unsafe {
        let info = &*info;
        (info.dlpi_addr, std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)))
    };
    for header in headers {
        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0 {
            let start = base.wrapping_add(header.p_vaddr) & !(PAGE - 1);
            let end = base.wrapping_add(header.p_vaddr).wrapping_add(header.p_memsz);
            let len = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
            // SAFETY: a private mapping of a file that was never writable: its pages are the file's, and come back as they
            // were. The vDSO's mapping refuses.
            unsafe { libc::madvise(start as *mut c_void, len, libc::MADV_DONTNEED) };
        }
    }
    0
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_program_goes_on_with_less_of_its_file_in_memory() {
        let mapped = || {
            let rollup = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
            let mut lines = rollup.lines().skip_while(|line| !line.contains(" r-xp "));
            let rss = lines.find_map(|line| line.strip_prefix("Rss:")).unwrap_or_default();
            rss.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0)
        };
        let before = mapped();
        super::forget_start_up();
        let after = mapped();
        assert!(0 < after && after < before, "{before} kB before, {after} kB after");
    }
}
