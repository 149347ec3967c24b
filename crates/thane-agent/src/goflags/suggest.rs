//! What somebody who mistyped a name may have meant.

/// Longest name that is compared; nothing of ours is as long.
const NAME_CHARS_MAX: usize = 32;

/// The candidate that is closest to `typed`, if that is close enough to be a slip: one letter wrong, missing, added or
/// swapped with its neighbour in a short name, two of them in a name of more than five letters.
pub(crate) fn nearest<'a>(typed: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed: Vec<char> = typed.chars().take(NAME_CHARS_MAX + 1).collect();
    if typed.is_empty() || typed.len() > NAME_CHARS_MAX {
        return None;
    }
    let slips_max = if typed.len() > 5 { 2 } else { 1 };
    candidates
        .map(|candidate| (slips(&typed, &candidate.chars().collect::<Vec<_>>()), candidate))
        .filter(|(slips, _)| *slips <= slips_max)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The least number of letters to change, add, drop or swap with a neighbour that makes `b` of `a`.
fn slips(a: &[char], b: &[char]) -> usize {
    // Row `i` holds the slips from the first `i` letters of `a` to each beginning of `b`.
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (rows[i - 1][j - 1] + changed).min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(rows[i - 2][j - 2] + 1);
            }
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_told_from_other_words() {
        let names = ["join", "retry-join", "rpc-addr", "tag", "bind"];
        for (typed, expected) in [
            ("jion", Some("join")),
            ("joni", Some("join")),
            ("joins", Some("join")),
            ("rpcaddr", Some("rpc-addr")),
            ("rpc_adr", Some("rpc-addr")),
            ("tags", Some("tag")),
            ("bogus", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed, names.into_iter()), expected, "{typed}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), names.into_iter()), None);
    }
}
