//! Who holds the blocks of one prompt.

use std::collections::HashMap;

/// Owners of a prompt's blocks, as fetched for one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owned {
    blocks: u32,
    /// By owner, `<pod>.<namespace>`: its blocks in order, each with the second of the last announcement.
    owners: HashMap<String, Vec<(u32, Option<i64>)>>,
}

impl Owned {
    /// From the fields of each block in turn.
    pub(super) fn new(blocks: Vec<Vec<(String, String)>>) -> Self {
        let mut owned = Self {
            blocks: u32::try_from(blocks.len()).unwrap_or(u32::MAX),
            owners: HashMap::new(),
        };
        for (at, fields) in (0..).zip(blocks) {
            for (owner, announced) in fields {
                let announced = announced.trim().parse().ok();
                owned.owners.entry(owner).or_default().push((at, announced));
            }
        }
        owned
    }

    /// Blocks that were asked for.
    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    /// Leading blocks that `owner` holds without a gap. What it announced in or before the second in which its newest
    /// container `started` is not there any more.
    pub fn length(&self, owner: &str, started: Option<i64>) -> u32 {
        let Some(held) = self.owners.get(owner) else {
            return 0;
        };
        let fresh = |announced: Option<i64>| {
            announced
                .zip(started)
                .is_none_or(|(announced, started)| announced > started)
        };
        let leading = (0..).zip(held);
        let count = leading
            .take_while(|(at, (block, announced))| at == block && fresh(*announced))
            .count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::Owned;

    const OWNER: &str = "a.default";

    fn owned(blocks: &[&str]) -> Owned {
        let field = |field: &str| {
            let (owner, at) = field.split_once('=').unwrap();
            (owner.to_owned(), at.to_owned())
        };
        let fields = |block: &&str| block.split_whitespace().map(field).collect();
        Owned::new(blocks.iter().map(fields).collect())
    }

    #[rstest]
    #[case::all(&["a.default=9", "a.default=9"], 2)]
    #[case::gap(&["a.default=9", "", "a.default=9"], 1)]
    #[case::not_the_first(&["", "a.default=9"], 0)]
    #[case::another_namespace(&["a.other=9"], 0)]
    #[case::among_others(&["b.default=9 a.default=9", "b.default=9"], 1)]
    #[case::none(&[], 0)]
    fn counts_without_a_gap(#[case] blocks: &[&str], #[case] expected: u32) {
        let owned = owned(blocks);
        assert_eq!(owned.length(OWNER, None), expected);
        assert_eq!(owned.blocks() as usize, blocks.len());
    }

    #[rstest]
    #[case::before_the_start("99", Some(100), 0)]
    #[case::in_the_same_second("100", Some(100), 0)]
    #[case::after_the_start("101", Some(100), 1)]
    #[case::start_unknown("1", None, 1)]
    #[case::not_a_number("soon", Some(100), 1)]
    fn counts_only_what_is_fresh(
        #[case] announced: &str,
        #[case] started: Option<i64>,
        #[case] expected: u32,
    ) {
        let owned = owned(&[&format!("{OWNER}={announced}")]);
        assert_eq!(owned.length(OWNER, started), expected);
    }
}
