//! Whose `malloc` a process runs on.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

mod support;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use malloc_backend_process::{Allocator, Owner, OwnerKind, owner_here, owner_of};
use support::{ANSWERS, Folder, Running, skip};

const LIBC: &str = if cfg!(target_env = "musl") { "musl" } else { "glibc" };

/// A `malloc` that is enough for [`ANSWERS`], and a function to be known by.
fn allocator(known_by: &str) -> String {
    format!(
        "#include <stddef.h>\n\
         static char heap[1 << 20]; static size_t used;\n\
         void *malloc(size_t size) {{ used += (size + 15) & ~(size_t)15; return heap + used; }}\n\
         void *calloc(size_t count, size_t size) {{ return malloc(count * size); }}\n\
         void free(void *block) {{ (void)block; }}\n\
         void *realloc(void *old, size_t size) {{\n\
           char *block = malloc(size);\n\
           for (size_t i = 0; old && i < size; i++) block[i] = ((char *)old)[i];\n\
           return block;\n\
         }}\n\
         int {known_by}(void) {{ return 0; }}\n"
    )
}

fn compile(folder: &Folder, name: &str, source: &str, flags: &[&str]) -> PathBuf {
    folder.compile(name, source, flags).expect("Rust needs cc, too")
}

fn library(folder: &Folder, name: &str, known_by: &str) -> PathBuf {
    compile(folder, name, &allocator(known_by), &["-shared", "-fPIC", "-fno-builtin"])
}

fn owner(command: &mut Command) -> Owner {
    let running = Running::start(command).expect("it starts");
    owner_of(running.pid()).expect("a child may be looked into").expect("it has a malloc")
}

fn foreign(name: &str) -> OwnerKind {
    OwnerKind::Allocator(Allocator::Foreign(name.to_owned()))
}

#[track_caller]
fn assert_owner(owner: Owner, path: &Path, kind: OwnerKind) {
    let path = path.canonicalize().expect("it exists");
    assert_eq!((PathBuf::from(&owner.path), &owner.kind), (path, &kind), "{owner:?}");
}

#[test]
fn here_it_is_libc() {
    let owner = owner_here().expect("a process has a malloc");
    assert_eq!(owner.kind, OwnerKind::Allocator(Allocator::Libc(LIBC)));
    assert!(Path::new(&owner.path).is_absolute() && Path::new(&owner.path).exists(), "{owner:?}");
    match LIBC {
        "glibc" => assert!(owner.version.is_some_and(|version| version.starts_with("2."))),
        _ => assert_eq!(owner.version, None),
    }
}

#[test]
fn a_process_is_seen_alike_from_within_and_from_without() {
    let within = owner_here().expect("a process has a malloc");
    let without = owner_of(process::id()).expect("this process exists").expect("it has a malloc");
    assert_owner(without.clone(), Path::new(&within.path), within.kind);
    assert_eq!(without.version, within.version);
}

#[test]
fn a_child_s_is_libc_too() {
    let here = owner_here().expect("a process has a malloc");
    assert_owner(owner(&mut Command::new("cat")), Path::new(&here.path), here.kind);
}

#[test]
fn there_is_no_owner_without_a_process() {
    // More than any kernel's pid_max, and one that was here.
    for pid in [u32::MAX, 1 << 23] {
        assert_eq!(owner_of(pid).unwrap_err().kind(), ErrorKind::NotFound);
    }
    let mut ended = Command::new("true").spawn().expect("it starts");
    ended.wait().expect("it ends");
    assert!(owner_of(ended.id()).is_err());
}

#[test]
fn a_kernel_thread_or_zombie_is_an_error() {
    let mut zombie = Command::new("true").spawn().expect("it starts");
    // Waits until it has ended, and leaves it there.
    // SAFETY: the structure is writable.
    unsafe {
        let mut info = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOWAIT;
        assert_eq!(libc::waitid(libc::P_PID, zombie.id(), &mut info, flags), 0);
    }
    assert!(owner_of(zombie.id()).is_err());
    zombie.wait().expect("it has ended");
}

#[test]
fn a_static_program_owns_what_cannot_be_seen() {
    let folder = Folder::new();
    match folder.compile("static", ANSWERS, &["-static"]) {
        Err(why) => skip("-static", why),
        Ok(program) => assert_owner(owner(&mut Command::new(&program)), &program, OwnerKind::StaticProgram),
    }
}

#[test]
fn a_preloaded_library_is_named_by_what_it_exports() {
    let folder = Folder::new();
    for (known_by, name) in [
        ("mallctl", "jemalloc"),
        ("mi_malloc", "mimalloc"),
        ("tc_version", "tcmalloc"),
        ("rpmalloc", "rpmalloc"),
        ("scalable_malloc", "tbbmalloc"),
        ("sn_malloc", "snmalloc"),
        ("nothing_known", "unknown"),
    ] {
        // A name that says something else.
        let library = library(&folder, &format!("lib{known_by}_of_glibc.so"), known_by);
        assert_owner(owner(Command::new("cat").env("LD_PRELOAD", &library)), &library, foreign(name));
    }
    // Nothing but its name tells.
    let library = library(&folder, "libhoard-tcmalloc.so.4", "nothing_known");
    assert_owner(owner(Command::new("cat").env("LD_PRELOAD", &library)), &library, foreign("tcmalloc"));
}

#[test]
fn a_library_is_not_ours_by_its_name_alone() {
    let folder = Folder::new();
    let library = library(&folder, "libmalloc_backend_mimalloc.so", "nothing_known");
    let owner = owner(Command::new("cat").env("LD_PRELOAD", &library));
    assert!(matches!(owner.kind, OwnerKind::Allocator(Allocator::Foreign(_))), "{owner:?}");
}

#[test]
fn the_first_of_several_owns_it() {
    let folder = Folder::new();
    let (one, other) = (library(&folder, "zz.so", "rpmalloc"), library(&folder, "aa.so", "sn_malloc"));
    let without = compile(&folder, "mm.so", "int nothing;\n", &["-shared", "-fPIC"]);
    for (first, second, name) in [(&one, &other, "rpmalloc"), (&other, &one, "snmalloc")] {
        for separator in [":", " ", " : "] {
            let list = [&without, first, second].map(|path| path.display().to_string()).join(separator);
            assert_owner(owner(Command::new("cat").env("LD_PRELOAD", list)), first, foreign(name));
        }
    }
    // By a mere name, which the loader looks for.
    let mut cat = Command::new("cat");
    cat.env("LD_PRELOAD", "zz.so aa.so").env("LD_LIBRARY_PATH", folder.path(""));
    assert_owner(owner(&mut cat), &one, foreign("rpmalloc"));
}

/// As packages have them: by the library's own name, and by a link to it.
#[test]
fn a_preloaded_library_has_several_names() {
    let folder = Folder::new();
    let flags = ["-shared", "-fPIC", "-fno-builtin", "-Wl,-soname,libown.so.1"];
    let library = compile(&folder, "libfile.so.1.2", &allocator("tc_version"), &flags);
    for link in ["libown.so.1", "liblink.so"] {
        symlink(&library, folder.path(link)).expect("the folder may be written to");
        for entry in [link.to_owned(), folder.path(link).display().to_string()] {
            let mut cat = Command::new("cat");
            cat.env("LD_PRELOAD", entry).env("LD_LIBRARY_PATH", folder.path(""));
            assert_owner(owner(&mut cat), &library, foreign("tcmalloc"));
        }
    }
}

/// What gives itself a title writes over the environment that it was started with.
#[test]
fn an_overwritten_environment_tells_nothing() {
    let folder = Folder::new();
    let here = owner_here().expect("a process has a malloc");
    for (name, fill) in [("blank", "' '"), ("zero", "0")] {
        let source = format!(
            "#include <string.h>\n#include <unistd.h>\nextern char **environ;\n\
             int main(void) {{\n\
               for (char **entry = environ; *entry; entry++) memset(*entry, {fill}, strlen(*entry));\n\
               char c; while (read(0, &c, 1) == 1) write(1, &c, 1);\n\
               return 0;\n\
             }}\n"
        );
        let program = compile(&folder, name, &source, &[]);
        assert_owner(owner(&mut Command::new(&program)), Path::new(&here.path), here.kind.clone());
        let library = library(&folder, "library.so", "mi_malloc");
        let running = Running::start(Command::new(&program).env("LD_PRELOAD", &library)).expect("it starts");
        assert_eq!(owner_of(running.pid()).unwrap_err().raw_os_error(), Some(libc::ENODATA));
    }
}

#[test]
fn a_program_comes_before_what_is_preloaded() {
    let folder = Folder::new();
    let source = format!("{}{ANSWERS}", allocator("rpmalloc"));
    let program = compile(&folder, "program", &source, &["-fno-builtin", "-rdynamic"]);
    let library = library(&folder, "library.so", "sn_malloc");
    assert_owner(owner(&mut Command::new(&program)), &program, foreign("rpmalloc"));
    assert_owner(owner(Command::new(&program).env("LD_PRELOAD", &library)), &program, foreign("rpmalloc"));
}

#[test]
fn a_linked_library_comes_before_libc() {
    let folder = Folder::new();
    let library = library(&folder, "liblinked.so", "rpmalloc");
    let source = format!("{ANSWERS}extern int rpmalloc(void);\nint (*volatile f)(void) = rpmalloc;\n");
    let path = library.display().to_string();
    let program = compile(&folder, "program", &source, &[&path]);
    assert_owner(owner(&mut Command::new(&program)), &library, foreign("rpmalloc"));
    let preloaded = support_library(&folder);
    assert_owner(
        owner(Command::new(&program).env("LD_PRELOAD", &preloaded)),
        &preloaded,
        foreign("mimalloc"),
    );
}

fn support_library(folder: &Folder) -> PathBuf {
    library(folder, "preloaded.so", "mi_malloc")
}

/// An update of a package replaces a library's file while processes run on it.
#[test]
fn a_library_whose_file_is_gone_still_owns_it() {
    let folder = Folder::new();
    let library = library(&folder, "library.so", "mi_malloc");
    let running = Running::start(Command::new("cat").env("LD_PRELOAD", &library)).expect("it starts");
    fs::remove_file(&library).expect("it is there");
    let owner = owner_of(running.pid()).expect("a child may be looked into");
    assert!(
        owner.as_ref().is_none_or(|owner| owner.kind != OwnerKind::Allocator(Allocator::Libc(LIBC))),
        "not libc: {owner:?}"
    );
}

/// What a program opens by itself is searched after libc, by those alone who ask for it.
#[test]
fn a_library_that_is_opened_later_owns_nothing() {
    let folder = Folder::new();
    let here = owner_here().expect("a process has a malloc");
    let library = library(&folder, "aa.so", "mi_malloc");
    let source = format!(
        "#include <dlfcn.h>\n#include <unistd.h>\nint main(void) {{\n\
           if (!dlopen(\"{}\", RTLD_NOW | RTLD_GLOBAL)) return 1;\n\
           char c; while (read(0, &c, 1) == 1) write(1, &c, 1);\n\
           return 0;\n\
         }}\n",
        library.display()
    );
    let program = compile(&folder, "opens", &source, &["-ldl"]);
    assert_owner(owner(&mut Command::new(&program)), Path::new(&here.path), here.kind.clone());
    let python = format!(
        "import ctypes, os\nctypes.CDLL('{}')\nwhile os.write(1, os.read(0, 1)): pass\n",
        library.display()
    );
    match Command::new("python3").arg("--version").output() {
        Err(why) => skip("ctypes.CDLL", why),
        Ok(_) => {
            let owner = owner(Command::new("python3").args(["-c", &python]));
            assert_owner(owner, Path::new(&here.path), here.kind);
        }
    }
}

/// By way of another library, by its own name, and by a link: as packages have it.
#[test]
fn a_library_that_a_library_needs_comes_before_libc() {
    let folder = Folder::new();
    let flags = ["-shared", "-fPIC", "-fno-builtin"];
    for (own_name, link) in [("-Wl,-soname,libown.so.1", "libown.so.1"), ("-Wl,-O1", "zz-link.so")] {
        let source = allocator("rpmalloc");
        let allocates =
            compile(&folder, &format!("zz{link}.1.2"), &source, &[&flags[..], &[own_name]].concat());
        symlink(&allocates, folder.path(link)).expect("the folder may be written to");
        let search = format!("-Wl,-rpath,{}", folder.path("").display());
        let place = format!("-L{}", folder.path("").display());
        let between = compile(
            &folder,
            "libbetween.so",
            "extern int rpmalloc(void);\nint (*volatile f)(void) = rpmalloc;\nint between;\n",
            &["-shared", "-fPIC", &place, &search, &format!("-l:{link}")],
        );
        let source = format!("{ANSWERS}extern int between;\nint *volatile b = &between;\n");
        let program =
            compile(&folder, "program", &source, &[&between.display().to_string(), "-Wl,--no-as-needed"]);
        assert_owner(owner(&mut Command::new(&program)), &allocates, foreign("rpmalloc"));
        // Named to the loader, a program does not show what it needs.
        let host = malloc_backend_process::host().interpreter.expect("this is no static program");
        assert_owner(owner(Command::new(host).arg(&program)), &allocates, foreign("rpmalloc"));
    }
}

/// The loader of older versions of glibc has a malloc, which nobody else is bound to.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_loader_owns_nothing() {
    let folder = Folder::new();
    // It is all that runs of the program, and does what `cat` does.
    let source = "\
        static long call(long n, long a, void *b, long c) {\n\
          long result;\n\
          __asm__ volatile(\"syscall\" : \"=a\"(result) : \"a\"(n), \"D\"(a), \"S\"(b), \"d\"(c) : \"rcx\", \"r11\", \"memory\");\n\
          return result;\n\
        }\n\
        void *malloc(unsigned long size) { return 0; }\n\
        void _start(void) { char c; while (call(0, 0, &c, 1) == 1) call(1, 1, &c, 1); call(60, 0, 0, 0); }\n";
    let flags = ["-shared", "-fPIC", "-nostdlib", "-fno-builtin", "-fno-stack-protector", "-Wl,-e,_start"];
    let loader = compile(&folder, "loader.so", source, &flags);
    let named = format!("-Wl,--dynamic-linker={}", loader.display());
    let program = compile(&folder, "program", ANSWERS, &[&named]);
    let running = Running::start(&mut Command::new(program)).expect("it starts");
    assert_eq!(owner_of(running.pid()).expect("a child may be looked into"), None);
}
