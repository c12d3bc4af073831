//! Between host and guest: what the guest may call, what it calls, and how values cross.

pub(crate) mod calls;
pub(crate) mod imports;
pub(crate) mod marshal;
pub(crate) mod pystr;
pub(crate) mod record;
pub(crate) mod request;
pub(crate) mod state;
