/// Whether the arguments of Python (without the program's name) select dev mode (`-X dev`). In dev mode, Python replaces the
/// allocators by its debug hooks.
///
/// One word may contain several options. The first `c`, `m`, `W` or `X` takes the rest of the word or the next word
/// (Python/getopt.c, `_PyOS_GetOpt`).
pub fn asks_for_dev_mode<'a>(arguments: impl IntoIterator<Item = &'a [u8]>) -> bool {
    let mut arguments = arguments.into_iter();
    while let Some(word) = arguments.next() {
        // The program begins here. The further arguments belong to the program.
        let Some(letters) = word.strip_prefix(b"-").filter(|letters| !letters.is_empty() && *letters != b"-")
        else {
            return false;
        };
        if letters.starts_with(b"-") {
            if letters == b"-check-hash-based-pycs" {
                arguments.next();
            }
            continue;
        }
        let Some(at) = letters.iter().position(|letter| b"cmWX".contains(letter)) else { continue };
        let inline = &letters[at + 1..];
        let value = match letters[at] {
            b'c' | b'm' => return false,
            _ if inline.is_empty() => arguments.next().unwrap_or_default(),
            _ => inline,
        };
        if letters[at] == b'X' && (value == b"dev" || value.starts_with(b"dev=")) {
            return true;
        }
    }
    false
}
