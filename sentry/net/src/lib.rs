//! Placeholder.
use std::sync::Arc;
pub struct NetNamespace { pub user_ns: Arc<sentry_auth::UserNamespace> }
impl NetNamespace {
    pub fn new_initial(user_ns: Arc<sentry_auth::UserNamespace>, _clocks: Arc<sentry_time::Clocks>) -> Arc<NetNamespace> { Arc::new(NetNamespace { user_ns }) }
    pub fn copy_net_ns(&self, user_ns: Arc<sentry_auth::UserNamespace>) -> Arc<NetNamespace> { Arc::new(NetNamespace { user_ns }) }
}
