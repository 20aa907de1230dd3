//! The frames of the calling thread, native ones and those of V8's code, in one walk.
//!
//! Node keeps frame pointers, and so does V8's code. In other modules framehop finds the caller by `.eh_frame`. A module
//! without that information, or one that lies, ends the walk. Then the walk goes on at the frame from which JavaScript last
//! called native code: V8 knows that frame.

use crate::hooks::Caller;
use crate::rules::{self, Found, Rules};
use crate::stack::Stack;
use crate::v8::{self, V8};

/// The most frames of one walk.
pub const MOST: usize = crate::memory::MOST;

/// A frame as it is on the stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raw {
    /// The return address.
    pub pc: usize,
    /// The frame pointer.
    pub fp: usize,
    /// The stack pointer: the frame lies between this one and its caller's.
    pub sp: usize,
    /// For a frame of V8's code: what is in the place of the function, if the frame has one.
    pub function: usize,
    /// Where the walk found it.
    pub kind: RawKind,
}

/// Whose code a frame is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RawKind {
    /// The program's or a library's.
    #[default]
    Native,
    /// V8's, compiled or interpreted JavaScript.
    JavaScript,
    /// Frames between the one before and the next are lost.
    Gap,
}

/// Walks from the caller outwards, and returns the number of frames.
///
/// V8 is asked about its code only where that code is on the stack: an isolate that is being made or destroyed must not be asked
/// anything.
///
/// # Safety
/// As for [`rules::caller_of`].
pub unsafe fn walk(
    stack: &Stack,
    cache: &mut Rules,
    caller: &Caller,
    isolate: &mut v8::Known,
    v8: Option<&V8>,
    raw: &mut [Raw; MOST],
) -> usize {
    let program = rules::code_with_frame_pointers();
    let mut at = *caller;
    let mut count = 0;
    let mut may_jump = true;
    while at.pc > 4096 && count < MOST {
        let native = Raw { pc: at.pc, fp: at.fp, sp: at.sp, ..Raw::default() };
        let is_builtin = v8.is_some_and(|v8| v8.is_builtin(at.pc));
        let (frame, next) = if !is_builtin && program.contains(&at.pc) {
            (native, by_frame_pointer(stack, &at))
        } else if isolate.is_code(at.pc) {
            javascript(stack, &at)
        } else {
            let found = match is_builtin {
                true => Found::NoModule,
                // SAFETY: the caller's obligation.
                false => unsafe { rules::caller_of(stack, cache, &at) },
            };
            match found {
                Found::Caller(caller) => (native, Some(caller)),
                Found::End => (native, None),
                Found::NoModule if v8.is_some_and(|v8| isolate.has_code(v8, at.pc)) => javascript(stack, &at),
                Found::NoModule => (native, None),
            }
        };
        raw[count] = frame;
        count += 1;
        at = match next {
            Some(next) => next,
            None if may_jump && count < MOST => {
                may_jump = false;
                let Some(next) = v8.and_then(|v8| isolate.last_exit(v8, stack, at.sp)) else { break };
                raw[count] = Raw { kind: RawKind::Gap, ..Raw::default() };
                count += 1;
                next
            }
            None => break,
        };
    }
    count
}

fn javascript(stack: &Stack, at: &Caller) -> (Raw, Option<Caller>) {
    let function = v8::function_slot(stack, at.fp);
    let frame = Raw { pc: at.pc, fp: at.fp, sp: at.sp, function, kind: RawKind::JavaScript };
    (frame, by_frame_pointer(stack, at))
}

fn by_frame_pointer(stack: &Stack, at: &Caller) -> Option<Caller> {
    if at.fp < at.sp {
        return None;
    }
    let [fp, pc] = stack.words(at.fp)?;
    Some(Caller { pc, sp: at.fp + 16, fp })
}
