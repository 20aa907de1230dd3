//! Reading another process's memory as it is in physical memory: nothing is brought in for it, and the process goes on.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Where a walk reads from.
pub trait Memory {
    /// The two words of a chunk's header, which is at a multiple of 16; `None` where that is not in physical memory, is
    /// gone, or is more than may be read.
    fn header(&mut self, address: u64, access: Access) -> Option<Header>;

    /// Forgets what was read before of that place.
    fn forget(&mut self, address: u64);

    /// The first address of the range that is in physical memory.
    fn next_present(&mut self, range: Range<u64>) -> Option<u64>;

    /// How many bytes of the range are in physical memory.
    fn resident(&mut self, range: Range<u64>) -> u64;
}

/// What a header is read for: a walk goes on behind it, a probe may be anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Walk,
    Probe,
}

/// The first two words of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Of the chunk before, if that is free.
    pub previous: u64,
    /// With its flags.
    pub size: u64,
}

/// Bytes in front of the walk at the most.
const AHEAD: u64 = 256 << 10;
/// Of so many pages at a time it is looked up whether they are in physical memory: of few where the looks jump, of many
/// where they go on.
const WINDOW: [u64; 2] = [32, 8 << 10];
/// Probes are pages read out of turn. A heap in which the walk loses its way again and again is not read for ever.
const PROBES: u64 = 1 << 20;

/// A process's memory.
pub struct Source {
    memory: File,
    pages: Pages,
    walked: Buffer,
    probed: Buffer,
    /// How far to read ahead.
    ahead: u64,
    /// Bytes that may still be read.
    left: u64,
    probes_left: u64,
}

/// Bytes that were read, and where.
#[derive(Default)]
struct Buffer {
    start: u64,
    bytes: Vec<u8>,
}

impl Buffer {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    fn header(&self, address: u64) -> Option<Header> {
        let at = usize::try_from(address.checked_sub(self.start)?).ok()?;
        let words: &[u8; 16] = self.bytes.get(at..)?.first_chunk()?;
        let [previous, size] = [&words[..8], &words[8..]]
            .map(|word| word.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)));
        Some(Header { previous, size })
    }
}

impl Source {
    /// Opens the process's memory, of which `limit` bytes are read at the most.
    ///
    /// # Errors
    /// Where the right to is missing: more than for its maps (ptrace(2), `PTRACE_MODE_ATTACH_FSCREDS`).
    pub fn open(pid: u32, page: u64, limit: u64) -> io::Result<Self> {
        Ok(Self {
            memory: File::open(format!("/proc/{pid}/mem"))?,
            pages: Pages {
                file: File::open(format!("/proc/{pid}/pagemap"))?,
                page,
                first: 0,
                is_present: Vec::new(),
            },
            walked: Buffer::default(),
            probed: Buffer::default(),
            ahead: page,
            left: limit,
            probes_left: PROBES,
        })
    }

    /// Reads whole pages from that one on, as far as they are in physical memory and no further than `most` bytes.
    fn read(&mut self, page: u64, most: u64, buffer: &mut Buffer) -> Option<()> {
        let size = self.pages.page;
        let mut end = page;
        while end - page < most.min(self.left) && self.pages.is_present(end) {
            end += size;
        }
        buffer.start = page;
        buffer.bytes.resize((end - page) as usize, 0);
        let read = self.memory.read_at(&mut buffer.bytes, page).unwrap_or(0);
        buffer.bytes.truncate(read);
        self.left -= (read as u64).min(self.left);
        (read > 0).then_some(())
    }

    /// Bytes of that place, if all of them are in physical memory.
    pub fn bytes(&mut self, address: u64, bytes: &mut [u8]) -> Option<()> {
        let size = self.pages.page;
        let end = address.checked_add(bytes.len() as u64)?;
        let mut page = address / size * size;
        while page < end {
            self.pages.is_present(page).then_some(())?;
            page += size;
        }
        self.memory.read_exact_at(bytes, address).ok()
    }

    /// Words of that place, likewise.
    pub fn words<const COUNT: usize>(&mut self, address: u64) -> Option<[u64; COUNT]> {
        let mut bytes = vec![0; COUNT * 8];
        self.bytes(address, &mut bytes)?;
        let (words, _) = bytes.as_chunks::<8>();
        let mut words = words.iter().copied().map(u64::from_ne_bytes);
        Some([(); COUNT].map(|()| words.next().unwrap_or_default()))
    }
}

impl Memory for Source {
    fn header(&mut self, address: u64, access: Access) -> Option<Header> {
        let size = self.pages.page;
        let page = address / size * size;
        if let Some(header) = self.walked.header(address).or_else(|| self.probed.header(address)) {
            return Some(header);
        }
        let (mut buffer, most) = match access {
            Access::Walk => {
                // From page to page there is more to come; behind a large chunk there may be another one.
                let is_next = page.checked_sub(self.walked.end()).is_some_and(|gap| gap < self.ahead);
                self.ahead = if is_next { (self.ahead * 2).min(AHEAD) } else { size };
                (std::mem::take(&mut self.walked), self.ahead)
            }
            Access::Probe => {
                self.probes_left = self.probes_left.checked_sub(1)?;
                (std::mem::take(&mut self.probed), size)
            }
        };
        let read = self.read(page, most, &mut buffer);
        match access {
            Access::Walk => self.walked = buffer,
            Access::Probe => self.probed = buffer,
        }
        read?;
        match access {
            Access::Walk => self.walked.header(address),
            Access::Probe => self.probed.header(address),
        }
    }

    fn forget(&mut self, address: u64) {
        for buffer in [&mut self.walked, &mut self.probed] {
            if (buffer.start..buffer.end()).contains(&address) {
                // Its end stays, so that reading ahead goes on.
                buffer.start = buffer.end();
                buffer.bytes.clear();
            }
        }
    }

    fn next_present(&mut self, range: Range<u64>) -> Option<u64> {
        let size = self.pages.page;
        // Where no more may be read, nothing is there to be read.
        if self.left == 0 || self.probes_left == 0 {
            return None;
        }
        let mut at = range.start;
        while at < range.end {
            if self.pages.is_present(at) {
                return Some(at);
            }
            at = (at / size + 1) * size;
        }
        None
    }

    fn resident(&mut self, range: Range<u64>) -> u64 {
        self.pages.resident(range)
    }
}

/// Which pages are in physical memory (the kernel's admin-guide/mm/pagemap.rst).
struct Pages {
    file: File,
    page: u64,
    /// The number of the first page of those that are known.
    first: u64,
    is_present: Vec<bool>,
}

impl Pages {
    fn is_present(&mut self, address: u64) -> bool {
        let number = address / self.page;
        match number.checked_sub(self.first).and_then(|index| self.is_present.get(index as usize)) {
            Some(is_present) => *is_present,
            None => {
                self.read(number);
                self.is_present.first().copied().unwrap_or(false)
            }
        }
    }

    /// Learns of that page and of those behind it.
    fn read(&mut self, number: u64) {
        const ENTRY: u64 = 8;
        const PRESENT: u64 = 1 << 63;
        let is_next = number == self.first + self.is_present.len() as u64;
        let mut entries = vec![0; (WINDOW[usize::from(is_next)] * ENTRY) as usize];
        let read = self.file.read_at(&mut entries, number.saturating_mul(ENTRY)).unwrap_or(0);
        let (entries, _) = entries[..read].as_chunks::<8>();
        self.first = number;
        self.is_present.clear();
        self.is_present.extend(entries.iter().map(|entry| u64::from_ne_bytes(*entry) & PRESENT != 0));
    }

    fn resident(&mut self, range: Range<u64>) -> u64 {
        let mut bytes = 0;
        let mut at = range.start;
        while at < range.end {
            let next = ((at / self.page + 1) * self.page).min(range.end);
            if self.is_present(at) {
                bytes += next - at;
            }
            at = next;
        }
        bytes
    }
}
