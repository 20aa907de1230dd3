//! What `inspect` sees in a file.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

mod support;

use std::ffi::CString;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::{env, thread};

use malloc_backend_process::{Executable, Privilege, host, inspect};
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use support::{ANSWERS, Folder, MemoryFile, is_root, skip};

fn script(interpreter: &str, argument: Option<&str>) -> Executable {
    Executable::Script { interpreter: interpreter.to_owned(), argument: argument.map(str::to_owned) }
}

fn inspected(contents: impl AsRef<[u8]>) -> Executable {
    let folder = Folder::new();
    inspect(&folder.file("file", contents)).expect("it can be read")
}

#[test]
fn programs_are_elf_with_an_interpreter() {
    let own = env::current_exe().expect("the test is a file");
    for program in [own.as_path(), Path::new("/bin/sh"), Path::new("/bin/cat")] {
        let Ok(Executable::Elf { machine, bits, interpreter, defines_malloc, privilege, .. }) =
            inspect(program)
        else {
            panic!("{program:?} is a program");
        };
        assert_eq!((machine.as_str(), bits), (env::consts::ARCH, 64));
        assert!(interpreter.is_some_and(|loader| Path::new(&loader).exists()));
        assert_eq!((defines_malloc, privilege), (false, None));
    }
}

#[test]
fn the_host_is_this_program_s() {
    let host = host();
    let Ok(Executable::Elf { machine, interpreter, .. }) = inspect(Path::new("/proc/self/exe")) else {
        panic!("the test is a program");
    };
    assert_eq!((host.machine, host.interpreter), (machine, interpreter));
    assert!(host.page_size >= 4096 && host.page_size.is_power_of_two());
    assert!(!host.secure);
}

#[test]
fn a_static_program_has_no_interpreter() {
    let folder = Folder::new();
    for flag in ["-static", "-static-pie"] {
        match folder.compile("static", ANSWERS, &[flag]) {
            Err(why) => skip(flag, why),
            Ok(program) => match inspect(&program) {
                Ok(Executable::Elf { interpreter: None, bits: 64, defines_malloc, .. }) => {
                    assert!(!defines_malloc, "no other file sees the malloc in it");
                }
                other => panic!("{flag}: {other:?}"),
            },
        }
    }
}

#[test]
fn a_malloc_that_others_see_is_found() {
    const OWN: &str =
        "#include <stddef.h>\nvoid *malloc(size_t size) { static char block[16]; return block; }\n";
    let folder = Folder::new();
    let program = format!("{OWN}int main(void) {{ return 0; }}\n");
    // With each of the hash tables that a file can have; without one of them the symbols are gone through.
    for hash in ["gnu", "sysv", "both"] {
        let hash = format!("-Wl,--hash-style={hash}");
        let with = |name, source, flags: &[&str]| {
            let flags = [&[hash.as_str(), "-fno-builtin"], flags].concat();
            let file = folder.compile(name, source, &flags).expect("Rust needs cc, too");
            match inspect(&file) {
                Ok(Executable::Elf { defines_malloc, .. }) => defines_malloc,
                other => panic!("{other:?}"),
            }
        };
        // libc's own malloc is one that the linker knows, so the program's is exported without being asked to.
        assert!(with("own", &program, &[]), "{hash}");
        assert!(with("exported", &program, &["-rdynamic"]), "{hash}");
        assert!(with("library", OWN, &["-shared", "-fPIC"]), "{hash}");
        let calls =
            "#include <stdlib.h>\nint main(void) { void *p = malloc(5); free(p); return p == NULL; }\n";
        assert!(!with("calls", calls, &[]), "{hash}");
        // Not position-independent, and with malloc's address taken: the symbol has an address and is undefined.
        let takes =
            "#include <stdlib.h>\nvoid *(*volatile f)(size_t) = malloc;\nint main(void) { return 0; }\n";
        assert!(!with("takes", takes, &["-no-pie", "-fno-pie"]), "{hash}");
        let hidden =
            format!("__attribute__((visibility(\"hidden\"))) {}", program.replace("#include <stddef.h>", ""));
        let hidden = format!("#include <stddef.h>\n{hidden}");
        assert!(!with("hidden", &hidden, &[]), "{hash}: nobody else sees it");
    }
}

#[test]
fn a_script_names_its_interpreter() {
    for (first, interpreter, argument) in [
        ("#!/bin/sh\necho\n", "/bin/sh", None),
        ("#!/bin/sh", "/bin/sh", None),
        ("#! /bin/sh\n", "/bin/sh", None),
        ("#!\t /bin/sh \t \n", "/bin/sh", None),
        ("#!/bin/sh -e\n", "/bin/sh", Some("-e")),
        ("#!/bin/sh\t-e\n", "/bin/sh", Some("-e")),
        ("#!/usr/bin/env node\nconsole.log(1)\n", "/usr/bin/env", Some("node")),
        // All that follows is one argument to the kernel.
        ("#!/usr/bin/env -S node --x\n", "/usr/bin/env", Some("-S node --x")),
        ("#!/usr/bin/env   -S  node   --x  \n", "/usr/bin/env", Some("-S  node   --x")),
        ("#!interpreter\n", "interpreter", None),
        ("#!/bin/sh\n#!/bin/other\n", "/bin/sh", None),
    ] {
        assert_eq!(inspected(first), script(interpreter, argument), "{first:?}");
    }
    assert_eq!(inspected(b"#!/opt/\xff/sh\n"), script("/opt/\u{fffd}/sh", None));
}

/// The kernel takes a carriage return for a part of the interpreter's name (or its argument).
#[test]
fn a_script_of_windows_names_an_interpreter_that_does_not_exist() {
    assert_eq!(inspected("#!/bin/sh\r\necho\r\n"), script("/bin/sh\r", None));
    assert_eq!(inspected("#!/usr/bin/env node\r\n"), script("/usr/bin/env", Some("node\r")));
}

#[test]
fn a_first_line_without_an_interpreter_is_nothing() {
    for first in ["#!", "#!\n", "#!  \t \n", "#!\n/bin/sh\n"] {
        assert_eq!(inspected(first), Executable::Unknown, "{first:?}");
    }
}

#[test]
fn what_is_neither_is_unknown() {
    for contents in [
        "",
        "#",
        "echo hello\n",
        " #!/bin/sh\n",
        "\n#!/bin/sh\n",
        "\x7fEL",
        "\x7fELF",
        "\x7fELG",
        "MZ",
        "!#/bin/sh\n",
    ] {
        assert_eq!(inspected(contents), Executable::Unknown, "{contents:?}");
    }
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let folder = Folder::new();
    let kind = |path: &Path| inspect(path).unwrap_err().kind();
    assert_eq!(kind(&folder.path("missing")), ErrorKind::NotFound);
    assert_eq!(kind(&folder.path("")), ErrorKind::IsADirectory);
    assert_eq!(kind(&folder.file("file", "").join("below")), ErrorKind::NotADirectory);
    let unreadable = folder.file("unreadable", "#!/bin/sh\n");
    fs::set_permissions(&unreadable, Permissions::from_mode(0o311)).expect("its owner may");
    as_nobody(|| assert_eq!(kind(&unreadable), ErrorKind::PermissionDenied));
}

/// Runs it as another user than root: Linux keeps the user by thread, and the system calls that say otherwise
/// are libc's doing.
fn as_nobody(test: impl FnOnce() + Send) {
    const NOBODY: libc::c_long = 65_534;
    if !is_root() {
        return test();
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: a thread of its own, which ends after the test.
            let failed = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
            assert_eq!(failed, 0);
            test();
        });
    });
}

fn privilege(path: &Path) -> Option<Privilege> {
    match inspect(path) {
        Ok(Executable::Elf { privilege, .. }) => privilege,
        other => panic!("{path:?}: {other:?}"),
    }
}

#[test]
fn a_program_of_another_user_s_rights_is_privileged() {
    if !is_root() {
        for program in ["/usr/bin/su", "/bin/su", "/usr/bin/passwd"] {
            if fs::metadata(program).is_ok_and(|file| file.permissions().mode() & 0o4000 != 0) {
                return assert_eq!(privilege(Path::new(program)), Some(Privilege::SetUserId));
            }
        }
        return skip("setuid", "not root, and no setuid program to look at");
    }
    const OTHER: u32 = 12_345;
    let folder = Folder::new();
    let program = folder.path("program");
    fs::copy("/bin/cat", &program).expect("cat can be copied");
    // As the kernel has it: a bit counts where it would change who runs the program.
    for (user, group, mode, expected) in [
        (OTHER, 0, 0o4755, Some(Privilege::SetUserId)),
        (OTHER, 0, 0o755, None),
        (0, 0, 0o4755, None),
        (0, OTHER, 0o2755, Some(Privilege::SetGroupId)),
        (0, OTHER, 0o755, None),
        (0, 0, 0o2755, None),
        // Without the group's right to execute the bit meant mandatory locking.
        (0, OTHER, 0o2745, None),
        (0, OTHER, 0o6755, Some(Privilege::SetGroupId)),
        (OTHER, OTHER, 0o6755, Some(Privilege::SetUserId)),
    ] {
        // In this order: a change of the owner clears the bits.
        chown(&program, Some(user), Some(group)).expect("root may");
        fs::set_permissions(&program, Permissions::from_mode(mode)).expect("root may");
        assert_eq!(privilege(&program), expected, "{user}:{group} {mode:o}");
    }
    chown(&program, Some(0), Some(0)).expect("root may");
    fs::set_permissions(&program, Permissions::from_mode(0o4755)).expect("root may");
    as_nobody(|| assert_eq!(privilege(&program), Some(Privilege::SetUserId)));
}

#[test]
fn a_program_with_file_capabilities_is_privileged_for_others_than_root() {
    let folder = Folder::new();
    let program = folder.path("program");
    fs::copy("/bin/cat", &program).expect("cat can be copied");
    as_nobody(|| assert_eq!(privilege(&program), None));
    // CAP_NET_BIND_SERVICE, permitted and effective, in the form of `struct vfs_cap_data`.
    let capabilities: [u32; 5] = [0x0200_0001, 1 << 10, 0, 0, 0];
    let path = CString::new(program.as_os_str().as_bytes()).expect("no NUL");
    // SAFETY: C strings, and the length of the value.
    let failed = unsafe {
        let (value, length) = (capabilities.as_ptr().cast(), size_of_val(&capabilities));
        libc::setxattr(path.as_ptr(), c"security.capability".as_ptr(), value, length, 0)
    };
    if failed != 0 {
        return skip("file capabilities", std::io::Error::last_os_error());
    }
    assert_eq!(privilege(&program), None, "to root they add nothing");
    as_nobody(|| assert_eq!(privilege(&program), Some(Privilege::Capabilities)));
}

/// An ELF header, and with an interpreter the one program header for it.
fn header(bits: u8, little: bool, machine: u16, interpreter: Option<&str>) -> Vec<u8> {
    let mut file = b"\x7fELF".to_vec();
    file.extend([if bits == 64 { 2 } else { 1 }, if little { 1 } else { 2 }, 1]);
    file.resize(16, 0);
    let mut number = |bytes: usize, value: u64| match little {
        true => file.extend(&value.to_le_bytes()[..bytes]),
        false => file.extend(&value.to_be_bytes()[8 - bytes..]),
    };
    let word = usize::from(bits / 8);
    let (header_size, segment_size) = if bits == 64 { (64, 56) } else { (52, 32) };
    let text = interpreter.unwrap_or_default();
    let text_size = text.len() as u64 + 1;
    let segments = u64::from(interpreter.is_some());
    let text_at = header_size + segment_size * segments;
    // e_type, e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags, and the sizes and counts.
    for (bytes, value) in [(2, 2), (2, u64::from(machine)), (4, 1), (word, 0), (word, header_size), (word, 0)]
    {
        number(bytes, value);
    }
    for (bytes, value) in [(4, 0), (2, header_size), (2, segment_size), (2, segments), (2, 0), (2, 0), (2, 0)]
    {
        number(bytes, value);
    }
    if interpreter.is_some() {
        const PT_INTERP: u64 = 3;
        number(4, PT_INTERP);
        if bits == 64 {
            number(4, 4);
        }
        for value in [text_at, text_at, text_at, text_size, text_size] {
            number(word, value);
        }
        if bits == 32 {
            number(4, 4);
        }
        number(word, 1);
        file.extend(text.as_bytes());
        file.push(0);
    }
    file
}

#[test]
fn other_machines_are_named() {
    for (bits, little, machine, name, interpreter) in [
        (32, true, 3, "i386", Some("/lib/ld-linux.so.2")),
        (32, true, 40, "arm", Some("/lib/ld-linux-armhf.so.3")),
        (64, true, 62, "x86_64", Some("/lib64/ld-linux-x86-64.so.2")),
        (64, true, 62, "x86_64", None),
        (32, true, 62, "x86_64", Some("/libx32/ld-linux-x32.so.2")),
        (64, true, 183, "aarch64", Some("/lib/ld-linux-aarch64.so.1")),
        (64, true, 243, "riscv", None),
        (32, true, 243, "riscv", None),
        (64, false, 21, "powerpc64", Some("/lib64/ld64.so.1")),
        (64, false, 22, "s390", Some("/lib/ld64.so.1")),
    ] {
        let expected = Executable::Elf {
            machine: name.to_owned(),
            bits,
            interpreter: interpreter.map(str::to_owned),
            defines_malloc: false,
            is_python: false,
            privilege: None,
        };
        assert_eq!(inspected(header(bits, little, machine, interpreter)), expected);
    }
    match inspected(header(64, true, 0xbeef, None)) {
        Executable::Elf { machine, .. } => assert!(machine.contains("48879"), "{machine}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_patched_machine_is_seen() {
    let mut program = fs::read("/bin/cat").expect("it can be read");
    let machine = if cfg!(target_arch = "aarch64") { (62_u16, "x86_64") } else { (183, "aarch64") };
    program[18..20].copy_from_slice(&machine.0.to_ne_bytes());
    match inspected(&program) {
        Executable::Elf { machine: seen, bits: 64, interpreter: Some(_), .. } => assert_eq!(seen, machine.1),
        other => panic!("{other:?}"),
    }
}

/// A small library whose `malloc` has to be looked for.
fn library(hash: &str) -> Vec<u8> {
    let folder = Folder::new();
    const SOURCE: &str =
        "void *malloc(unsigned long n) { return 0; } void free(void *p) {} int a, b, c, d;\n";
    let hash = format!("-Wl,--hash-style={hash}");
    let flags = ["-shared", "-fPIC", "-nostdlib", "-fno-builtin", "-s", "-Wl,-z,noseparate-code", &hash];
    let file = folder.compile("library", SOURCE, &flags).expect("Rust needs cc, too");
    assert!(matches!(inspect(&file), Ok(Executable::Elf { defines_malloc: true, .. })));
    fs::read(file).expect("it can be read")
}

#[test]
fn a_file_cut_short_is_no_harm() {
    let short_file = MemoryFile::new();
    for file in [library("gnu"), header(32, true, 3, Some("/lib/ld-linux.so.2"))] {
        for length in (0..file.len()).rev() {
            fs::write(short_file.path(), &file[..length]).expect("it can be written");
            let short = inspect(&short_file.path()).expect("it can be read");
            if length < 52 {
                assert_eq!(short, Executable::Unknown, "{length} bytes are no header");
            }
        }
    }
}

#[test]
fn a_damaged_file_is_no_harm() {
    let damaged = MemoryFile::new();
    for hash in ["gnu", "sysv"] {
        let whole = library(hash);
        // Most of a file is padding and code; what is not zero, and the header, is where it matters.
        let matters: Vec<usize> =
            (0..whole.len()).filter(|offset| *offset < 64 || whole[*offset] != 0).collect();
        let somewhere = prop_oneof![
            3 => (0..matters.len()).prop_map(move |index| matters[index]),
            1 => 0..whole.len(),
        ];
        let byte = prop_oneof![Just(0), Just(1), Just(0x7f), Just(0x80), Just(0xff), any::<u8>()];
        let damage = proptest::collection::vec((somewhere, byte), 1..=6);
        let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
        // The same damages in every run, unless `PROPTEST_RNG_SEED` asks for others.
        if config.rng_seed == RngSeed::Random {
            config.rng_seed = RngSeed::Fixed(0x454c_4620);
        }
        if env::var_os("PROPTEST_CASES").is_none() {
            config.cases = 20_000;
        }
        TestRunner::new(config)
            .run(&damage, |damage| {
                let mut file = whole.clone();
                damage.iter().for_each(|(offset, byte)| file[*offset] = *byte);
                fs::write(damaged.path(), &file)?;
                prop_assert!(inspect(&damaged.path()).is_ok());
                Ok(())
            })
            .unwrap_or_else(|failure| panic!("{failure}"));
    }
}
