//! Linux: kernel/user_namespace.c, `map_id_range_down` and `map_id_up`.

/// Most lines an id map may hold (Linux: `UID_GID_MAP_MAX_EXTENTS`).
pub const MAX_EXTENTS: usize = 340;

/// A map of no more lines is kept as it was written (Linux: `UID_GID_MAP_MAX_BASE_EXTENTS`).
const MAX_BASE_EXTENTS: usize = 5;

/// A run of consecutive ids: `first..first + count` in the namespace stand for `lower_first..` of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMapExtent {
    /// First id in the namespace.
    pub first: u32,
    /// First id below: of the parent in a request, of the kernel once stored.
    pub lower_first: u32,
    /// Number of ids, at least 1.
    pub count: u32,
}

/// A map between the ids of a namespace and kernel ids, in both directions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap {
    /// For reading the map back: as written, or in ascending order if there are many.
    extents: Vec<IdMapExtent>,
    /// Sorted by `first`.
    down: Vec<IdMapExtent>,
    /// Sorted by `lower_first`.
    up: Vec<IdMapExtent>,
}

impl IdMap {
    /// The map of the first namespace: every id but the invalid one stands for itself.
    pub fn identity() -> IdMap {
        IdMap::from_extents(vec![IdMapExtent { first: 0, lower_first: 0, count: u32::MAX }])
    }

    /// A map of extents that overlap on neither side, which the caller has checked.
    pub fn from_extents(extents: Vec<IdMapExtent>) -> IdMap {
        let mut down = extents.clone();
        down.sort_by_key(|e| e.first);
        let mut up = extents.clone();
        up.sort_by_key(|e| e.lower_first);
        // Linux sorts what it has to search by halves.
        let extents = if extents.len() > MAX_BASE_EXTENTS { down.clone() } else { extents };
        IdMap { extents, down, up }
    }

    /// Whether nothing has been written yet.
    pub fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// The extents: few in the order in which they were written, many in ascending order.
    pub fn extents(&self) -> &[IdMapExtent] {
        &self.extents
    }

    /// The kernel id behind `id`.
    pub fn map_down(&self, id: u32) -> Option<u32> {
        self.map_range_down(id, 1)
    }

    /// The first of `count` consecutive kernel ids behind `id`, if one extent holds them all.
    pub fn map_range_down(&self, id: u32, count: u32) -> Option<u32> {
        let at = self.down.partition_point(|e| e.first <= id).checked_sub(1)?;
        let e = self.down.get(at)?;
        let offset = id - e.first;
        let end = u64::from(offset) + u64::from(count);
        (end <= u64::from(e.count)).then(|| e.lower_first + offset)
    }

    /// The id that stands for kernel id `lower`.
    pub fn map_up(&self, lower: u32) -> Option<u32> {
        let at = self.up.partition_point(|e| e.lower_first <= lower).checked_sub(1)?;
        let e = self.up.get(at)?;
        let offset = lower - e.lower_first;
        (offset < e.count).then(|| e.first + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn identity_maps_all_but_the_invalid_id() {
        let map = IdMap::identity();
        assert_eq!(map.map_down(0), Some(0));
        assert_eq!(map.map_down(u32::MAX - 1), Some(u32::MAX - 1));
        assert_eq!(map.map_down(u32::MAX), None);
        assert_eq!(map.map_up(u32::MAX), None);
    }

    #[test]
    fn ranges_must_lie_in_one_extent() {
        let e = |first, lower_first, count| IdMapExtent { first, lower_first, count };
        let map = IdMap::from_extents(vec![e(0, 1000, 10), e(10, 1010, 10)]);
        assert_eq!(map.map_range_down(0, 10), Some(1000));
        assert_eq!(map.map_range_down(5, 10), None);
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_model(cuts in prop::collection::vec((1u32..50, 1u32..50), 1..60), id in 0u32..4000) {
            let (mut first, mut lower) = (0, 100_000);
            let mut extents = Vec::new();
            for (gap, count) in cuts {
                first += gap;
                lower += gap + count;
                extents.push(IdMapExtent { first, lower_first: lower, count });
                first += count;
                lower += count;
            }
            let naive = extents.iter().find(|e| id >= e.first && id - e.first < e.count)
                .map(|e| e.lower_first + (id - e.first));
            let map = IdMap::from_extents(extents);
            prop_assert_eq!(map.map_down(id), naive);
            if let Some(lower) = naive {
                prop_assert_eq!(map.map_up(lower), Some(id));
            }
        }
    }
}
