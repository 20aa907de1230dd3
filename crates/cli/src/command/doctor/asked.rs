use malloc_backend::MemoryAllocatorBackend;

/// The options of `doctor`, parsed.
pub struct Asked {
    pub pid: Option<u32>,
    pub expected: Option<MemoryAllocatorBackend>,
    pub memory: bool,
}
