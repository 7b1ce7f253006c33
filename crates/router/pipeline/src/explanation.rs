//! Why a request went where it went, for the person who asked: in one line or as JSON.
//!
//! Both forms are header values: whatever the names in them are, they consist of visible ASCII and spaces.

use std::fmt::{self, Display, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kthena_router_health::Standing;
use kthena_router_scheduler::{Candidate, Pick, Role, Trace};
use serde_json::{Value, json};

use crate::plan::{Matched, MatchedRule};

/// Longest name of a rule that is shown whole, in characters.
const LONGEST_NAME: usize = 64;

/// The account of one decision. It exists only for requests that ask for it.
#[derive(Debug)]
pub struct Explanation {
    route: Arc<str>,
    rule: usize,
    rule_name: Option<String>,
    server: Arc<str>,
    /// How a pair of pods works together, if pairs were chosen.
    connector: Option<&'static str>,
    /// How many pods there were to choose from.
    considered: usize,
    /// In order of preference.
    ranked: Vec<Ranked>,
    /// The best prefill pod for the decode pod that is being looked at.
    partner: Option<Ranked>,
    /// Pods that the request's session is bound to, best first.
    bound: Vec<(Arc<str>, SocketAddr, u32)>,
    /// Pods that were not considered, and why.
    left_out: Vec<(Arc<str>, String)>,
    /// Pods that were tried in vain, and why.
    failed: Vec<(Arc<str>, String)>,
}

/// A pod that was chosen, and what for.
#[derive(Debug)]
struct Ranked {
    pod: Arc<str>,
    address: SocketAddr,
    /// Requests it had in flight at that moment.
    in_flight: u32,
    /// How long ago the engine told its state; `None` = nobody knows.
    age: Option<Duration>,
    /// Tokens of the prompt that the engine holds; `None` = nobody knows.
    cached: Option<u32>,
    total: i64,
    /// Plugin, mark, weight.
    marks: Vec<(&'static str, i64, i64)>,
    partner: Option<Box<Ranked>>,
}

impl Explanation {
    /// An account of a request that met this route.
    pub fn new(matched: &Matched<'_>) -> Self {
        let MatchedRule { position, name } = matched.rule;
        Self {
            route: Arc::clone(&matched.route),
            rule: position,
            rule_name: name.filter(|name| !name.is_empty()).map(str::to_owned),
            server: Arc::clone(&matched.backend),
            connector: None,
            considered: 0,
            ranked: Vec::new(),
            partner: None,
            bound: Vec::new(),
            left_out: Vec::new(),
            failed: Vec::new(),
        }
    }

    pub(crate) fn note_connector(&mut self, name: &'static str) {
        self.connector = Some(name);
    }

    /// A pod was left out because of how it fared.
    pub(crate) fn note_untrusted(&mut self, pod: &Arc<str>, standing: Standing) {
        let why = match standing {
            Standing::Trusted => return,
            Standing::Ejected { left } => format!("ejected for {} ms more", left.as_millis()),
            Standing::Probing { .. } => "ejected; another request is probing it".to_owned(),
            Standing::Returning { weight } => {
                format!("returning; takes {:.0} % of its share", weight * 100.0)
            }
            Standing::Retired => "leaving".to_owned(),
        };
        self.considered += 1;
        self.leave_out(pod, why);
    }

    /// The request's session is bound to these, which go before whatever is placed next.
    pub(crate) fn note_bound<'c>(&mut self, bound: impl Iterator<Item = &'c Candidate>) {
        let named = bound.map(|candidate| {
            let endpoint = &candidate.endpoint;
            let pod = Arc::clone(&endpoint.pod().name);
            (pod, candidate.address, endpoint.on_flight())
        });
        self.bound = named.collect();
    }

    /// `picks` were chosen among so many of a list; positions are in the list. `cached` has for each of them how many
    /// tokens of the prompt it holds, unless nobody knows. `now` is on the clock of samples.
    pub(crate) fn note_placement(
        &mut self,
        (role, now): (Role, Duration),
        (all, considered): (&[Candidate], usize),
        trace: &Trace,
        picks: &[Pick<'_>],
        cached: &[u32],
    ) {
        for (position, filter) in &trace.dropped {
            if let Some(candidate) = all.get(*position as usize) {
                self.leave_out(&candidate.endpoint.pod().name, format!("filter {filter}"));
            }
        }
        let mut ranked = picks.iter().enumerate().map(|(at, pick)| Ranked {
            pod: Arc::clone(&pick.candidate.endpoint.pod().name),
            address: pick.candidate.address,
            in_flight: pick.candidate.endpoint.on_flight(),
            age: age_of(pick.candidate, now),
            cached: cached.get(at).copied(),
            total: pick.total.0,
            marks: trace.marks_of(pick.position).collect(),
            partner: None,
        });
        if role == Role::Prefill {
            self.partner = ranked.next();
        } else {
            self.considered += considered;
            self.ranked = ranked.collect();
            self.bring_bound_forward();
        }
    }

    fn bring_bound_forward(&mut self) {
        for (place, (pod, address, in_flight)) in self.bound.iter().enumerate() {
            let at = self.ranked.iter().position(|ranked| ranked.pod == *pod);
            let own = at.map(|at| self.ranked.remove(at));
            let own = own.unwrap_or_else(|| Ranked {
                pod: Arc::clone(pod),
                address: *address,
                in_flight: *in_flight,
                age: None,
                cached: None,
                total: 0,
                marks: Vec::new(),
                partner: None,
            });
            self.ranked.insert(place.min(self.ranked.len()), own);
        }
    }

    /// The prefill pod that was placed last works for this decode pod.
    pub(crate) fn note_pair(&mut self, decode: &Arc<str>) {
        let partner = self.partner.take().map(Box::new);
        if let Some(ranked) = self.ranked.iter_mut().find(|ranked| ranked.pod == *decode) {
            ranked.partner = partner;
        }
    }

    fn leave_out(&mut self, pod: &Arc<str>, why: String) {
        // A prefill pod may be asked about for several decode pods.
        if !self.left_out.iter().any(|(other, _)| other == pod) {
            self.left_out.push((Arc::clone(pod), why));
        }
    }

    /// `pod` was tried in vain.
    pub fn note_failure(&mut self, pod: &Arc<str>, why: &dyn Display) {
        self.failed.push((Arc::clone(pod), why.to_string()));
    }

    /// The line when `pod` answered, or none did.
    pub fn line(&self, pod: Option<&str>) -> String {
        let mut line = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_line(pod, &mut line);
        line
    }

    /// The same and more as JSON, in a header's characters.
    pub fn json(&self, pod: Option<&str>) -> String {
        let mut ascii = String::new();
        for char in self.value(pod).to_string().chars() {
            if matches!(char, ' '..='~') {
                ascii.push(char);
            } else {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(ascii, "\\u{unit:04x}");
                }
            }
        }
        ascii
    }

    /// The same as a tree.
    pub fn value(&self, pod: Option<&str>) -> Value {
        let named = |list: &[(Arc<str>, String)]| -> Vec<Value> {
            list.iter()
                .map(|(pod, why)| json!({"pod": **pod, "why": why}))
                .collect()
        };
        let runner_up = self.ranked.iter().find(|ranked| Some(&*ranked.pod) != pod);
        json!({
            "route": *self.route,
            "rule": {"position": self.rule, "name": self.rule_name},
            "server": *self.server,
            "connector": self.connector,
            "considered": self.considered,
            "pod": pod,
            "reason": pod.map(|pod| self.reason(pod)),
            "runnerUp": runner_up.filter(|_| pod.is_some()).map(|ranked| &*ranked.pod),
            "candidates": self.ranked.iter().map(Ranked::json).collect::<Vec<_>>(),
            "leftOut": named(&self.left_out),
            "failed": named(&self.failed),
        })
    }

    fn write_line(&self, pod: Option<&str>, out: &mut String) -> fmt::Result {
        write!(out, "route {} ", Ascii(&self.route))?;
        self.write_rule(out)?;
        write!(out, " -> server {}", Ascii(&self.server))?;
        if let Some(connector) = self.connector {
            write!(out, " -> connector {connector}")?;
        }
        if let Some(pod) = pod {
            write!(out, " -> pod {}", Ascii(pod))?;
            if !self.failed.is_empty() {
                out.push_str(" after ");
                write_named(&self.failed, out)?;
            }
            write!(out, ": {}", self.reason(pod))?;
        } else {
            out.push_str(" -> no pod answered");
            if !self.failed.is_empty() {
                out.push_str(": ");
                write_named(&self.failed, out)?;
            }
        }
        self.write_ranked(out)?;
        if !self.left_out.is_empty() {
            out.push_str("; left out: ");
            write_named(&self.left_out, out)?;
        }
        Ok(())
    }

    fn write_ranked(&self, out: &mut String) -> fmt::Result {
        if self.ranked.is_empty() {
            return Ok(());
        }
        out.push_str(" (");
        for (position, ranked) in self.ranked.iter().enumerate() {
            if position > 0 {
                out.push_str(" | ");
            }
            ranked.write(out)?;
        }
        let told = self.ranked.len() + self.left_out.len();
        out.push_str(if self.considered > told {
            " | ...)"
        } else {
            ")"
        });
        Ok(())
    }

    /// `rule <name>`, or `rules[<position>]` for a rule without a name.
    fn write_rule(&self, out: &mut String) -> fmt::Result {
        let Some(name) = &self.rule_name else {
            return write!(out, "rules[{}]", self.rule);
        };
        match name.char_indices().nth(LONGEST_NAME) {
            None => write!(out, "rule {}", Ascii(name)),
            Some((end, _)) => write!(out, "rule {}...", Ascii(&name[..end])),
        }
    }

    fn reason(&self, pod: &str) -> &'static str {
        let own = self.ranked.iter().find(|ranked| *ranked.pod == *pod);
        let equals = self
            .ranked
            .iter()
            .filter(|ranked| own.is_some_and(|own| own.total == ranked.total));
        if self.bound.iter().any(|(bound, ..)| **bound == *pod) {
            return "its session is bound to it";
        }
        match (self.failed.len(), self.considered) {
            (0, 0 | 1) => "the only pod",
            (0, _) if equals.count() > 1 => "best score, drawn by lot among equals",
            (0, _) => "best score",
            _ => "next best score",
        }
    }
}

fn age_of(candidate: &Candidate, now: Duration) -> Option<Duration> {
    let sample = candidate.endpoint.sample()?;
    Some(now.saturating_sub(sample.taken_at))
}

impl Ranked {
    fn write(&self, out: &mut String) -> fmt::Result {
        write!(out, "{} {}", Ascii(&self.pod), self.total)?;
        for (position, (plugin, mark, weight)) in self.marks.iter().enumerate() {
            out.push_str(if position == 0 { ": " } else { ", " });
            write!(out, "{plugin} {mark}")?;
            if *weight != 1 {
                write!(out, " x{weight}")?;
            }
        }
        write!(out, ", in flight {}", self.in_flight)?;
        if let Some(cached) = self.cached {
            write!(out, ", {cached} tokens cached")?;
        }
        if let Some(partner) = &self.partner {
            out.push_str(" + prefill ");
            partner.write(out)?;
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let marks = self.marks.iter().map(
            |(plugin, mark, weight)| json!({"plugin": plugin, "score": mark, "weight": weight}),
        );
        json!({
            "pod": *self.pod,
            "address": self.address.to_string(),
            "inFlight": self.in_flight,
            "sampleAgeSeconds": self.age.map(|age| age.as_secs_f64()),
            "cachedTokens": self.cached,
            "score": self.total,
            "scores": marks.collect::<Vec<_>>(),
            "prefill": self.partner.as_ref().map(|partner| partner.json()),
        })
    }
}

fn write_named(list: &[(Arc<str>, String)], out: &mut String) -> fmt::Result {
    for (position, (name, why)) in list.iter().enumerate() {
        if position > 0 {
            out.push_str(", ");
        }
        write!(out, "{} ({})", Ascii(name), Ascii(why))?;
    }
    Ok(())
}

/// A text with everything escaped that a header value must not hold.
struct Ascii<'a>(&'a str);

impl Display for Ascii<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            if matches!(char, ' '..='~') {
                f.write_char(char)?;
            } else {
                write!(f, "{}", char.escape_default())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
