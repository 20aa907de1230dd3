//! The program and the libraries in this process, as the dynamic loader has them in memory.

use std::ffi::{CStr, OsString, c_int, c_void};
use std::ops::Range;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::slice;

use object::elf;

/// A symbol of the dynamic symbol table.
type Symbol = libc::Elf64_Sym;

/// A relocation with an addend.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Relocation {
    /// What is relocated, from the module's base.
    pub offset: u64,
    info: u64,
    /// What is added to the symbol's value.
    pub addend: i64,
}

impl Relocation {
    /// The type of the machine's.
    pub fn kind(&self) -> u32 {
        self.info as u32
    }

    fn symbol(&self) -> usize {
        (self.info >> 32) as usize
    }
}

/// A loaded module. It refers to the module's memory, so it must not outlive the [`each`] that it comes from.
pub struct Module<'a> {
    info: &'a libc::dl_phdr_info,
    dynamic: Dynamic,
    /// The range of the code.
    pub code: Range<usize>,
    /// What the loader has made read-only after it relocated it, in whole pages.
    pub read_only: Range<usize>,
}

#[derive(Default)]
struct Dynamic {
    symbols: usize,
    strings: usize,
    hashes: usize,
    relocations: [(usize, usize); 2],
}

impl<'a> Module<'a> {
    /// What is added to the addresses in the file.
    pub fn base(&self) -> usize {
        self.info.dlpi_addr as usize
    }

    /// Whether it is the program itself.
    pub fn is_program(&self) -> bool {
        self.raw_name().is_empty()
    }

    fn raw_name(&self) -> &[u8] {
        if self.info.dlpi_name.is_null() {
            return &[];
        }
        // SAFETY: the loader's string.
        unsafe { CStr::from_ptr(self.info.dlpi_name) }.to_bytes()
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        match self.raw_name() {
            [] => std::fs::read_link("/proc/self/exe").unwrap_or_default(),
            name => PathBuf::from(OsString::from_vec(name.to_vec())),
        }
    }

    fn headers(&self) -> &'a [libc::Elf64_Phdr] {
        // SAFETY: the loader's own table.
        unsafe { slice::from_raw_parts(self.info.dlpi_phdr, usize::from(self.info.dlpi_phnum)) }
    }

    fn range(&self, header: &libc::Elf64_Phdr) -> Range<usize> {
        let start = self.base() + header.p_vaddr as usize;
        start..start + header.p_memsz as usize
    }

    /// What is mapped from the file, with the place in the file of each part.
    pub fn segments(&self) -> impl Iterator<Item = (Range<usize>, u64)> {
        let loaded = self.headers().iter().filter(|header| header.p_type == libc::PT_LOAD);
        loaded.map(|header| (self.range(header), header.p_offset))
    }

    /// Whether the loader has mapped the address as data, which may be read-only by now ([`Self::read_only`]).
    pub fn is_writable(&self, address: usize) -> bool {
        let mut data = self
            .headers()
            .iter()
            .filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W != 0);
        data.any(|header| self.range(header).contains(&address))
    }

    /// The build id, where there is one.
    pub fn build_id(&self) -> Option<&[u8]> {
        const GNU: &[u8] = b"GNU\0";
        let notes = self.headers().iter().filter(|header| header.p_type == libc::PT_NOTE);
        notes.filter(|header| self.is_mapped(&self.range(header))).find_map(|header| {
            // SAFETY: a part of what is mapped.
            let mut notes = unsafe { self.bytes(self.range(header)) };
            while let Some((head, rest)) = notes.split_first_chunk::<12>() {
                let [name, size, kind] = [0, 4, 8]
                    .map(|at| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
                let padded = (name as usize).next_multiple_of(4);
                let content = rest.get(padded..)?.get(..size as usize)?;
                if kind == elf::NT_GNU_BUILD_ID.0 && rest.starts_with(GNU) {
                    return Some(content);
                }
                notes = rest.get(padded + (size as usize).next_multiple_of(4)..)?;
            }
            None
        })
    }

    fn is_mapped(&self, range: &Range<usize>) -> bool {
        self.segments().any(|(segment, _)| segment.start <= range.start && range.end <= segment.end)
    }

    /// # Safety
    /// The range is mapped and nobody writes to it.
    unsafe fn bytes(&self, range: Range<usize>) -> &[u8] {
        // SAFETY: the caller's obligation.
        unsafe { slice::from_raw_parts(range.start as *const u8, range.len()) }
    }

    /// `.eh_frame_hdr` and `.eh_frame`, with their addresses.
    pub fn unwind_sections(&self) -> Option<[(usize, &[u8]); 2]> {
        let header = self.headers().iter().find(|header| header.p_type == libc::PT_GNU_EH_FRAME)?;
        let index = self.range(header);
        if !self.is_mapped(&index) {
            return None;
        }
        // SAFETY: mapped, and read-only.
        let head = unsafe { self.bytes(index.clone()) };
        // Version 1; the pointer to the frames is relative to itself and has four bytes. So all linkers make it.
        let &[1, 0x1b, _, _, a, b, c, d, ..] = head else { return None };
        let start = (index.start + 4).checked_add_signed(i32::from_ne_bytes([a, b, c, d]) as isize)?;
        let (segment, _) = self.segments().find(|(segment, _)| segment.contains(&start))?;
        // SAFETY: mapped, and read-only.
        let frames = unsafe { self.bytes(start..segment.end) };
        Some([(index.start, head), (start, &frames[..frames_length(frames)])])
    }

    /// # Safety
    /// The index is of a symbol that the module has.
    unsafe fn symbol(&self, index: usize) -> &Symbol {
        // SAFETY: the loader has used the same table.
        unsafe { &*(self.dynamic.symbols as *const Symbol).add(index) }
    }

    /// # Safety
    /// The symbol is the module's.
    unsafe fn name_of(&self, symbol: &Symbol) -> &CStr {
        // SAFETY: as above.
        unsafe { CStr::from_ptr((self.dynamic.strings as *const libc::c_char).add(symbol.st_name as usize)) }
    }

    /// The relocations that name a symbol, with the symbol's name.
    pub fn relocations(&self) -> impl Iterator<Item = (Relocation, &CStr)> {
        let has_symbols = self.dynamic.symbols != 0 && self.dynamic.strings != 0;
        let tables =
            self.dynamic.relocations.into_iter().filter(move |(start, _)| has_symbols && *start != 0);
        tables.flat_map(move |(start, size)| {
            let count = size / size_of::<Relocation>();
            // SAFETY: the table that the loader has used.
            let table = unsafe { slice::from_raw_parts(start as *const Relocation, count) };
            table.iter().filter(|each| each.symbol() != 0).map(|each| {
                // SAFETY: a relocation's symbol is the module's.
                (*each, unsafe { self.name_of(self.symbol(each.symbol())) })
            })
        })
    }

    /// The address of a symbol that the module defines. (A program that is not position-independent has addresses for functions
    /// of others, too: those of its own linkage table. Such a symbol is not defined.)
    pub fn defined(&self, name: &CStr) -> Option<usize> {
        let Dynamic { symbols, strings, hashes, .. } = self.dynamic;
        if symbols == 0 || strings == 0 || hashes == 0 {
            return None;
        }
        let hash = elf::gnu_hash(name.to_bytes());
        let word = |at: usize| {
            // SAFETY: within the table of hashes, whose form is <https://flapenguin.me/elf-dt-gnu-hash>; every symbol's chain
            // has an end.
            unsafe { *((hashes + at * 4) as *const u32) }
        };
        let [buckets, first, filters] = [0, 1, 2].map(|at| word(at) as usize);
        if buckets == 0 {
            return None;
        }
        let at_buckets = 4 + filters * 2;
        let mut index = word(at_buckets + hash as usize % buckets) as usize;
        if index < first {
            return None;
        }
        loop {
            let found = word(at_buckets + buckets + index - first);
            // SAFETY: the index is in the table of hashes.
            let symbol = unsafe { self.symbol(index) };
            // SAFETY: the module's.
            let is_name = found | 1 == hash | 1 && unsafe { self.name_of(symbol) } == name;
            if is_name && symbol.st_shndx != 0 && symbol.st_value != 0 {
                return Some(self.base() + symbol.st_value as usize);
            }
            if found & 1 != 0 {
                return None;
            }
            index += 1;
        }
    }
}

/// The length of the records up to the one that ends them.
fn frames_length(frames: &[u8]) -> usize {
    let mut at = 0;
    while let Some(length) = frames.get(at..at + 4) {
        match u32::from_ne_bytes([length[0], length[1], length[2], length[3]]) {
            0 => return at + 4,
            u32::MAX => return frames.len(),
            length => at += 4 + length as usize,
        }
    }
    frames.len()
}

const PAGE: usize = 4096;

impl<'a> Module<'a> {
    fn new(info: &'a libc::dl_phdr_info) -> Self {
        let mut module = Self { info, dynamic: Dynamic::default(), code: 0..0, read_only: 0..0 };
        let executable = module.headers().iter().filter(|header| {
            header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0 && header.p_memsz != 0
        });
        let executable = executable.map(|header| module.range(header));
        module.code = executable.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or(0..0);
        let headers = module.headers();
        let find = |kind| headers.iter().find(|header| header.p_type == kind);
        if let Some(header) = find(libc::PT_GNU_RELRO) {
            let range = module.range(header);
            module.read_only = range.start & !(PAGE - 1)..range.end & !(PAGE - 1);
        }
        if let Some(header) = find(libc::PT_DYNAMIC) {
            module.dynamic = module.dynamic(module.range(header).start);
        }
        module
    }

    fn dynamic(&self, start: usize) -> Dynamic {
        let mut dynamic = Dynamic::default();
        // glibc has made addresses of them; musl has not, and nobody has in the kernel's own module.
        let address = |value: u64| match value as usize {
            value if value < self.base() => value + self.base(),
            value => value,
        };
        for index in 0.. {
            // SAFETY: the dynamic section, which ends with a zero tag.
            let [tag, value] = unsafe { *(start as *const [u64; 2]).add(index) };
            match elf::DynamicTag(tag as i64) {
                elf::DT_NULL => break,
                elf::DT_SYMTAB => dynamic.symbols = address(value),
                elf::DT_STRTAB => dynamic.strings = address(value),
                elf::DT_GNU_HASH => dynamic.hashes = address(value),
                elf::DT_RELA => dynamic.relocations[0].0 = address(value),
                elf::DT_RELASZ => dynamic.relocations[0].1 = value as usize,
                elf::DT_JMPREL => dynamic.relocations[1].0 = address(value),
                elf::DT_PLTRELSZ => dynamic.relocations[1].1 = value as usize,
                _ => {}
            }
        }
        dynamic
    }
}

/// Calls the function for each module, in the order in which the loader searches them. No module comes or goes meanwhile.
pub fn each<F: FnMut(&Module<'_>)>(mut with: F) {
    unsafe extern "C" fn call<F: FnMut(&Module<'_>)>(
        info: *mut libc::dl_phdr_info,
        _: usize,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: the loader's structure, valid during the call; and the function below.
        let (info, with) = unsafe { (&*info, &mut *data.cast::<F>()) };
        with(&Module::new(info));
        0
    }
    // SAFETY: `call` gets the function that it was made for. It does not unwind: what is called here does not panic.
    unsafe { libc::dl_iterate_phdr(Some(call::<F>), (&raw mut with).cast()) };
}

/// A number that changes when a module comes or goes.
pub fn generation() -> u64 {
    unsafe extern "C" fn first(info: *mut libc::dl_phdr_info, size: usize, data: *mut c_void) -> c_int {
        // SAFETY: the loader's structure, as long as it says; and the number below.
        unsafe {
            if size >= std::mem::offset_of!(libc::dl_phdr_info, dlpi_subs) + 8 {
                *data.cast::<u64>() = ((*info).dlpi_adds << 32) | ((*info).dlpi_subs & 0xffff_ffff);
            }
        }
        1
    }
    let mut generation = 0_u64;
    // SAFETY: the function gets the number.
    unsafe { libc::dl_iterate_phdr(Some(first), (&raw mut generation).cast()) };
    generation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_c_library_defines_malloc() {
        let mut found = Vec::new();
        each(|module| found.extend(module.defined(c"malloc").map(|address| (address, module.code.clone()))));
        assert!(found.iter().any(|(address, code)| code.contains(address)), "{found:x?}");
        each(|module| assert_eq!(module.defined(c"malloc_backend_no_such_function"), None));
    }

    #[test]
    fn the_program_has_relocations_and_code() {
        let mut names = Vec::new();
        each(|module| {
            if module.is_program() {
                assert!(module.code.contains(&(the_program_has_relocations_and_code as *const () as usize)));
                names.extend(module.relocations().map(|(_, name)| name.to_owned()));
                assert!(module.unwind_sections().is_some());
                assert!(!module.is_writable(module.code.start));
            }
        });
        assert!(names.iter().any(|name| name.as_c_str() == c"malloc"), "{names:?}");
    }
}
