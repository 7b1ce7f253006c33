//! `pluginConfig`: settings of plugins.

use std::num::{NonZeroU32, NonZeroUsize};

use serde_yaml_ng::Value;

use super::node::{Findings, Node};
use super::{FilterName, PluginArgs, ScorerName};
use crate::{adaptive, kvcache_aware, least_latency, least_request, prefix_cache};

pub(super) fn read(list: &Node<'_>, found: &mut Findings) -> PluginArgs {
    let mut args = PluginArgs::default();
    let mut seen = Vec::new();
    for item in list.elements(found) {
        let Some((name, own)) = item_of(&item, found) else {
            continue;
        };
        if seen.contains(&name) {
            found.notice(
                &item,
                format!("`{name}` is configured twice; the last counts"),
            );
        }
        let mut own = Args::new(&own, found);
        match name.as_str() {
            least_request::NAME => args.least_request = least_request_args(&mut own),
            least_latency::NAME => args.least_latency = least_latency_args(&mut own),
            prefix_cache::NAME => args.prefix_cache = prefix_cache_args(&mut own),
            kvcache_aware::NAME => args.kvcache_aware = kvcache_aware_args(&mut own),
            adaptive::NAME => args.adaptive = adaptive_args(&mut own),
            other => {
                if !is_known(other) {
                    let message = format!("unknown plugin `{other}`, ignored");
                    own.found.notice(&item, message);
                    continue;
                }
            }
        }
        own.finish();
        seen.push(name);
    }
    args
}

fn is_known(name: &str) -> bool {
    let mut filters = FilterName::ALL.into_iter().map(FilterName::as_str);
    let mut scorers = ScorerName::ALL.into_iter().map(ScorerName::as_str);
    filters.any(|known| known == name) || scorers.any(|known| known == name)
}

/// Name and settings of an element.
fn item_of<'v>(item: &Node<'v>, found: &mut Findings) -> Option<(String, Node<'v>)> {
    if item.is_null() {
        found.fault(item, "must be a mapping, not nothing");
    }
    let (mut name, mut args) = (None, None);
    for (key, value) in item.members(found)? {
        match key.as_str() {
            "name" => name = Some(value),
            "args" => args = Some(value),
            _ => found.unknown(&value),
        }
    }
    let name = name.unwrap_or_else(|| item.absent("name"));
    let Some(text) = name.scalar() else {
        found.fault(
            &name,
            format!("must be a plugin's name, not {}", name.kind()),
        );
        return None;
    };
    Some((text, args.unwrap_or_else(|| item.absent("args"))))
}

fn least_request_args(args: &mut Args<'_, '_>) -> least_request::LeastRequestConfig {
    let mut config = least_request::LeastRequestConfig::default();
    if let Some(node) = args.take("maxWaitingRequests") {
        match node.value().as_i64() {
            Some(0) => {}
            Some(number) if number < 0 => {
                let message = format!("{number} would refuse every engine; it must be positive");
                args.found.fault(&node, message);
            }
            Some(number) => {
                let number = u32::try_from(number).unwrap_or(u32::MAX);
                config.max_waiting = NonZeroU32::new(number).unwrap_or(config.max_waiting);
            }
            None => {
                let default = config.max_waiting;
                args.not_a_number(&node, &default);
            }
        }
    }
    config
}

fn least_latency_args(args: &mut Args<'_, '_>) -> least_latency::LeastLatencyConfig {
    let mut config = least_latency::LeastLatencyConfig::default();
    if let Some(node) = args.take("TTFTTPOTWeightFactor") {
        let weight = node.value().as_f64();
        match weight.filter(|weight| (0.0..=1.0).contains(weight)) {
            Some(weight) => config.ttft_weight = weight,
            None => args.found.fault(&node, "must be a number from 0 to 1"),
        }
    }
    config
}

fn prefix_cache_args(args: &mut Args<'_, '_>) -> prefix_cache::PrefixCacheConfig {
    let default = prefix_cache::PrefixCacheConfig::default();
    prefix_cache::PrefixCacheConfig {
        block_bytes: args.size("blockSizeToHash", default.block_bytes),
        max_blocks: args.size("maxBlocksToMatch", default.max_blocks),
        per_pod: args.size("maxHashCacheSize", default.per_pod),
        top: args.size("topKMatches", default.top),
        budget_bytes: args.bytes("maxIndexBytes", default.budget_bytes),
    }
}

fn kvcache_aware_args(args: &mut Args<'_, '_>) -> kvcache_aware::KvcacheAwareConfig {
    let default = kvcache_aware::KvcacheAwareConfig::default();
    kvcache_aware::KvcacheAwareConfig {
        block_tokens: args.count("blockSizeToHash", default.block_tokens),
        max_blocks: args.count("maxBlocksToMatch", default.max_blocks),
        count_short_block: args.flag("countShortBlock", default.count_short_block),
        vllm_tokenizer_port: args.port("vllmTokenizerPort"),
        sglang_tokenizer_port: args.port("sglangTokenizerPort"),
    }
}

fn adaptive_args(args: &mut Args<'_, '_>) -> adaptive::AdaptiveConfig {
    let default = adaptive::AdaptiveConfig::default();
    adaptive::AdaptiveConfig {
        budget_bytes: args.bytes("maxIndexBytes", default.budget_bytes),
    }
}

/// Settings of one plugin. Names match in any case, as decoders of earlier releases read them.
struct Args<'v, 'f> {
    members: Vec<(String, Node<'v>)>,
    found: &'f mut Findings,
}

impl<'v, 'f> Args<'v, 'f> {
    fn new(node: &Node<'v>, found: &'f mut Findings) -> Self {
        let members = match node.value() {
            Value::Null | Value::Mapping(_) => node.members(found).unwrap_or_default(),
            _ => {
                let message = format!(
                    "must be a mapping, not {}; the defaults are used",
                    node.kind()
                );
                found.notice(node, message);
                Vec::new()
            }
        };
        Self { members, found }
    }

    /// The value of `name`, if there is one.
    fn take(&mut self, name: &str) -> Option<Node<'v>> {
        let mut last = None;
        self.members.retain(|(key, value)| {
            let own = key.eq_ignore_ascii_case(name);
            if own {
                last = Some(value.clone());
            }
            !own
        });
        last.filter(|node| !node.is_null())
    }

    /// A positive number; anything else is the default.
    fn size(&mut self, name: &str, default: NonZeroUsize) -> NonZeroUsize {
        let read = |number| usize::try_from(number).ok().and_then(NonZeroUsize::new);
        self.positive(name, default, read)
    }

    /// A positive number of 32 bits; anything else is the default.
    fn count(&mut self, name: &str, default: NonZeroU32) -> NonZeroU32 {
        let read = |number| u32::try_from(number).ok().and_then(NonZeroU32::new);
        self.positive(name, default, read)
    }

    /// A positive number of bytes; anything else is the default.
    fn bytes(&mut self, name: &str, default: usize) -> usize {
        NonZeroUsize::new(default).map_or(default, |default| self.size(name, default).get())
    }

    /// True or false; anything else is the default.
    fn flag(&mut self, name: &str, default: bool) -> bool {
        let Some(node) = self.take(name) else {
            return default;
        };
        node.value().as_bool().unwrap_or_else(|| {
            let message = format!(
                "must be true or false, not {}; {default} is used",
                node.kind()
            );
            self.found.notice(&node, message);
            default
        })
    }

    /// A port; 0 is none, silently.
    fn port(&mut self, name: &str) -> Option<u16> {
        let node = self.take(name)?;
        let port = node.value().as_i64();
        if port == Some(0) {
            return None;
        }
        let port = port.and_then(|port| u16::try_from(port).ok());
        if port.is_none() {
            let message = "is no port from 1 to 65535; requests' own port is used";
            self.found.notice(&node, message);
        }
        port
    }

    fn positive<T: Copy + std::fmt::Display>(
        &mut self,
        name: &str,
        default: T,
        read: impl FnOnce(i64) -> Option<T>,
    ) -> T {
        let Some(node) = self.take(name) else {
            return default;
        };
        let Some(number) = node.value().as_i64() else {
            self.not_a_number(&node, &default);
            return default;
        };
        read(number).unwrap_or_else(|| {
            let message = format!("{number} is out of range; {default} is used");
            self.found.notice(&node, message);
            default
        })
    }

    fn not_a_number(&mut self, node: &Node<'_>, default: &dyn std::fmt::Display) {
        let message = format!(
            "must be a whole number, not {}; {default} is used",
            node.kind()
        );
        self.found.notice(node, message);
    }

    /// Names those that nobody asked for.
    fn finish(self) {
        for (_, value) in &self.members {
            self.found.unknown(value);
        }
    }
}
