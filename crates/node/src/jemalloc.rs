//! How the addon's jemalloc is set. It reads this before all else that it does, and after it what the environment has
//! (`_RJEM_MALLOC_CONF`). The libraries that serve a whole process have a jemalloc of their own, which is as it comes.

use std::ffi::{CStr, c_char};

/// A C string, as jemalloc has it.
#[repr(transparent)]
pub struct Options(*const c_char);

// SAFETY: what it points to is constant.
unsafe impl Sync for Options {}

const OPTIONS: &CStr = c"cache_oblivious:false";

/// What jemalloc leaves null, in a weak symbol, for a program to set.
///
/// `cache_oblivious:false`: a large block has no further page in which its start would be varied. That page is for loops over
/// the same place in many large blocks, which now meet in a few lines of the processor's cache, as they do on mimalloc and
/// snmalloc: one byte in each of a hundred takes 13 ns and not 0.3. But of Buffers, of which more is read than that, a page
/// each is a share that counts: 10 MiB of a cache of 512 MiB with values of 1 KiB to 1 MiB, and a fifth of one with values
/// of 16 KiB.
// SAFETY: no other symbol of this name is strong.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static MALLOC_CONF: Options = Options(OPTIONS.as_ptr());

// This library's alone: exported, another library's of that name would take its place.
#[cfg(target_os = "linux")]
std::arch::global_asm!(".hidden _rjem_malloc_conf");
