//! Reads the exceptions that Python raises.

use std::ptr;

use super::convert::{Owned, Raised};
use super::library::{Library, Object};
use super::value::Failure;

impl Library {
    /// Clears the exception and returns new references to its class, value and traceback. The traceback may be null.
    ///
    /// # Safety
    /// The GIL is held and an exception is set.
    pub unsafe fn fetch(&self) -> [Object; 3] {
        let [mut class, mut value, mut traceback] = [ptr::null_mut(); 3];
        // SAFETY: the caller's obligation. The value may be null until it is normalised.
        unsafe {
            (self.PyErr_Fetch)(&mut class, &mut value, &mut traceback);
            (self.PyErr_NormalizeException)(&mut class, &mut value, &mut traceback);
        }
        [class, value, traceback]
    }

    /// Clears the exception and returns it.
    ///
    /// # Safety
    /// The GIL is held and an exception is set.
    pub unsafe fn exception(&self) -> Failure {
        // SAFETY: the caller's obligation. The references are owned.
        unsafe {
            let own = |object| Owned::new(self, object);
            let [Ok(class), Ok(value), traceback] = self.fetch().map(own) else {
                return Failure::NoEquivalent("an exception without a type".to_owned());
            };
            let traceback = traceback.ok();
            let message = own((self.PyObject_Str)(value.get())).and_then(|text| self.plain_text(text.get()));
            // Clear an exception of `__str__`, so that other code does not see it.
            (self.PyErr_Clear)();
            let formatted = self.formatted(&class, &value, traceback.as_ref());
            let name = self.name_of_class(class.get());
            (self.PyErr_Clear)();
            Failure::Exception {
                class: name,
                message: message.unwrap_or_default(),
                traceback: formatted.unwrap_or_default(),
            }
        }
    }

    /// `''.join(traceback.format_exception(class, value, traceback))`
    ///
    /// # Safety
    /// The GIL is held.
    unsafe fn formatted(
        &self,
        class: &Owned<'_>,
        value: &Owned<'_>,
        traceback: Option<&Owned<'_>>,
    ) -> Result<String, Raised> {
        // SAFETY: new references are owned. A tuple takes ownership of its items.
        unsafe {
            let module = Owned::new(self, (self.PyImport_ImportModule)(c"traceback".as_ptr()))?;
            let format = (self.PyObject_GetAttrString)(module.get(), c"format_exception".as_ptr());
            let format = Owned::new(self, format)?;
            let arguments = Owned::new(self, (self.PyTuple_New)(3))?;
            let none = self._Py_NoneStruct;
            for (index, object) in
                [class.get(), value.get(), traceback.map_or(none, Owned::get)].into_iter().enumerate()
            {
                (self.Py_IncRef)(object);
                (self.PyTuple_SetItem)(arguments.get(), index as isize, object);
            }
            let lines = (self.PyObject_Call)(format.get(), arguments.get(), ptr::null_mut());
            let lines = Owned::new(self, lines)?;
            let mut text = String::new();
            for index in 0..(self.PyList_Size)(lines.get()) {
                text += &self.plain_text((self.PyList_GetItem)(lines.get(), index))?;
            }
            Ok(text)
        }
    }
}
