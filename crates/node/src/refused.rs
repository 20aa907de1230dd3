use malloc_backend_pool::Refusal;
use napi_derive::napi;

use crate::external::Failure;

/// Why a function has no result. `No`, where a function has none, says that all is well.
#[napi]
pub enum Refused {
    No = 0,
    Limit = 1,
    OutOfMemory = 2,
    External = 3,
    NotAllocated = 4,
    Failed = 5,
    Unsupported = 6,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Limit => Self::Limit,
            Refusal::OutOfMemory => Self::OutOfMemory,
        }
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Limit => Self::Limit,
            Failure::Refused => Self::External,
            Failure::Failed => Self::Failed,
        }
    }
}
