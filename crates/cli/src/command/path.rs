use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use malloc_backend_launch::{Code, Refusal};

use super::Answer;
use super::system::folder;
use super::words::{asks_for_help, misused};

const HELP: &str = "Print the path of the program behind this command. The program needs no Node.

Usage: malloc-backend path [--folder]

Options:
  --folder    print the path of its folder, which is all that run and env need

Example:
  cp -R \"$(npx malloc-backend path --folder)\" /opt/malloc-backend";

pub fn main(words: &[OsString]) -> Answer {
    if words.iter().any(asks_for_help) {
        return Ok(format!("{HELP}\n").into_bytes());
    }
    let folder = folder();
    let program = folder.join("malloc-backend");
    if !program.is_file() {
        let message = format!("the program {} does not exist; install the package again", program.display());
        return Err(Refusal::new(Code::ProgramNotFound, message).into());
    }
    let path = match words {
        [] => program,
        [word] if word == "--folder" => folder,
        [word, ..] => {
            let problem = format!("there is nothing to do with {:?}", word.to_string_lossy());
            return Err(misused(&problem, HELP).into());
        }
    };
    Ok([path.into_os_string().into_vec(), b"\n".to_vec()].concat())
}
