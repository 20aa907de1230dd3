//! The file of the profile.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::{env, fs, io, process};

/// A file that is complete or not there.
pub struct File {
    path: PathBuf,
    unfinished: PathBuf,
}

impl File {
    /// The file of that name, in which `%p` stands for the process's id. The program may change the folder.
    ///
    /// # Errors
    /// The folder of this process is gone.
    pub fn new(name: &OsStr) -> io::Result<Self> {
        let id = process::id().to_string();
        let mut path = Vec::new();
        let mut rest = name.as_bytes();
        while let [first, after @ ..] = rest {
            rest = match after {
                [b'p', after @ ..] if *first == b'%' => {
                    path.extend(id.as_bytes());
                    after
                }
                _ => {
                    path.push(*first);
                    after
                }
            };
        }
        let path = env::current_dir()?.join(OsString::from_vec(path));
        let mut unfinished = path.clone().into_os_string();
        unfinished.push(".new");
        Ok(Self { path, unfinished: unfinished.into() })
    }

    /// Writes the file.
    ///
    /// # Errors
    /// Those of the system.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        fs::write(&self.unfinished, bytes)?;
        fs::rename(&self.unfinished, &self.path)
    }
}
