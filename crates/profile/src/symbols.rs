//! The names of native functions, by the symbols in the modules' files.
//!
//! A file is read once for all addresses in it: each of its symbols is looked up among the addresses. (`dladdr` reads the
//! program's whole table for each address, which takes a millisecond for each in Node.)

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use memmap2::Mmap;
use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSymbol, SymbolKind};

/// The mangled names of functions, by addresses in the functions.
pub type Names = BTreeMap<u64, String>;

/// Finds the functions that hold the addresses, which are those in the file.
pub fn names(path: &Path, build_id: &[u8], addresses: &[u64]) -> Names {
    find(path, build_id, addresses).unwrap_or_default()
}

fn find(path: &Path, build_id: &[u8], addresses: &[u64]) -> Option<Names> {
    let file = File::open(path).ok()?;
    // SAFETY: a program or a library in use is replaced and not written to, and the map does not outlive this function.
    let map = unsafe { Mmap::map(&file).ok()? };
    let file = ElfFile64::<Endianness>::parse(&*map).ok()?;
    // Another version may have come to the same path since the module was loaded.
    if !build_id.is_empty() && file.build_id().ok()?? != build_id {
        return None;
    }
    let mut sorted = addresses.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    // Of each address the best so far: the start of the function.
    let mut best: BTreeMap<u64, (u64, &str)> = BTreeMap::new();
    for symbol in file.symbols().chain(file.dynamic_symbols()) {
        if symbol.kind() != SymbolKind::Text || symbol.is_undefined() {
            continue;
        }
        let (start, size) = (symbol.address(), symbol.size());
        let first = sorted.partition_point(|address| *address < start);
        let inside = sorted[first..].iter().take_while(|address| **address - start < size.max(1));
        for address in inside {
            if best.get(address).is_none_or(|(other, _)| *other < start)
                && let Ok(name) = symbol.name()
                && !name.is_empty()
            {
                best.insert(*address, (start, name));
            }
        }
    }
    Some(best.into_iter().map(|(address, (_, name))| (address, name.to_owned())).collect())
}

/// A mangled name as people write it, without the parameters.
pub fn demangled(name: &str) -> String {
    if let Ok(name) = rustc_demangle::try_demangle(name) {
        return format!("{name:#}");
    }
    let options = cpp_demangle::DemangleOptions::default().no_params().no_return_type();
    let demangled =
        cpp_demangle::Symbol::new(name).ok().and_then(|name| name.demangle_with_options(&options).ok());
    demangled.unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules;

    #[test]
    fn finds_functions_of_this_program() {
        let function = names as *const () as usize;
        let mut found = Names::new();
        modules::each(|module| {
            if module.is_program() {
                let address = (function - module.base()) as u64 + 1;
                let build_id = module.build_id().unwrap_or_default().to_vec();
                found = names(&module.path(), &build_id, &[address, 3]);
                assert_eq!(names(&module.path(), &[1, 2, 3], &[address]), Names::new());
            }
        });
        assert_eq!(found.len(), 1);
        let name = demangled(found.values().next().unwrap());
        assert!(name.ends_with("symbols::names"), "{name}");
    }

    #[test]
    fn demangles() {
        assert_eq!(demangled("_ZN4node6Buffer3NewEPN2v87IsolateEm"), "node::Buffer::New");
        assert_eq!(demangled("deflateInit2_"), "deflateInit2_");
    }
}
