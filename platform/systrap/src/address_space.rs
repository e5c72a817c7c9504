//! The handle the sentry holds on a stub process.

use crate::process::StubProcess;
use platform::{AddressSpace, MapOp, PlatformError};
use std::any::Any;
use std::sync::Arc;

/// An address space: a share in a stub process.
pub(crate) struct SystrapAddressSpace {
    process: Arc<StubProcess>,
}

impl SystrapAddressSpace {
    pub(crate) fn new(process: Arc<StubProcess>) -> SystrapAddressSpace {
        SystrapAddressSpace { process }
    }

    pub(crate) fn process(&self) -> &Arc<StubProcess> {
        &self.process
    }
}

impl AddressSpace for SystrapAddressSpace {
    fn apply(&self, ops: Vec<MapOp>) -> Result<(), PlatformError> {
        self.process.apply(ops)
    }

    fn id(&self) -> u64 {
        self.process.id
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
