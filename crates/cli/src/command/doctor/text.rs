//! What was found, for people. Colour and tables in line are for a terminal; elsewhere columns have tabs between them and no
//! head, for `cut` and `awk`.

use std::env;
use std::io::IsTerminal;

use malloc_backend_diagnose::Diagnosis;

use super::inspection::{Child, Inspection, Memory, Process, Seen, Settings};
use super::malloc::{Backend, Malloc};

pub fn describe(inspection: &Inspection) -> String {
    let Inspection { malloc, process, libc, .. } = inspection;
    let place = match process {
        None => "here".to_owned(),
        Some(process) => format!("in process {}", process.pid),
    };
    let mut lines = vec![
        style(BOLD, &format!("malloc {place}: {}", named(malloc))) + &format!(" ({})", owner(malloc)),
        format!("  {}", malloc.owner),
    ];
    if let Some(process) = process {
        lines.extend(process.diagnosis.iter().flat_map(conclude));
        lines.extend(about(process));
    }
    lines.extend([
        String::new(),
        format!(
            "platform   {}, {}{}, pages of {} bytes",
            inspection.platform,
            libc.name,
            behind(libc.version.as_deref()),
            inspection.page_size
        ),
        format!("libraries  {}", inspection.binaries),
        String::new(),
    ]);
    if let Some(Process { settings, memory: Some(memory), .. }) = process {
        lines.push(describe_memory(memory));
        if settings.node.is_some() {
            lines.push(V8_NEEDS_NODE.to_owned());
        }
        lines.push(String::new());
    }
    let rows = inspection.backends.iter().map(|Backend { backend, version, reason, .. }| {
        let can = reason.as_ref().map_or("yes".to_owned(), |reason| format!("no: {reason}"));
        vec![(*backend).to_owned(), version.clone().unwrap_or_default(), can]
    });
    lines
        .extend([table(&["backend", "version", "can serve a whole process"], rows.collect()), String::new()]);
    if inspection.obstacles.is_empty() {
        lines.push("Nothing stands in the way.".to_owned());
    } else {
        lines.push("In the way:".to_owned());
        lines.extend(inspection.obstacles.iter().map(|obstacle| format!("  - {}", obstacle.message)));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The conclusion, what to try, and what else was seen.
fn conclude(Diagnosis { verdict, notes, .. }: &Diagnosis) -> Vec<String> {
    let mut lines = vec![String::new(), style(BOLD, &verdict.sentence)];
    lines.extend(verdict.command.iter().map(|command| format!("try        {command}")));
    lines
        .extend(verdict.saves_at_most.map(|bytes| format!("saves      at most {:.0} MiB", mebibytes(bytes))));
    lines.extend(notes.iter().map(|note| format!("note       {}", note.message)));
    lines
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// What the process is, what its allocator was told, and what it started.
fn about(Process { settings, children, .. }: &Process) -> Vec<String> {
    let node = settings.node.as_ref().map(|version| format!(", Node {version}")).unwrap_or_default();
    let mut lines = vec![String::new(), format!("program    {}{node}", settings.program)];
    if let Some(preset) = settings.preset {
        lines.push(format!("preset     {preset}"));
    }
    match &settings.options {
        None => {
            lines.push("options    cannot be told: the process has overwritten its environment".to_owned())
        }
        Some(options) if options.is_empty() => lines.push("options    none".to_owned()),
        Some(options) => {
            lines.extend(options.iter().map(|(name, value)| format!("options    {name}={value}")))
        }
    }
    if children.is_empty() {
        lines.push("children   none".to_owned());
    } else {
        let rows = children.iter().map(child).collect();
        lines.extend([String::new(), table(&["child", "of", "malloc", "program"], rows)]);
    }
    lines
}

/// What each part is called.
const PARTS: [(&str, &str); 9] = [
    ("v8Heap", "V8 heap"),
    ("code", "compiled code"),
    ("arrayBuffers", "array buffers"),
    ("mallocLive", "malloc, live"),
    ("mallocCached", "malloc, cached and fragmented"),
    ("malloc", "malloc"),
    ("mappedFiles", "mapped files"),
    ("stacks", "threads' stacks"),
    ("other", "other"),
];

/// From outside nobody sees which block of `malloc` is an array buffer's.
const V8_NEEDS_NODE: &str = "Array buffers are part of malloc here: only V8 counts them, which needs Node. Call memory() in the \
                             process itself.";

fn describe_memory(Memory { rss, parts }: &Memory) -> String {
    let name =
        |part: &'static str| PARTS.iter().find(|(name, _)| *name == part).map_or(part, |(_, name)| *name);
    let rows = parts.named().map(|(part, bytes)| (name(part), bytes)).chain([("RSS", *rss)]);
    let row = |(name, bytes): (&str, u64)| {
        let percent = 100.0 * bytes as f64 / *rss as f64;
        vec![name.to_owned(), format!("{:.1} MiB", mebibytes(bytes)), format!("{percent:.1} %")]
    };
    table(&["memory", "size", "of RSS"], rows.map(row).collect())
}

fn child(Child { pid, parent, seen }: &Child) -> Vec<String> {
    let (malloc, program) = match seen {
        Seen::Process { settings: Settings { program, .. }, malloc } => {
            (format!("{} ({})", named(malloc), owner(malloc)), program.clone())
        }
        Seen::Refused { error } => (error.message.clone(), String::new()),
    };
    vec![pid.to_string(), parent.to_string(), malloc, program]
}

fn named(malloc: &Malloc) -> String {
    format!("{}{}", malloc.allocator, behind(malloc.version.as_deref()))
}

fn owner(malloc: &Malloc) -> &'static str {
    match malloc.kind {
        "shim" => "switched by malloc-backend",
        "foreign" => "an allocator that is not of this package",
        "libc" => "the C library's, not switched",
        _ => "a static program",
    }
}

fn behind(text: Option<&str>) -> String {
    text.map(|text| format!(" {text}")).unwrap_or_default()
}

const BOLD: [u8; 2] = [1, 22];
const DIM: [u8; 2] = [2, 22];

fn is_for_people() -> bool {
    std::io::stdout().is_terminal()
}

/// The text in that style, on a terminal that wants colour (https://no-color.org).
fn style([on, off]: [u8; 2], text: &str) -> String {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    if !is_for_people() || is_set("NO_COLOR") || env::var_os("TERM").is_some_and(|term| term == "dumb") {
        return text.to_owned();
    }
    format!("\u{1b}[{on}m{text}\u{1b}[{off}m")
}

fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    if !is_for_people() {
        return rows.iter().map(|row| row.join("\t")).collect::<Vec<_>>().join("\n");
    }
    let count = |text: &str| text.chars().count();
    let width = |column: usize| {
        rows.iter().map(|row| count(&row[column])).chain([count(head[column])]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = style(DIM, &line(head.to_vec()));
    let rows = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    [head].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}
