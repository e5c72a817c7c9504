//! The terminal whose master the kernel holds.

use super::Fixture;
use crate::Console;
use fs_vfs::{At, do_mknodat};
use sentry_auth::Kuid;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EIO, ENODEV};
use sentry_uapi::stat::{S_IFCHR, makedev};

#[test]
fn output_is_pumped_to_its_end() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let console = Console::new(&fs.ctx, Kuid::GLOBAL_ROOT, 24, 80)?;
    let stdio = console.open(&fs.ctx)?;
    do_mknodat(&fs.ctx, &At::Cwd, b"/console", S_IFCHR | 0o666, makedev(5, 1))?;
    let device = fs.open("/console")?;
    let mut shown = Vec::new();
    std::thread::scope(|scope| -> Result<(), Errno> {
        let pump = scope.spawn(|| console.pump(&mut shown));
        console.input(b"typed\r");
        assert_eq!(fs.read(&stdio, 100)?, b"typed\n");
        for _ in 0..1000 {
            fs.write(&stdio, &[b'x'; 100])?;
        }
        fs.write(&device, b"last")?;
        console.finish();
        assert!(pump.join().is_ok());
        Ok(())
    })?;
    assert_eq!(
        (shown.len(), shown.starts_with(b"typed\r\nxx"), shown.ends_with(b"xlast")),
        (100_011, true, true)
    );
    Ok(())
}

#[test]
fn a_hang_up_ends_everything() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let console = Console::new(&fs.ctx, Kuid::GLOBAL_ROOT, 24, 80)?;
    let stdio = console.open(&fs.ctx)?;
    let mut sink = Vec::new();
    std::thread::scope(|scope| {
        let pump = scope.spawn(|| console.pump(&mut sink));
        // More than there is room for.
        let input = scope.spawn(|| console.input(&[b'y'; 1 << 16]));
        console.hang_up();
        assert!(pump.join().is_ok());
        assert!(input.join().is_ok());
    });
    assert_eq!((fs.read(&stdio, 10)?, fs.write(&stdio, b"x")), (vec![], Err(EIO)));
    assert!(console.open(&fs.ctx).is_err());
    fs_vfs::do_umount(&fs.ctx, b"/pts", 2)?;
    assert_eq!(Console::new(&fs.ctx, Kuid::GLOBAL_ROOT, 1, 1).err(), Some(ENODEV));
    Ok(())
}
