use crate::NetNamespace;
use crate::proto_ops::ProtoOps;
use sentry_uapi::Errno;
use sentry_uapi::errno::EPROTONOSUPPORT;
use std::sync::Arc;
pub(crate) fn create(_net: &Arc<NetNamespace>, _ty: u32, _protocol: i32) -> Result<Arc<dyn ProtoOps>, Errno> {
    Err(EPROTONOSUPPORT)
}
