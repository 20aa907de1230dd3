//! Reading an ELF file: what kind it is and which functions it defines.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use object::read::elf::{Dyn, FileHeader, ProgramHeader, Sym, VersionTable};
use object::{Endianness, elf};

/// An ELF file, mapped.
pub struct Elf {
    map: Mmap,
}

/// What the header says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// `e_machine`, of which the common ones have names: `x86_64`, `aarch64` …
    pub machine: String,
    /// 32 or 64.
    pub bits: u8,
    /// The dynamic loader it asks for. Without one it is static (or a library).
    pub interpreter: Option<String>,
}

/// What the dynamic section of a file says of its place among others.
#[derive(Clone, Debug, Default)]
pub struct Dependencies {
    /// The libraries that the loader brings with it (`DT_NEEDED`): names, or paths.
    pub needed: Vec<PathBuf>,
    /// The name by which others need this one (`DT_SONAME`).
    pub own_name: Option<PathBuf>,
    /// The folders where they are looked for first (`DT_RUNPATH`, `DT_RPATH`).
    pub search: Vec<PathBuf>,
}

impl Elf {
    /// Maps the file.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: a map of a file that someone cuts short meanwhile would end the process; programs and
        // libraries in use are replaced, not written to, and the map lives no longer than the look at it.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self { map })
    }

    /// All that is in it.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// What the header says, or `None` where the file is not ELF.
    pub fn kind(&self) -> Option<Kind> {
        match object::FileKind::parse(&*self.map).ok()? {
            object::FileKind::Elf64 => self.kind_as::<elf::FileHeader64<Endianness>>(64),
            object::FileKind::Elf32 => self.kind_as::<elf::FileHeader32<Endianness>>(32),
            _ => None,
        }
    }

    fn kind_as<Header: FileHeader<Endian = Endianness>>(&self, bits: u8) -> Option<Kind> {
        let data: &[u8] = &self.map;
        let header = Header::parse(data).ok()?;
        let endian = header.endian().ok()?;
        let interpreter = header
            .program_headers(endian, data)
            .ok()?
            .iter()
            .find_map(|segment| segment.interpreter(endian, data).ok().flatten())
            .map(|path| String::from_utf8_lossy(path).into_owned());
        let machine = match header.e_machine(endian) {
            elf::EM_X86_64 => "x86_64".to_owned(),
            elf::EM_AARCH64 => "aarch64".to_owned(),
            elf::EM_386 => "i386".to_owned(),
            elf::EM_ARM => "arm".to_owned(),
            elf::EM_RISCV => "riscv".to_owned(),
            elf::EM_PPC64 => "powerpc64".to_owned(),
            elf::EM_S390 => "s390".to_owned(),
            other => format!("{other:?}"),
        };
        Some(Kind { machine, bits, interpreter })
    }

    /// The first of the names that the file defines as a dynamic symbol.
    pub fn defined<'names>(&self, names: impl IntoIterator<Item = &'names str>) -> Option<&'names str> {
        // A library that this process could share with another is of its own word size.
        self.lookup().and_then(|lookup| names.into_iter().find(|name| lookup(name)))
    }

    /// Which libraries the file needs, and by which name it may itself be needed.
    pub fn dependencies(&self) -> Dependencies {
        self.dynamic_strings().unwrap_or_default()
    }

    /// The names of the dynamic symbols that the file has others define.
    pub fn imports(&self) -> Vec<String> {
        self.undefined().unwrap_or_default()
    }

    fn undefined(&self) -> Option<Vec<String>> {
        type Header = elf::FileHeader64<Endianness>;
        let data: &[u8] = &self.map;
        let header = Header::parse(data).ok()?;
        let endian = header.endian().ok()?;
        let sections = header.sections(endian, data).ok()?;
        let symbols = sections.symbols(endian, data, elf::SHT_DYNSYM).ok()?;
        let undefined = symbols.iter().filter(|symbol| symbol.is_undefined(endian));
        let names = undefined.filter_map(|symbol| symbol.name(endian, symbols.strings()).ok());
        Some(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
    }

    fn dynamic_strings(&self) -> Option<Dependencies> {
        type Header = elf::FileHeader64<Endianness>;
        let data: &[u8] = &self.map;
        let header = Header::parse(data).ok()?;
        let endian = header.endian().ok()?;
        let sections = header.sections(endian, data).ok()?;
        let (entries, strings) = sections.dynamic(endian, data).ok()??;
        let strings = sections.strings(endian, data, strings).ok()?;
        let mut found = Dependencies::default();
        for entry in entries.iter().take_while(|entry| entry.d_tag(endian) != elf::DT_NULL) {
            let tag = entry.d_tag(endian);
            if ![elf::DT_NEEDED, elf::DT_SONAME, elf::DT_RUNPATH, elf::DT_RPATH].contains(&tag) {
                continue;
            }
            let Ok(text) = entry.string(endian, strings) else { continue };
            let name = || PathBuf::from(OsStr::from_bytes(text));
            match tag {
                elf::DT_NEEDED => found.needed.push(name()),
                elf::DT_SONAME => found.own_name = Some(name()),
                _ => found.search.extend(
                    text.split(|byte| *byte == b':')
                        .filter(|folder| !folder.is_empty())
                        .map(|folder| PathBuf::from(OsStr::from_bytes(folder))),
                ),
            }
        }
        Some(found)
    }

    fn lookup(&self) -> Option<impl Fn(&str) -> bool> {
        type Header = elf::FileHeader64<Endianness>;
        let data: &[u8] = &self.map;
        let header = Header::parse(data).ok()?;
        let endian = header.endian().ok()?;
        let sections = header.sections(endian, data).ok()?;
        let symbols = sections.symbols(endian, data, elf::SHT_DYNSYM).ok()?;
        let hashes = sections.gnu_hash(endian, data).ok().flatten().map(|(table, _)| table);
        let versions = VersionTable::default();
        Some(move |name: &str| {
            let name = name.as_bytes();
            match &hashes {
                Some(hashes) => hashes
                    .find(endian, name, elf::gnu_hash(name), None, &symbols, &versions)
                    .is_some_and(|(_, symbol)| !symbol.is_undefined(endian)),
                None => symbols.iter().any(|symbol| {
                    !symbol.is_undefined(endian) && symbol.name(endian, symbols.strings()) == Ok(name)
                }),
            }
        })
    }
}
