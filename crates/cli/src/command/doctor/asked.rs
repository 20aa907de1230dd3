use malloc_backend::MemoryAllocatorBackend;

/// What is asked for.
pub struct Asked {
    pub pid: Option<u32>,
    pub expected: Option<MemoryAllocatorBackend>,
    pub memory: bool,
}
