//! The status codes of the Proxy-Wasm ABI, and how a host call ends early.
//!
//! A host call either answers the filter with a [`Status`] or stops the VM
//! (`Refusal::Trap`): the filter's allocator trapped, or the call is one that
//! this host does not play.

/// The result of one host call, as the filter sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// 0: the call did what it should
    Ok = 0,
    /// 1: there is no such value, function or stream
    NotFound = 1,
    /// 2: the call makes no sense, or not here
    BadArgument = 2,
    /// 6: an address outside of the VM's memory
    InvalidMemoryAccess = 6,
    /// 8: somebody else has written to the shared data
    CasMismatch = 8,
    /// 10: the call made sense and failed
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
