//! The status codes of the Proxy-Wasm ABI, and how a host call ends early.
//!
//! A host call either answers the filter with a [`Status`] or stops the VM
//! (`Refusal::Trap`): the filter's allocator trapped, or the call is one that
//! this host does not play.

/// The result of one host call, as the filter sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Ok = 0,
    NotFound = 1,
    BadArgument = 2,
    InvalidMemoryAccess = 6,
    CasMismatch = 8,
    InternalFailure = 10,
}

/// Why a host call did not come to its end.
pub(crate) enum Refusal {
    Status(Status),
    Trap(wasmi::Error),
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<wasmi::Error> for Refusal {
    fn from(error: wasmi::Error) -> Self {
        Self::Trap(error)
    }
}
