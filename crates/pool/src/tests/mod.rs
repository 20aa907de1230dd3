mod recorder;

#[cfg(loom)]
mod loom;

#[cfg(not(loom))]
mod account;
#[cfg(not(loom))]
mod cache;
#[cfg(not(loom))]
mod heap;
#[cfg(not(loom))]
mod quarantine;
#[cfg(all(not(loom), unix, feature = "jemalloc"))]
mod region;
#[cfg(not(loom))]
mod slots;
