//! Where the function that runs Python code lies. Up to 3.9 nothing else marks its frames on the native stack.

use std::fs::File;
use std::ops::Range;

use memmap2::Mmap;
use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSymbol};

use crate::modules;

const NAME: &str = "_PyEval_EvalFrameDefault";

/// The code of the evaluator, of whose address the caller is sure: the function, and the parts that the compiler has moved
/// away from it (`.cold`).
pub fn parts(evaluator: usize) -> Vec<Range<usize>> {
    let mut module = None;
    modules::each(|each| {
        if each.code.contains(&evaluator) {
            module = Some((each.base(), each.path()));
        }
    });
    let found = module.and_then(|(base, path)| {
        let file = File::open(path).ok()?;
        // SAFETY: a program or a library in use is replaced and not written to, and the map does not outlive this function.
        let map = unsafe { Mmap::map(&file).ok()? };
        let file = ElfFile64::<Endianness>::parse(&*map).ok()?;
        let symbols = file.symbols().chain(file.dynamic_symbols());
        let parts = symbols.filter(|symbol| {
            symbol.name().is_ok_and(|name| {
                name.strip_prefix(NAME).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        });
        let range = |start: usize, size: u64| base + start..base + start + size as usize;
        Some(parts.map(|symbol| range(symbol.address() as usize, symbol.size())).collect::<Vec<_>>())
    });
    // Another version may have come to the same path since it was loaded.
    found.filter(|parts| parts.iter().any(|part| part.start == evaluator)).unwrap_or_default()
}
