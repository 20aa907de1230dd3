//! Converts values to Python's objects and back. Only the thread that holds the GIL may call these functions.

use std::collections::HashSet;
use std::ffi::{CStr, c_char};
use std::ptr;

use super::library::{Library, Object};
use super::owned_bytes::OwnedBytes;
use super::state::is_free_threaded;
use super::value::{Bytes, MAX_DEPTH, Value};

/// A `bytes` of at least this length is handed over and not copied.
const HAND_OVER: isize = 64 << 10;

/// An owned reference. A drop releases it.
pub struct Owned<'lib>(&'lib Library, Object);

impl<'lib> Owned<'lib> {
    /// Takes ownership of a new reference. Null means a failure, and an exception is set.
    ///
    /// # Safety
    /// The argument is a new reference or null. The GIL is held as long as the result lives.
    pub unsafe fn new(python: &'lib Library, object: Object) -> Result<Self, Raised> {
        if object.is_null() { Err(Raised) } else { Ok(Self(python, object)) }
    }

    /// The object as a borrowed reference.
    pub fn get(&self) -> Object {
        self.1
    }

    /// The reference, for a function that takes ownership.
    pub fn give(self) -> Object {
        let object = self.1;
        std::mem::forget(self);
        object
    }
}

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        // SAFETY: `self` owns the reference, and the GIL is held.
        unsafe { (self.0.Py_DecRef)(self.1) }
    }
}

/// Python raised an exception, which is set.
#[derive(Debug)]
pub struct Raised;

/// Why an object could not be converted.
pub enum Unconverted {
    Raised,
    NoEquivalent(String),
}

impl From<Raised> for Unconverted {
    fn from(_: Raised) -> Self {
        Self::Raised
    }
}

impl Library {
    /// # Safety
    /// The GIL is held.
    pub unsafe fn object(&self, value: Value) -> Result<Owned<'_>, Raised> {
        // SAFETY: each function returns a new reference or null, and takes ownership of the references that it gets.
        unsafe {
            let object = match value {
                Value::None => {
                    (self.Py_IncRef)(self._Py_NoneStruct);
                    self._Py_NoneStruct
                }
                Value::Bool(value) => (self.PyBool_FromLong)(value.into()),
                Value::Int(value) => (self.PyLong_FromLongLong)(value),
                Value::BigInt(negative, digits) => {
                    let text = format!("{}{digits}\0", if negative { "-" } else { "" });
                    (self.PyLong_FromString)(text.as_ptr().cast(), ptr::null_mut(), 16)
                }
                Value::Float(value) => (self.PyFloat_FromDouble)(value),
                Value::Text(text) => {
                    (self.PyUnicode_FromStringAndSize)(text.as_ptr().cast(), text.len() as isize)
                }
                Value::Wide(text) => self.wide(&text),
                Value::Bytes(bytes) => return self.bytes(bytes),
                Value::List(values) => {
                    let list = Owned::new(self, (self.PyList_New)(values.len() as isize))?;
                    for (index, value) in values.into_iter().enumerate() {
                        (self.PyList_SetItem)(list.get(), index as isize, self.object(value)?.give());
                    }
                    list.give()
                }
                Value::Dict(entries) => self.dict(entries)?.give(),
            };
            Owned::new(self, object)
        }
    }

    /// # Safety
    /// The GIL is held.
    pub unsafe fn dict(&self, entries: Vec<(Value, Value)>) -> Result<Owned<'_>, Raised> {
        // SAFETY: see `object`.
        unsafe {
            let dict = Owned::new(self, (self.PyDict_New)())?;
            for (key, value) in entries {
                let (key, value) = (self.object(key)?, self.object(value)?);
                if (self.PyDict_SetItem)(dict.get(), key.get(), value.get()) != 0 {
                    return Err(Raised);
                }
            }
            Ok(dict)
        }
    }

    /// # Safety
    /// The GIL is held.
    pub unsafe fn tuple(&self, values: Vec<Value>) -> Result<Owned<'_>, Raised> {
        // SAFETY: see `object`.
        unsafe {
            let tuple = Owned::new(self, (self.PyTuple_New)(values.len() as isize))?;
            for (index, value) in values.into_iter().enumerate() {
                (self.PyTuple_SetItem)(tuple.get(), index as isize, self.object(value)?.give());
            }
            Ok(tuple)
        }
    }

    /// # Safety
    /// The GIL is held.
    unsafe fn wide(&self, text: &[u16]) -> Object {
        // In the byte order of this machine, without a byte order mark.
        let mut order = if cfg!(target_endian = "little") { -1 } else { 1 };
        // SAFETY: readable, as many bytes as said.
        unsafe {
            (self.PyUnicode_DecodeUTF16)(
                text.as_ptr().cast(),
                size_of_val(text) as isize,
                c"surrogatepass".as_ptr(),
                &mut order,
            )
        }
    }

    /// # Safety
    /// The GIL is held.
    unsafe fn bytes(&self, bytes: Bytes) -> Result<Owned<'_>, Raised> {
        // SAFETY: the new `bytes` is filled within its size before other code sees it.
        unsafe {
            match bytes {
                Bytes::Copied(bytes) => Owned::new(
                    self,
                    (self.PyBytes_FromStringAndSize)(bytes.as_ptr().cast(), bytes.len() as isize),
                ),
                Bytes::Pieces(pieces) => {
                    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
                    let object =
                        Owned::new(self, (self.PyBytes_FromStringAndSize)(ptr::null(), length as isize))?;
                    let mut at: *mut u8 = (self.PyBytes_AsString)(object.get()).cast();
                    for piece in pieces {
                        at.copy_from_nonoverlapping(piece.as_ptr(), piece.len());
                        at = at.add(piece.len());
                    }
                    Ok(object)
                }
                Bytes::Owned(owned) => {
                    let (data, length) = (owned.as_ptr(), owned.len());
                    Owned::new(self, (self.PyBytes_FromStringAndSize)(data.cast(), length as isize))
                }
            }
        }
    }

    /// Converts an object to a value. With `or_repr`, an object without an equivalent becomes its `repr`.
    ///
    /// # Safety
    /// The GIL is held.
    pub unsafe fn value(&self, object: Owned<'_>, or_repr: bool, depth: usize) -> Result<Value, Unconverted> {
        // SAFETY: `object` is a live reference. Borrowed references are used before it is released. The items come from a
        // tuple, which does not change. A list is copied to a tuple first, because the conversion of an item can run code,
        // and without the GIL other threads run at the same time.
        unsafe {
            let this = object.get();
            if this == self._Py_NoneStruct {
                return Ok(Value::None);
            }
            if this == self._Py_TrueStruct || this == self._Py_FalseStruct {
                return Ok(Value::Bool(this == self._Py_TrueStruct));
            }
            let class = Owned::new(self, (self.PyObject_Type)(this))?;
            let is = |other: Object| class.get() == other || (self.PyType_IsSubtype)(class.get(), other) != 0;
            if is(self.PyLong_Type) {
                return self.int(this);
            }
            if is(self.PyFloat_Type) {
                return Ok(Value::Float((self.PyFloat_AsDouble)(this)));
            }
            if is(self.PyUnicode_Type) {
                return Ok(self.text(this)?);
            }
            if is(self.PyBytes_Type) {
                return Ok(Value::Bytes(self.bytes_of(object)));
            }
            if is(self.PyByteArray_Type) || is(self.PyMemoryView_Type) {
                let bytes = Owned::new(self, (self.PyBytes_FromObject)(this))?;
                return Ok(Value::Bytes(self.bytes_of(bytes)));
            }
            if (is(self.PyList_Type) || is(self.PyTuple_Type)) && depth < MAX_DEPTH {
                let items = match is(self.PyList_Type) {
                    true => Owned::new(self, (self.PyList_AsTuple)(this))?,
                    false => object,
                };
                let size = (self.PyTuple_Size)(items.get());
                let mut values = Vec::with_capacity(size as usize);
                for index in 0..size {
                    let item = self.new_reference((self.PyTuple_GetItem)(items.get(), index))?;
                    values.push(self.value(item, or_repr, depth + 1)?);
                }
                return Ok(Value::List(values));
            }
            if is(self.PyDict_Type) && depth < MAX_DEPTH {
                return self.entries(this, or_repr, depth);
            }
            if or_repr {
                let text = Owned::new(self, (self.PyObject_Repr)(this))?;
                return Ok(self.text(text.get())?);
            }
            let name = self.name_of_class(class.get());
            Err(Unconverted::NoEquivalent(match depth {
                MAX_DEPTH.. => format!("a {name} nested more than {MAX_DEPTH} deep, or within itself"),
                _ => format!("a Python object of type {name}"),
            }))
        }
    }

    /// # Safety
    /// The GIL is held. The argument is a live object, or null after a failure.
    unsafe fn new_reference(&self, borrowed: Object) -> Result<Owned<'_>, Raised> {
        // SAFETY: the caller's obligation.
        unsafe {
            if !borrowed.is_null() {
                (self.Py_IncRef)(borrowed);
            }
            Owned::new(self, borrowed)
        }
    }

    /// # Safety
    /// The GIL is held; `this` is a live int.
    unsafe fn int(&self, this: Object) -> Result<Value, Unconverted> {
        // SAFETY: the caller's obligation.
        unsafe {
            let mut overflow = 0;
            let value = (self.PyLong_AsLongLongAndOverflow)(this, &mut overflow);
            if overflow == 0 {
                return Ok(Value::Int(value));
            }
            let text = Owned::new(self, (self.PyNumber_ToBase)(this, 16))?;
            let Value::Text(text) = self.text(text.get())? else { return Err(Unconverted::Raised) };
            let digits = text.trim_start_matches('-').trim_start_matches("0x").to_owned();
            Ok(Value::BigInt(overflow < 0, digits))
        }
    }

    /// # Safety
    /// The GIL is held; `this` is a live dict.
    unsafe fn entries(&self, this: Object, or_repr: bool, depth: usize) -> Result<Value, Unconverted> {
        // SAFETY: the items are a list of tuples that only this function uses.
        unsafe {
            let items = Owned::new(self, (self.PyDict_Items)(this))?;
            let size = (self.PyList_Size)(items.get());
            let mut converted: Vec<(Value, Value)> = Vec::with_capacity(size as usize);
            let mut has_reprs = false;
            for index in 0..size {
                let item = (self.PyList_GetItem)(items.get(), index);
                let key = self.new_reference((self.PyTuple_GetItem)(item, 0))?;
                let value = self.new_reference((self.PyTuple_GetItem)(item, 1))?;
                let class = Owned::new(self, (self.PyObject_Type)(key.get()))?;
                let is_text = (self.PyType_IsSubtype)(class.get(), self.PyUnicode_Type) != 0;
                let key = match (is_text, or_repr) {
                    (true, _) => self.text(key.get())?,
                    (false, true) => self.text(Owned::new(self, (self.PyObject_Repr)(key.get()))?.get())?,
                    (false, false) => {
                        let name = self.name_of_class(class.get());
                        return Err(Unconverted::NoEquivalent(format!("a dict with a key of type {name}")));
                    }
                };
                has_reprs |= !is_text;
                converted.push((key, self.value(value, or_repr, depth + 1)?));
            }
            // Two keys may have the same text. One entry would be lost.
            if has_reprs && !are_distinct(converted.iter().map(|(key, _)| key)) {
                return Ok(self.text(Owned::new(self, (self.PyObject_Repr)(this))?.get())?);
            }
            Ok(Value::Dict(converted))
        }
    }

    /// # Safety
    /// The GIL is held; `this` is a live str.
    pub unsafe fn text(&self, this: Object) -> Result<Value, Raised> {
        // SAFETY: the text belongs to the object, which lives until the text is copied.
        unsafe {
            let mut length = 0;
            let utf8 = (self.PyUnicode_AsUTF8AndSize)(this, &mut length);
            if !utf8.is_null() {
                let bytes = std::slice::from_raw_parts(utf8.cast::<u8>(), length as usize);
                return Ok(Value::Text(String::from_utf8_unchecked(bytes.to_vec())));
            }
            // The text has lone surrogates.
            (self.PyErr_Clear)();
            let encoding = if cfg!(target_endian = "little") { c"utf-16-le" } else { c"utf-16-be" };
            let encoded =
                (self.PyUnicode_AsEncodedString)(this, encoding.as_ptr(), c"surrogatepass".as_ptr());
            let encoded = Owned::new(self, encoded)?;
            let data = (self.PyBytes_AsString)(encoded.get()).cast::<[u8; 2]>();
            let units = (self.PyBytes_Size)(encoded.get()) as usize / 2;
            let units = std::slice::from_raw_parts(data, units);
            Ok(Value::Wide(units.iter().map(|unit| u16::from_ne_bytes(*unit)).collect()))
        }
    }

    /// # Safety
    /// The GIL is held; the object is a bytes.
    unsafe fn bytes_of(&self, object: Owned<'_>) -> Bytes {
        // SAFETY: the bytes belong to the object and live as long as the object. Its first field is the reference count, from
        // 3.14 on together with flags. The value 1 means that this is the only reference.
        unsafe {
            let length = (self.PyBytes_Size)(object.get());
            let data: *const u8 = (self.PyBytes_AsString)(object.get()).cast();
            let is_only_one = !is_free_threaded() && object.get().cast::<isize>().read() == 1;
            if length >= HAND_OVER && is_only_one {
                return Bytes::Owned(OwnedBytes::new(object.give(), data.cast_mut(), length as usize));
            }
            Bytes::Copied(std::slice::from_raw_parts(data, length as usize).to_vec())
        }
    }

    /// # Safety
    /// The GIL is held; `class` is a live type.
    pub unsafe fn name_of_class(&self, class: Object) -> String {
        // SAFETY: the caller's obligation.
        unsafe {
            let attribute = |name: &CStr| {
                let name = (self.PyObject_GetAttrString)(class, name.as_ptr());
                let text = Owned::new(self, name).and_then(|name| self.plain_text(name.get()));
                text.unwrap_or_else(|_| {
                    (self.PyErr_Clear)();
                    "?".to_owned()
                })
            };
            match attribute(c"__module__").as_str() {
                "builtins" | "__main__" => attribute(c"__qualname__"),
                module => format!("{module}.{}", attribute(c"__qualname__")),
            }
        }
    }

    /// # Safety
    /// The GIL is held, and `this` is a live object. An object that is not a `str` has no text.
    pub unsafe fn plain_text(&self, this: Object) -> Result<String, Raised> {
        // SAFETY: the caller's obligation.
        Ok(match unsafe { self.text(this) }? {
            Value::Text(text) => text,
            Value::Wide(text) => String::from_utf16_lossy(&text),
            _ => String::new(),
        })
    }

    /// The text of a `str`. Returns `None` for Python's `None`.
    ///
    /// # Safety
    /// The GIL is held; `this` is a live object.
    pub unsafe fn plain_text_or_none(&self, this: Object) -> Result<Option<String>, Raised> {
        if this == self._Py_NoneStruct {
            return Ok(None);
        }
        // SAFETY: the caller's obligation.
        unsafe { self.plain_text(this) }.map(Some)
    }
}

const _: () = assert!(size_of::<c_char>() == 1);

/// Whether all texts differ.
fn are_distinct<'a>(texts: impl Iterator<Item = &'a Value>) -> bool {
    let mut seen = HashSet::new();
    texts
        .map(|text| match text {
            Value::Text(text) => text.encode_utf16().collect(),
            Value::Wide(units) => units.clone(),
            _ => Vec::new(),
        })
        .all(|text| seen.insert(text))
}
