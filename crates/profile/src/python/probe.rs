//! Looks for functions that are known to run. Only if they are found, frames will be read.

use std::ptr;
use std::sync::Mutex;

use super::api::{Method, Object};
use super::code::Place;
use super::cpython::Python;
use super::frames::Frames;
use crate::frame::Frame;
use crate::session::Inside;
use crate::tables::Tables;

/// A method, a generator and a module, with a function of C between.
const PROGRAM: &std::ffi::CStr = c"class Probe:
    def inner(self):
        self; return check()
    def outer(self):
        for _ in 'a':
            yield self.inner()
list(Probe().outer())
";
const FILE: &str = "<malloc-backend>";
const EXPECTED: [(&str, &str, u32, u32); 3] =
    [("Probe.", "inner", 3, 2), ("Probe.", "outer", 6, 4), ("", "<module>", 7, 1)];

/// What `check` has seen, of the last probe.
static SEEN: Mutex<Option<Result<(), String>>> = Mutex::new(None);
static CHECK: Method = Method::new(c"check", check);

/// Whether the frames of a program that is run now are found.
///
/// # Errors
/// Why they are not.
pub fn verify(python: &Python) -> Result<(), String> {
    set_seen(None);
    let file = c"<malloc-backend>";
    if !python.api.run(PROGRAM, file, &[&CHECK], false) {
        return Err("Python did not run the program that looks for its own frames".to_owned());
    }
    set_seen(None).unwrap_or_else(|| Err("Python did not call the function that looks for frames".to_owned()))
}

fn set_seen(seen: Option<Result<(), String>>) -> Option<Result<(), String>> {
    match SEEN.lock() {
        Ok(mut last) => std::mem::replace(&mut *last, seen),
        Err(_) => None,
    }
}

unsafe extern "C" fn check(_: Object, _: Object) -> Object {
    let Some(python) = Python::candidate() else { return ptr::null_mut() };
    set_seen(Some(look(python)));
    python.api.none()
}

fn look(python: &Python) -> Result<(), String> {
    let (Some(_inside), Some(tables)) = (Inside::enter_any(), Tables::get()) else {
        return Err("the profile has ended meanwhile".to_owned());
    };
    let mut frames = Box::<Frames>::default();
    frames.read(Some(python), tables);
    let text = |string: u32| match string {
        0 => String::new(),
        string => String::from_utf8_lossy(tables.strings.get(string)).into_owned(),
    };
    let mut found = frames.all().iter().map(|frame| match Frame::of(frame.word) {
        Frame::Python(place) => {
            let Place { name, file, line, first_line } = Place::get(tables, place);
            (text(name), text(file), line, first_line)
        }
        _ => Default::default(),
    });
    let has_class = python.api.release() >= (3, 11);
    for (class, name, line, first_line) in EXPECTED {
        let name = format!("{}{name}", if has_class { class } else { "" });
        let wanted = (name, FILE.to_owned(), line, first_line);
        let seen = found.next();
        if seen.as_ref() != Some(&wanted) {
            let of = |(name, file, line, first): (String, String, u32, u32)| {
                format!("{name} ({file}:{line}, from {first})")
            };
            return Err(format!(
                "in a known program the function {} was not found; in its place is {}",
                of(wanted),
                seen.map_or("none".to_owned(), of)
            ));
        }
    }
    Ok(())
}
