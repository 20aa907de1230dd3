use std::ffi::{OsStr, OsString};

use malloc_backend_launch::{Code, Context, Launch, Refusal, find_program};

use crate::Answer;
use crate::system::{become_program, entries, own_folder};

/// Where the rest of the command lies: in a package beside this one's, and in a checkout above it.
const SCRIPTS: [&str; 2] = ["../../malloc-backend/dist/cli/main.cjs", "../../dist/cli/main.cjs"];

/// Becomes Node, for a command that is in JavaScript.
pub fn main(words: &[OsString]) -> Answer {
    let folder = own_folder();
    let script = SCRIPTS.map(|script| folder.join(script)).into_iter().find(|script| script.exists());
    let context = Context { search: std::env::var_os("PATH"), ..Context::default() };
    let node = find_program(OsStr::new("node"), &context, "Node");
    let (Some(script), Ok(file)) = (script, node) else {
        return Err(Refusal::new(
            Code::ProgramNotFound,
            "of its commands, run and env are all that there is without Node and the package malloc-backend beside this \
             one; malloc-backend run --help tells more",
        )
        .into());
    };
    let words = [OsString::from("node"), script.into()].into_iter().chain(words.to_vec());
    Err(become_program(&Launch { file, arguments: words.collect() }, entries()).into())
}
