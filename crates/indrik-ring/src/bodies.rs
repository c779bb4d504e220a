//! Memory for the bodies of requests: the front writes one once, and the worker reads it where it lies.
//!
//! Which parts are in use only the front knows, in its own memory; a worker is told the place of a body with
//! its request. A part is free again when the request that it was used for is over, and the lowest free one
//! is used first, so that a worker with few uploads at a time goes over the same warm pages again and again.
//! Pages that were never used cost nothing, and [`BodyArea::give_back`] returns those of a burst.

use core::ptr::NonNull;
use core::slice;

use crate::memory::{Keep, PAGE};

/// Parts begin and end on such a boundary.
const ALIGN: u32 = PAGE as u32;

/// Where a body lies in the area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyPlace {
    offset: u32,
    len: u32,
}

impl BodyPlace {
    /// Bytes of its encoding.
    pub const LEN: usize = 8;

    /// Writes it into [`Self::LEN`] bytes.
    pub fn encode(self, into: &mut [u8]) {
        into[..4].copy_from_slice(&self.offset.to_le_bytes());
        into[4..Self::LEN].copy_from_slice(&self.len.to_le_bytes());
    }

    /// Reads it. `None` when the payload is too short.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (offset, rest) = payload.split_first_chunk()?;
        let (len, _) = rest.split_first_chunk()?;
        Some(Self { offset: u32::from_le_bytes(*offset), len: u32::from_le_bytes(*len) })
    }

    const fn reserved(self) -> u32 {
        self.len.next_multiple_of(ALIGN)
    }
}

/// The memory itself.
#[derive(Clone)]
pub(crate) struct BodyMemory {
    pub(crate) start: NonNull<u8>,
    pub(crate) len: u32,
    pub(crate) _keep: Keep,
}

// SAFETY: it is only an address; what is done with the memory behind it is checked where it is done.
unsafe impl Send for BodyMemory {}
// SAFETY: as above.
unsafe impl Sync for BodyMemory {}

impl BodyMemory {
    fn at(&self, place: BodyPlace) -> Option<NonNull<u8>> {
        let end = u64::from(place.offset) + u64::from(place.len);
        // SAFETY: just checked that it lies in the area, which is one mapping.
        (end <= u64::from(self.len)).then(|| unsafe { self.start.add(place.offset as usize) })
    }
}

/// The front's side: it decides what lies where.
pub struct BodyArea {
    memory: BodyMemory,
    /// Free parts by offset, with their lengths; no two of them touch.
    free: Vec<(u32, u32)>,
    /// Bytes in use.
    used: u32,
    /// What lies behind was never written, or given back.
    touched: u32,
}

impl BodyArea {
    pub(crate) fn new(memory: BodyMemory) -> Self {
        let free = if memory.len == 0 { Vec::new() } else { vec![(0, memory.len)] };
        Self { memory, free, used: 0, touched: 0 }
    }

    /// The largest body that there is ever room for.
    #[must_use]
    pub const fn len_max(&self) -> usize {
        self.memory.len as usize
    }

    /// Bytes in use.
    #[must_use]
    pub const fn used(&self) -> usize {
        self.used as usize
    }

    /// Puts a body of `len` bytes, which `fill` writes, where there is room for it. `None`: nowhere at the moment.
    pub fn put(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) -> Option<BodyPlace> {
        let len = u32::try_from(len).ok().filter(|len| *len != 0 && *len <= self.memory.len)?;
        let reserved = BodyPlace { offset: 0, len }.reserved();
        let index = self.free.iter().position(|(_, room)| *room >= reserved)?;
        let (offset, room) = self.free[index];
        if room == reserved {
            self.free.remove(index);
        } else {
            self.free[index] = (offset + reserved, room - reserved);
        }
        self.used += reserved;
        self.touched = self.touched.max(offset + reserved);
        let place = BodyPlace { offset, len };
        let start = self.memory.at(place)?;
        // SAFETY: the part was free, so no request that a worker has refers to it. (A hostile worker can
        // write it meanwhile; it only harms what it is sent itself.)
        fill(unsafe { slice::from_raw_parts_mut(start.as_ptr(), len as usize) });
        Some(place)
    }

    /// The request is over; its part is free.
    pub fn free(&mut self, place: BodyPlace) {
        let (mut offset, mut len) = (place.offset, place.reserved());
        self.used -= len;
        let next = self.free.partition_point(|(other, _)| *other < offset);
        if self.free.get(next).is_some_and(|(other, _)| *other == offset + len) {
            len += self.free.remove(next).1;
        }
        match next.checked_sub(1).map(|index| (index, self.free[index])) {
            Some((index, (before, room))) if before + room == offset => {
                (offset, len) = (before, room + len);
                self.free[index] = (offset, len);
            }
            _ => self.free.insert(next, (offset, len)),
        }
    }

    /// Gives memory back that a burst has used: all free pages behind the last part in use, but for the first
    /// `keep` bytes of the area.
    pub fn give_back(&mut self, keep: usize) {
        let free_from = match self.free.last() {
            Some((offset, room)) if offset + room == self.memory.len => *offset,
            _ => self.memory.len,
        };
        let keep = u32::try_from(keep).unwrap_or(u32::MAX).next_multiple_of(ALIGN);
        let from = free_from.max(keep);
        if from >= self.touched {
            return;
        }
        // SAFETY: both ends lie in the area and on pages; nobody refers to what is free.
        let given = unsafe {
            let start = self.memory.start.as_ptr().add(from as usize);
            rustix::mm::madvise(
                start.cast(),
                (self.touched - from) as usize,
                rustix::mm::Advice::LinuxRemove,
            )
        };
        if given.is_ok() {
            self.touched = from;
        }
    }
}

/// The worker's side.
#[derive(Clone)]
pub struct BodyView(BodyMemory);

impl BodyView {
    pub(crate) const fn new(memory: BodyMemory) -> Self {
        Self(memory)
    }

    /// The body at a place. `None` when there is no such place.
    ///
    /// # Safety
    /// Only for a worker, which trusts its front not to change what a request refers to; and not after the
    /// front was told that the request is over.
    #[must_use]
    pub unsafe fn body<'a>(&self, place: BodyPlace) -> Option<&'a [u8]> {
        let start = self.0.at(place)?;
        // SAFETY: `at` checked the bounds; the rest is the caller's promise.
        Some(unsafe { slice::from_raw_parts(start.as_ptr(), place.len as usize) })
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::sync::Arc;

    use super::*;

    const LEN: u32 = 16 * ALIGN;

    /// Memory of its own, on pages.
    struct Pages(*mut core::ffi::c_void);

    // SAFETY: an address that only the test uses.
    unsafe impl Send for Pages {}
    // SAFETY: as above.
    unsafe impl Sync for Pages {}

    impl Drop for Pages {
        fn drop(&mut self) {
            // SAFETY: mapped below with this length.
            let _ = unsafe { rustix::mm::munmap(self.0, LEN as usize) };
        }
    }

    fn area() -> (BodyArea, BodyView) {
        let file = rustix::fs::memfd_create("bodies", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, u64::from(LEN)).unwrap();
        // SAFETY: a fresh mapping.
        let start = unsafe {
            let protection = rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE;
            let flags = rustix::mm::MapFlags::SHARED;
            rustix::mm::mmap(std::ptr::null_mut(), LEN as usize, protection, flags, &file, 0)
        };
        let start = start.unwrap();
        let memory = BodyMemory {
            start: NonNull::new(start.cast()).unwrap(),
            len: LEN,
            _keep: Arc::new(Pages(start)),
        };
        (BodyArea::new(memory.clone()), BodyView::new(memory))
    }

    fn put(area: &mut BodyArea, len: usize, with: u8) -> Option<BodyPlace> {
        area.put(len, |into| into.fill(with))
    }

    fn read(view: &BodyView, place: BodyPlace) -> &[u8] {
        // SAFETY: the test keeps the order.
        unsafe { view.body(place) }.unwrap()
    }

    #[test]
    fn the_lowest_free_part_is_used_first() {
        let (mut area, _) = area();
        let first = put(&mut area, 100, 1).unwrap();
        let second = put(&mut area, 5000, 2).unwrap();
        assert_eq!((first.offset, second.offset), (0, ALIGN));
        area.free(first);
        assert_eq!(put(&mut area, 1, 3).unwrap().offset, 0);
    }

    #[test]
    fn parts_that_were_freed_in_any_order_are_one_again() {
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        for order in orders {
            let (mut area, _) = area();
            let places: Vec<_> =
                (0..3).map(|_| put(&mut area, LEN as usize / 4, 0).unwrap()).collect();
            for index in order {
                area.free(places[index]);
            }
            assert_eq!(area.free, [(0, LEN)], "{order:?}");
            assert_eq!(area.used(), 0);
            assert!(put(&mut area, LEN as usize, 0).is_some());
        }
    }

    #[test]
    fn bodies_never_overlap_whatever_comes_and_goes() {
        let (mut area, view) = area();
        let mut live: Vec<(BodyPlace, u8)> = Vec::new();
        // A fixed mixture of sizes and ends.
        let mut seed = 0x9e37_79b9_u32;
        for round in 0..5_000_u32 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if seed & 3 == 0 && !live.is_empty() {
                let (place, _) = live.swap_remove((seed >> 8) as usize % live.len());
                area.free(place);
            } else if let Some(place) =
                put(&mut area, 1 + (seed >> 8) as usize % 20_000, round as u8)
            {
                live.push((place, round as u8));
            }
            for (place, with) in &live {
                assert!(read(&view, *place).iter().all(|byte| byte == with));
            }
            let free: u32 = area.free.iter().map(|(_, room)| room).sum();
            assert_eq!(area.used + free, LEN);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let (mut area, _) = area();
        assert_eq!(put(&mut area, LEN as usize + 1, 0), None);
        assert_eq!(put(&mut area, 0, 0), None);
        let all = put(&mut area, LEN as usize, 0).unwrap();
        assert_eq!(put(&mut area, 1, 0), None);
        area.free(all);
        assert_eq!(area.free, [(0, LEN)]);
    }

    #[test]
    fn memory_that_is_given_back_is_empty_and_what_is_in_use_stays() {
        let (mut area, view) = area();
        let kept = put(&mut area, 10, 7).unwrap();
        let burst = put(&mut area, 8 * ALIGN as usize, 9).unwrap();
        area.give_back(0);
        assert!(read(&view, burst).iter().all(|byte| *byte == 9));
        area.free(burst);
        area.give_back(2 * ALIGN as usize);
        assert_eq!(area.touched, 2 * ALIGN);
        assert_eq!(read(&view, kept), [7; 10]);
        let behind = BodyPlace { offset: 2 * ALIGN, len: 7 * ALIGN };
        assert!(read(&view, behind).iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_place_outside_the_area_is_none() {
        let (_, view) = area();
        for (offset, len) in [(LEN, 1), (u32::MAX, u32::MAX), (0, LEN + 1)] {
            // SAFETY: nothing is read.
            assert!(unsafe { view.body(BodyPlace { offset, len }) }.is_none());
        }
        let mut bytes = [0; BodyPlace::LEN];
        let place = BodyPlace { offset: 3, len: 4 };
        place.encode(&mut bytes);
        assert_eq!(BodyPlace::decode(&bytes), Some(place));
        assert_eq!(BodyPlace::decode(&bytes[..7]), None);
    }
}
