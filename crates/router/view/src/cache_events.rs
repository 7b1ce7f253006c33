//! Where a server's engines tell what they cache, as far as annotations of the server say.
//!
//! Fleets of one router may differ in this: another port, another topic, several ranks. What is not said here is as
//! the router was told for all.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Begin of the annotations' names.
const PREFIX: &str = "kthena.volcano.sh/kv-events-";

/// What a server's annotations say of its engines' cache events; `None` = as for all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct CacheEvents {
    /// `kthena.volcano.sh/kv-events-port`: where the first rank publishes, further ones on the ports after it.
    pub port: Option<u16>,
    /// `kthena.volcano.sh/kv-events-replay-port`: where missed events can be asked for again, per rank as `port`.
    pub replay_port: Option<u16>,
    /// `kthena.volcano.sh/kv-events-ranks`: ranks per engine.
    pub ranks: Option<u16>,
    /// `kthena.volcano.sh/kv-events-topic`: only messages of this topic count; empty = all.
    pub topic: Option<Arc<str>>,
    /// Annotations that are ignored, because their value is no number from 1 to 65535.
    pub faults: Vec<String>,
}

impl CacheEvents {
    /// What `annotations` say.
    pub fn read(annotations: &BTreeMap<String, String>) -> Self {
        let mut read = Self::default();
        for (name, value) in annotations {
            let Some(setting) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let number = value.trim().parse().ok().filter(|number| *number > 0);
            let place = match setting {
                "topic" => {
                    read.topic = Some(value.as_str().into());
                    continue;
                }
                "port" => &mut read.port,
                "replay-port" => &mut read.replay_port,
                "ranks" => &mut read.ranks,
                _ => continue,
            };
            *place = number;
            if number.is_none() {
                read.faults.push(name.clone());
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::CacheEvents;

    fn read(annotations: &[(&str, &str)]) -> CacheEvents {
        let named = |(name, value): &(&str, &str)| {
            (format!("kthena.volcano.sh/{name}"), (*value).to_owned())
        };
        CacheEvents::read(&annotations.iter().map(named).collect())
    }

    #[test]
    fn everything_can_be_said() {
        let all = [
            ("kv-events-port", "5560"),
            ("kv-events-replay-port", " 5570 "),
            ("kv-events-ranks", "8"),
            ("kv-events-topic", "kv@a"),
        ];
        let expected = CacheEvents {
            port: Some(5560),
            replay_port: Some(5570),
            ranks: Some(8),
            topic: Some("kv@a".into()),
            faults: Vec::new(),
        };
        assert_eq!(read(&all), expected);
        assert_eq!(read(&[("kv-events-topic", "")]).topic.as_deref(), Some(""));
    }

    #[rstest]
    #[case::nothing(&[])]
    #[case::something_else(&[("stand-in", "a"), ("kv-events-color", "red")])]
    fn what_is_not_said_is_as_for_all(#[case] annotations: &[(&str, &str)]) {
        assert_eq!(read(annotations), CacheEvents::default());
    }

    #[rstest]
    #[case::zero("0")]
    #[case::word("many")]
    #[case::too_large("65536")]
    #[case::negative("-1")]
    fn what_is_no_number_is_ignored_and_named(#[case] value: &str) {
        let read = read(&[("kv-events-ranks", value)]);
        assert_eq!(read.ranks, None);
        assert_eq!(read.faults, ["kthena.volcano.sh/kv-events-ranks"]);
    }
}
