//! Whether a query is meant for us. (Serf: `query.go`, shouldProcessQuery.)

use thane_wire::filter::Filter;

use crate::pattern::PatternCache;

/// Whether all of a query's filters admit the node of this name. `tag` gives the value of a tag that is set.
///
/// A filter that cannot be read, is of an unknown kind, or holds an expression that is not valid admits nobody; an empty list of names
/// neither. A tag that is not set is empty.
pub(crate) fn admits<'f, 't>(
    filters: impl IntoIterator<Item = &'f [u8]>,
    name: &str,
    tag: impl Fn(&str) -> Option<&'t [u8]>,
    cache: &mut PatternCache,
) -> bool {
    filters.into_iter().all(|filter| match Filter::decode(filter) {
        Ok(Filter::Nodes(names)) => names.contains(&name),
        Ok(Filter::Tag { tag: key, expr }) => cache.is_match(expr, tag(key).unwrap_or_default()),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn queries_are_taken_as_recorded() {
        let recorded: serde_json::Value =
            serde_json::from_str(include_str!("../tests/vectors/serf/filters.json")).unwrap();
        let mut tags: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for (key, value) in recorded["tags"].as_object().unwrap() {
            tags.insert(key, value.as_str().unwrap().into());
        }
        for (key, value) in recorded["tags_hex"].as_object().unwrap() {
            tags.insert(key, bytes(value.as_str().unwrap()));
        }
        let name = recorded["node_name"].as_str().unwrap();
        let mut cache = PatternCache::default();
        let cases = recorded["evaluate"].as_array().unwrap();
        assert_eq!(cases.len(), 62);
        // Once with the cache empty, once with it full.
        for case in cases.iter().chain(cases) {
            let filters: Vec<Vec<u8>> = case["filters_hex"]
                .as_array()
                .unwrap()
                .iter()
                .map(|hex| bytes(hex.as_str().unwrap()))
                .collect();
            let tag = |key: &str| tags.get(key).map(Vec::as_slice);
            let admitted = admits(filters.iter().map(Vec::as_slice), name, tag, &mut cache);
            assert_eq!(admitted, case["process"].as_bool().unwrap(), "{case}");
        }
        eprintln!("compat: filters, asked | cases={0} same={0} listed=0", cases.len());
    }
}
