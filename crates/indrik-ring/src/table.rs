//! The table: values that a process and its forks add to, and that the supervisor reads.
//!
//! One memfd for each process that the supervisor makes. An entry is a key, what belongs to it, and cells; what these
//! mean is `indrik_core::app_metrics`' to say. There is no lock in it that a fork could inherit or a death could keep:
//!
//! * Entries are only added. Room is reserved by one compare-and-swap, the entry is written where nobody looks, and is
//!   published by a second one, on the head of its chain. Who dies between both loses the room, and nothing else.
//! * A value is one atomic word, so an addition has happened or it has not, whenever the process is killed.
//! * The reader copies everything out first, and believes nothing of the copy: it follows chains only as far as all
//!   entries together can be long.
//! * [`TableMemory::is_final`] says when no process can write any more: the kernel refuses that seal while anybody has
//!   the memory mapped, so also a child that outlives its worker is counted to the end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

use crate::memory::PAGE;
use crate::sync::{AtomicU64, Ordering};

/// The most bytes of a key, and of what belongs to it.
pub const TABLE_KEY_BYTES_MAX: usize = 32 * 1024;
/// The most cells of an entry.
pub const TABLE_CELLS_MAX: usize = 1024;
/// The smallest table.
pub const TABLE_BYTES_MIN: usize = 64 * 1024;
/// The largest table; a word's place has 32 bits.
pub const TABLE_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Counters of what could not be kept.
pub const TABLE_LOSSES: usize = 8;

const MAGIC: u64 = 0x314b_4952_444e_4954;
const WORD: usize = size_of::<u64>();

// Words of the head.
const AT_MAGIC: usize = 0;
/// Words that are given out.
const AT_USED: usize = 1;
const AT_LOSSES: usize = 2;
const AT_CHAINS: usize = 16;
const CHAINS: usize = 2048;
const HEAD_WORDS: usize = AT_CHAINS + CHAINS;

/// Words before an entry's key: the next of its chain and its hash, then its sizes.
const ENTRY_HEAD: usize = 2;

/// Why there is no such entry, and none can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableError {
    /// There is no room.
    Full,
    /// The key, or what belongs to it, is too long, or it has too many cells.
    TooLong,
    /// The memory holds what no version of this code has written.
    Corrupt,
}

/// The sizes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    key: usize,
    extra: usize,
    cells: usize,
}

impl Sizes {
    fn of(key: &[u8], extra: &[u8], cells: usize) -> Result<Self, TableError> {
        let sizes = Self { key: key.len(), extra: extra.len(), cells };
        if sizes.is_allowed() { Ok(sizes) } else { Err(TableError::TooLong) }
    }

    const fn is_allowed(self) -> bool {
        self.key <= TABLE_KEY_BYTES_MAX
            && self.extra <= TABLE_KEY_BYTES_MAX
            && self.cells <= TABLE_CELLS_MAX
    }

    const fn encode(self) -> u64 {
        (self.key as u64) | ((self.extra as u64) << 16) | ((self.cells as u64) << 32)
    }

    const fn decode(word: u64) -> Self {
        Self {
            key: (word & 0xffff) as usize,
            extra: ((word >> 16) & 0xffff) as usize,
            cells: (word >> 32) as usize,
        }
    }

    const fn words(self) -> usize {
        self.before_cells() + self.cells
    }

    const fn before_cells(self) -> usize {
        ENTRY_HEAD + self.key.div_ceil(WORD) + self.extra.div_ceil(WORD)
    }
}

/// A key's hash (FNV-1a): well enough spread, and the same in every process.
fn hash_of(key: &[u8]) -> u32 {
    let full = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (full ^ (full >> 32)) as u32
}

const fn chain_of(hash: u32) -> usize {
    AT_CHAINS + hash as usize % CHAINS
}

/// An entry of the table that this process adds to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableEntry {
    at: usize,
    sizes: Sizes,
}

impl TableEntry {
    /// Its first cell, as [`Table::add`] wants it.
    #[must_use]
    pub const fn first_cell(self) -> u32 {
        (self.at + self.sizes.before_cells()) as u32
    }

    /// How many cells it has.
    #[must_use]
    pub const fn cells(self) -> usize {
        self.sizes.cells
    }
}

/// The table of this process.
pub struct Table {
    base: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the memory is reached by atomics only, and is mapped as long as the value lives.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

impl Table {
    /// Maps a table that the supervisor has made; the descriptor is not needed afterwards.
    ///
    /// # Errors
    /// When it is no table, or cannot be mapped.
    pub fn open(memory: &OwnedFd) -> io::Result<Self> {
        let size = size_of_file(memory)?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice; the seals keep the file's size.
        let base = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), size, protection, MapFlags::SHARED, memory, 0)?
        };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let table = Self { base, words: size / WORD };
        if table.word(AT_MAGIC).load(Ordering::Relaxed) != MAGIC {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no table of metrics"));
        }
        Ok(table)
    }

    /// A table that nobody else sees, for a process that was given none. A fork has a copy.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn private(bytes: usize) -> io::Result<Self> {
        let size = rounded(bytes);
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let base =
            unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), size, protection, flags)? };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let table = Self { base, words: size / WORD };
        write_head(table.words());
        Ok(table)
    }

    /// Lets go of the shared memory. Whoever still adds to the table does so to memory of its own that nobody reads.
    ///
    /// # Errors
    /// When there is no memory for that: then the table stays as it is.
    pub fn leave(&self) -> io::Result<()> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: it takes the place of exactly our own mapping; what points into that finds zeroed atomics of the
        // same size.
        unsafe {
            rustix::mm::mmap_anonymous(
                self.base.as_ptr().cast(),
                self.words * WORD,
                protection,
                flags,
            )?;
        }
        write_head(self.words());
        Ok(())
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: so many words are mapped as long as `self` lives, and every value is valid for an atomic.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.words) }
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        &self.words()[at]
    }

    /// Finds the entry of a key, or makes one, whose cells are zero.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn entry(&self, key: &[u8], extra: &[u8], cells: usize) -> Result<TableEntry, TableError> {
        let hash = hash_of(key);
        let chain = self.word(chain_of(hash));
        let mut made = None;
        loop {
            let first = chain.load(Ordering::Acquire);
            if let Some(found) = self.find(first, hash, key)? {
                return Ok(found);
            }
            let (at, sizes) = match made {
                Some(made) => made,
                None => *made.insert(self.write(hash, key, extra, cells)?),
            };
            let next = (first & u64::from(u32::MAX)) | (u64::from(hash) << 32);
            self.word(at).store(next, Ordering::Relaxed);
            let published =
                chain.compare_exchange(first, at as u64, Ordering::AcqRel, Ordering::Acquire);
            if published.is_ok() {
                return Ok(TableEntry { at, sizes });
            }
        }
    }

    /// Finds a key in the chain that begins at a word.
    fn find(&self, first: u64, hash: u32, key: &[u8]) -> Result<Option<TableEntry>, TableError> {
        let words = self.words();
        let mut at = first as usize;
        // No chain has more entries than the table has room for.
        for _ in 0..words.len() / ENTRY_HEAD {
            if at == 0 {
                return Ok(None);
            }
            let head = words.get(at..at + ENTRY_HEAD).ok_or(TableError::Corrupt)?;
            let next = head[0].load(Ordering::Acquire);
            let sizes = Sizes::decode(head[1].load(Ordering::Relaxed));
            if (next >> 32) as u32 == hash && sizes.key == key.len() {
                let end = at.saturating_add(sizes.words());
                let entry = words.get(at..end).ok_or(TableError::Corrupt)?;
                if is_key(&entry[ENTRY_HEAD..], key) {
                    return Ok(Some(TableEntry { at, sizes }));
                }
            }
            at = (next & u64::from(u32::MAX)) as usize;
        }
        Err(TableError::Corrupt)
    }

    /// Reserves room for an entry and writes it there, unpublished.
    fn write(
        &self,
        hash: u32,
        key: &[u8],
        extra: &[u8],
        cells: usize,
    ) -> Result<(usize, Sizes), TableError> {
        let sizes = Sizes::of(key, extra, cells)?;
        let at = self.reserve(sizes.words())?;
        let entry = self.words().get(at..at + sizes.words()).ok_or(TableError::Corrupt)?;
        entry[0].store(u64::from(hash) << 32, Ordering::Relaxed);
        entry[1].store(sizes.encode(), Ordering::Relaxed);
        let texts = [key, extra].into_iter().flat_map(|text| text.chunks(WORD));
        for (word, chunk) in entry[ENTRY_HEAD..].iter().zip(texts) {
            word.store(packed(chunk), Ordering::Relaxed);
        }
        Ok((at, sizes))
    }

    fn reserve(&self, words: usize) -> Result<usize, TableError> {
        let used = self.word(AT_USED);
        let mut before = used.load(Ordering::Relaxed);
        loop {
            let end = before.saturating_add(words as u64);
            if before < HEAD_WORDS as u64 {
                return Err(TableError::Corrupt);
            }
            if end > self.words as u64 {
                return Err(TableError::Full);
            }
            match used.compare_exchange(before, end, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(before as usize),
                Err(now) => before = now,
            }
        }
    }

    /// What belongs to an entry's key.
    #[must_use]
    pub fn extra(&self, entry: TableEntry) -> Vec<u8> {
        let sizes = entry.sizes;
        let from = entry.at + ENTRY_HEAD + sizes.key.div_ceil(WORD);
        let words = self.words().get(from..from + sizes.extra.div_ceil(WORD)).unwrap_or_default();
        let bytes = words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes());
        bytes.take(sizes.extra).collect()
    }

    /// The value of a cell; 0 for what is no cell.
    #[must_use]
    pub fn get(&self, cell: u32) -> f64 {
        let word = self.cell(cell);
        f64::from_bits(word.map_or(0, |word| word.load(Ordering::Relaxed)))
    }

    /// Sets a cell.
    pub fn set(&self, cell: u32, value: f64) {
        if let Some(word) = self.cell(cell) {
            word.store(value.to_bits(), Ordering::Relaxed);
        }
    }

    /// Adds to a cell.
    pub fn add(&self, cell: u32, amount: f64) {
        let Some(word) = self.cell(cell) else { return };
        let mut before = word.load(Ordering::Relaxed);
        loop {
            let after = (f64::from_bits(before) + amount).to_bits();
            match word.compare_exchange(before, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => before = now,
            }
        }
    }

    fn cell(&self, cell: u32) -> Option<&AtomicU64> {
        self.words().get(cell as usize)
    }

    /// Counts what could not be kept, by a reason's number.
    pub fn lose(&self, reason: usize) {
        if reason < TABLE_LOSSES {
            self.word(AT_LOSSES + reason).fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What it holds now.
    #[must_use]
    pub fn copy(&self) -> TableCopy {
        self.copy_with(|| {})
    }

    /// The chains' heads first, and then how far entries go: an entry is given room before its chain leads to it, so
    /// every entry that these heads lead to lies in the copy. `between` is what may happen to come between both.
    fn copy_with(&self, between: impl FnOnce()) -> TableCopy {
        let load = |word: &AtomicU64| word.load(Ordering::Acquire);
        let mut words: Vec<u64> = self.words()[..HEAD_WORDS].iter().map(load).collect();
        between();
        let used = self.word(AT_USED).load(Ordering::Acquire);
        let len = usize::try_from(used).unwrap_or(0).clamp(HEAD_WORDS, self.words);
        words.extend(self.words()[HEAD_WORDS..len].iter().map(load));
        TableCopy { words }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nothing points into it but `self`.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.words * WORD) };
    }
}

fn write_head(words: &[AtomicU64]) {
    words[AT_USED].store(HEAD_WORDS as u64, Ordering::Relaxed);
    words[AT_MAGIC].store(MAGIC, Ordering::Release);
}

fn packed(chunk: &[u8]) -> u64 {
    let mut bytes = [0; WORD];
    bytes[..chunk.len()].copy_from_slice(chunk);
    u64::from_ne_bytes(bytes)
}

fn is_key(words: &[AtomicU64], key: &[u8]) -> bool {
    let mut words = words.iter();
    key.chunks(WORD)
        .all(|chunk| words.next().is_some_and(|word| word.load(Ordering::Relaxed) == packed(chunk)))
}

fn rounded(bytes: usize) -> usize {
    bytes.clamp(TABLE_BYTES_MIN, TABLE_BYTES_MAX).next_multiple_of(PAGE)
}

fn size_of_file(memory: &OwnedFd) -> io::Result<usize> {
    let size = usize::try_from(rustix::fs::fstat(memory)?.st_size).unwrap_or(0);
    if (TABLE_BYTES_MIN..=TABLE_BYTES_MAX).contains(&size) && size.is_multiple_of(PAGE) {
        return Ok(size);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "a table of metrics has another size"))
}

/// A table as the supervisor has it: a descriptor, mapped only while it is read.
#[derive(Debug)]
pub struct TableMemory(OwnedFd);

impl TableMemory {
    /// Makes the memory of a table. Pages that nobody writes take no memory.
    ///
    /// # Errors
    /// When the system is out of memory or descriptors.
    pub fn create(bytes: usize) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = rustix::fs::memfd_create("indrik-metrics", flags)?;
        rustix::fs::ftruncate(&memory, rounded(bytes) as u64)?;
        rustix::fs::fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW)?;
        let head = [MAGIC, HEAD_WORDS as u64].map(u64::to_ne_bytes).concat();
        rustix::io::pwrite(&memory, &head, (AT_MAGIC * WORD) as u64)?;
        Ok(Self(memory))
    }

    /// The descriptor for the process whose table it is.
    #[must_use]
    pub fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Whether nobody can write to it any more, from now on.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !matches!(
            rustix::fs::fcntl_add_seals(&self.0, SealFlags::WRITE),
            Err(rustix::io::Errno::BUSY)
        )
    }

    /// What it holds now.
    ///
    /// # Errors
    /// When it cannot be mapped.
    pub fn copy(&self) -> io::Result<TableCopy> {
        let size = size_of_file(&self.0)?;
        // SAFETY: a fresh mapping at an address of the kernel's choice; the seals keep the file's size.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                size,
                ProtFlags::READ,
                MapFlags::SHARED,
                &self.0,
                0,
            )?
        };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Table { base, words: size / WORD }.copy())
    }
}

/// What a table held at some moment. Nothing in it is believed.
#[derive(Debug)]
pub struct TableCopy {
    words: Vec<u64>,
}

/// One entry of a copy.
#[derive(Clone, Copy, Debug)]
pub struct TableRow<'a> {
    /// The key.
    pub key: &'a [u8],
    /// What belongs to it.
    pub extra: &'a [u8],
    /// The bits of its cells' values.
    pub cells: &'a [u64],
}

impl TableCopy {
    /// Whether it has no entry, and nothing was lost.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.len() <= HEAD_WORDS && self.losses().iter().all(|lost| *lost == 0)
    }

    /// What could not be kept, by reason.
    #[must_use]
    pub fn losses(&self) -> [u64; TABLE_LOSSES] {
        std::array::from_fn(|reason| self.words[AT_LOSSES + reason])
    }

    /// Calls a function with every entry; returns whether all of the memory could be understood.
    pub fn each<'a>(&'a self, mut look: impl FnMut(TableRow<'a>)) -> bool {
        // Entries that do not overlap are together no longer than this.
        let mut left = self.words.len();
        let mut is_sound = true;
        for chain in AT_CHAINS..HEAD_WORDS {
            let mut at = self.words[chain] as usize;
            while at != 0 {
                let row = self.row(at).filter(|(_, words)| *words <= left);
                let Some((row, words)) = row else {
                    is_sound = false;
                    break;
                };
                left -= words;
                look(row);
                at = (self.words[at] & u64::from(u32::MAX)) as usize;
            }
        }
        is_sound
    }

    /// The entry at a word, and how many words it takes.
    fn row(&self, at: usize) -> Option<(TableRow<'_>, usize)> {
        if at < HEAD_WORDS {
            return None;
        }
        let sizes = Sizes::decode(*self.words.get(at.checked_add(1)?)?);
        if !sizes.is_allowed() {
            return None;
        }
        let words = sizes.words();
        let entry = self.words.get(at..at.checked_add(words)?)?;
        let (texts, cells) = entry.split_at(sizes.before_cells());
        let (key, extra) = texts[ENTRY_HEAD..].split_at(sizes.key.div_ceil(WORD));
        let row = TableRow {
            key: &bytes_of(key)[..sizes.key],
            extra: &bytes_of(extra)[..sizes.extra],
            cells,
        };
        Some((row, words))
    }
}

fn bytes_of(words: &[u64]) -> &[u8] {
    // SAFETY: integers are bytes without gaps, and a byte needs no alignment.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_comes_while_the_table_is_copied_takes_nothing_out_of_the_copy() {
        let memory = TableMemory::create(TABLE_BYTES_MIN).unwrap();
        let table = Table::open(&memory.as_fd().try_clone_to_owned().unwrap()).unwrap();
        // As many as there are chains, so that new ones come before old ones in most of them.
        let add = |from: u32, to: u32| {
            for number in from..to {
                table.entry(&number.to_ne_bytes(), &[], 1).unwrap();
            }
        };
        add(0, 1000);
        let copy = table.copy_with(|| add(1000, 1200));
        let mut old = 0;
        let is_sound = copy.each(|row| {
            let number = u32::from_ne_bytes(row.key.try_into().unwrap());
            old += u32::from(number < 1000);
        });
        assert!(is_sound);
        assert_eq!(old, 1000, "every entry from before");
    }
}
