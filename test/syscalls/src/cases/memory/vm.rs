//! Other processes' memory.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn process_vm_reads_and_writes_a_child(t: &mut Guest) {
    let map = t.pages(2);
    map.put(0, b"parent");
    let pipe = t.pipe();
    let (ready, go) = (t.pipe(), t.pipe());
    let child = t.fork(|| {
        map.put(0, b"child!");
        ready.signal();
        go.wait();
        expect_eq!(map.bytes(PAGE - 2, 4), b"wxyz");
        pipe.signal();
    });
    ready.wait();
    let mut local = [0_u8; 6];
    let remote = [iovec { iov_base: map.address as *mut c_void, iov_len: 6 }];
    sys!(process_vm_readv(child.pid, &[iov(&local)], 1, &remote, 1, 0)).is(6);
    expect_eq!(std::hint::black_box(&mut local), b"child!");
    let remote = [iovec { iov_base: (map.page(1) - 2) as *mut c_void, iov_len: 4 }];
    sys!(process_vm_writev(child.pid, &[iov(b"wx"), iov(b"yz")], 2, &remote, 1, 0)).is(4);
    go.signal();
    child.done();
}

#[case(as_root, as_user)]
fn process_vm_checks_target_and_addresses(t: &mut Guest) {
    let own = sys!(getpid()).ok();
    let local = [0_u8; 16];
    let page = t.page_at_border();
    let remote =
        |address: usize, length: usize| [iovec { iov_base: address as *mut c_void, iov_len: length }];
    sys!(process_vm_readv(own, &[iov(&local)], 1, &remote(8, 4), 1, 0)).fails(EFAULT);
    let across = remote(page.address + PAGE - 3, 16);
    sys!(process_vm_readv(own, &[iov(&local)], 1, &across, 1, 0)).is(3);
    sys!(process_vm_readv(own, &[iov(&local)], 1, &across, 1, 1)).fails(EINVAL);
    sys!(process_vm_readv(0x3fff_ffff, &[iov(&local)], 1, &across, 1, 0)).fails(ESRCH);
}

#[case(as_user)]
fn process_vm_of_anothers_process_is_eperm(t: &mut Guest) {
    t.needs_a_foreign_init();
    let local = [0_u8; 16];
    sys!(process_vm_readv(1, &[iov(&local)], 1, &[iov(&local)], 1, 0)).fails(EPERM);
}

#[case(as_root, as_user)]
fn proc_mem_reads_and_writes_by_address(t: &mut Guest) {
    let map = t.pages(1);
    map.put(0, b"before");
    let fd = t.open("/proc/self/mem", O_RDWR);
    let mut bytes = [0_u8; 6];
    sys!(pread64(fd, &mut bytes, 6, map.address)).is(6);
    expect_eq!(&bytes, b"before");
    sys!(pwrite64(fd, b"after!", 6, map.address)).is(6);
    expect_eq!(map.bytes(0, 6), b"after!");
    sys!(pread64(fd, &mut bytes, 6, 8)).fails(EIO);
}
