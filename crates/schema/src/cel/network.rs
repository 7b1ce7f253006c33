//! `ip()`, `cidr()` and `url()`: addresses of hosts, networks and pages.
//!
//! The values are texts in the one form that stands for all of equal meaning, so that they compare as the API server
//! compares them. A rule that mixes them up with plain texts compiles here, where the API server refuses it.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cel::common::types::{CelBool, CelInt, CelString};
use cel::{DeclarationError, Env, ExecutionError};

use crate::format::Format;

type Outcome<T> = Result<T, ExecutionError>;

/// Adds the functions to `env`.
pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    cel::add_overload!(env, fn is_url: (CelString) -> CelBool, name = "isURL")?;
    cel::add_overload!(env, fn is_ip: (CelString) -> CelBool, name = "isIP")?;
    cel::add_overload!(env, fn is_cidr: (CelString) -> CelBool, name = "isCIDR")?;
    cel::add_overload!(env, fn ip: (CelString) -> Result<CelString>)?;
    cel::add_overload!(env, fn is_canonical: (CelString) -> Result<CelBool>, name = "ip.isCanonical")?;
    cel::add_overload!(env, fn cidr: (CelString) -> Result<CelString>)?;
    cel::add_overload!(env, fn url: (CelString) -> Result<CelString>)?;
    cel::add_member_overload!(env, fn family: (CelString) -> Result<CelInt>)?;
    cel::add_member_overload!(env, fn is_unspecified: (CelString) -> Result<CelBool>)?;
    cel::add_member_overload!(env, fn is_loopback: (CelString) -> Result<CelBool>)?;
    cel::add_member_overload!(env, fn is_link_local_unicast: (CelString) -> Result<CelBool>)?;
    cel::add_member_overload!(env, fn is_link_local_multicast: (CelString) -> Result<CelBool>)?;
    cel::add_member_overload!(env, fn is_global_unicast: (CelString) -> Result<CelBool>)?;
    cel::add_member_overload!(env, fn contains_ip: (CelString, CelString) -> Result<CelBool>, name = "containsIP")?;
    cel::add_member_overload!(env, fn contains_cidr: (CelString, CelString) -> Result<CelBool>, name = "containsCIDR")?;
    cel::add_member_overload!(env, fn address: (CelString) -> Result<CelString>, name = "ip")?;
    cel::add_member_overload!(env, fn masked: (CelString) -> Result<CelString>)?;
    cel::add_member_overload!(env, fn prefix_length: (CelString) -> Result<CelInt>)?;
    cel::add_member_overload!(env, fn get_scheme: (CelString) -> CelString)?;
    cel::add_member_overload!(env, fn get_host: (CelString) -> CelString)?;
    cel::add_member_overload!(env, fn get_hostname: (CelString) -> CelString)?;
    cel::add_member_overload!(env, fn get_port: (CelString) -> CelString)?;
    cel::add_member_overload!(env, fn get_escaped_path: (CelString) -> CelString)?;
    Ok(())
}

/// An address with the length of its network's prefix.
#[derive(Clone, Copy)]
struct Network {
    address: IpAddr,
    length: u8,
}

/// An address as the API server reads it: no zone, and no IPv4 in the clothes of IPv6.
fn parse_ip(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    let mapped = matches!(address, IpAddr::V6(six) if six.to_ipv4_mapped().is_some());
    (!mapped).then_some(address)
}

fn ip_of(text: &CelString<'_>) -> Outcome<IpAddr> {
    parse_ip(text.inner()).ok_or_else(|| {
        let quoted = crate::go::quote(text.inner());
        let message = format!(
            "IP Address {quoted} parse error during conversion from string: ParseAddr({quoted}): unable to parse IP"
        );
        ExecutionError::function_error("ip", message)
    })
}

fn network_of(text: &CelString<'_>) -> Outcome<Network> {
    let parsed = Format::Cidr
        .accepts(text.inner())
        .then(|| text.inner().split_once('/'))
        .flatten();
    let network = parsed.and_then(|(address, length)| {
        Some(Network {
            address: parse_ip(address)?,
            length: length.parse().ok()?,
        })
    });
    network.ok_or_else(|| {
        let message = "network address parse error during conversion from string";
        ExecutionError::function_error("cidr", message)
    })
}

impl Network {
    fn masked(self) -> Self {
        let address = match self.address {
            IpAddr::V4(four) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.length))
                    .unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(four.to_bits() & mask))
            }
            IpAddr::V6(six) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.length))
                    .unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & mask))
            }
        };
        Self { address, ..self }
    }

    fn contains(self, address: IpAddr) -> bool {
        let other = Self { address, ..self };
        address.is_ipv4() == self.address.is_ipv4()
            && other.masked().address == self.masked().address
    }

    fn text(self) -> CelString<'static> {
        format!("{}/{}", self.address, self.length).into()
    }
}

fn is_url(text: &CelString<'_>) -> CelBool {
    Format::Uri.accepts(text.inner()).into()
}

fn is_ip(text: &CelString<'_>) -> CelBool {
    parse_ip(text.inner()).is_some().into()
}

fn is_cidr(text: &CelString<'_>) -> CelBool {
    network_of(text).is_ok().into()
}

fn ip(text: &CelString<'_>) -> Outcome<CelString<'static>> {
    Ok(ip_of(text)?.to_string().into())
}

fn is_canonical(text: &CelString<'_>) -> Outcome<CelBool> {
    Ok((ip_of(text)?.to_string() == text.inner()).into())
}

fn family(text: &CelString<'_>) -> Outcome<CelInt> {
    let family: i64 = if ip_of(text)?.is_ipv4() { 4 } else { 6 };
    Ok(family.into())
}

fn is_unspecified(text: &CelString<'_>) -> Outcome<CelBool> {
    Ok(ip_of(text)?.is_unspecified().into())
}

fn is_loopback(text: &CelString<'_>) -> Outcome<CelBool> {
    Ok(ip_of(text)?.is_loopback().into())
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => four.is_link_local(),
        IpAddr::V6(six) => six.is_unicast_link_local(),
    }
}

fn is_link_local_unicast(text: &CelString<'_>) -> Outcome<CelBool> {
    Ok(is_link_local(ip_of(text)?).into())
}

fn is_link_local_multicast(text: &CelString<'_>) -> Outcome<CelBool> {
    let found = match ip_of(text)? {
        IpAddr::V4(four) => matches!(four.octets(), [224, 0, 0, _]),
        IpAddr::V6(six) => six.segments()[0] & 0xff0f == 0xff02,
    };
    Ok(found.into())
}

fn is_global_unicast(text: &CelString<'_>) -> Outcome<CelBool> {
    let address = ip_of(text)?;
    let other = address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || is_link_local(address)
        || address == IpAddr::V4(Ipv4Addr::BROADCAST);
    Ok((!other).into())
}

fn cidr(text: &CelString<'_>) -> Outcome<CelString<'static>> {
    Ok(network_of(text)?.text())
}

fn contains_ip(network: &CelString<'_>, address: &CelString<'_>) -> Outcome<CelBool> {
    Ok(network_of(network)?.contains(ip_of(address)?).into())
}

fn contains_cidr(network: &CelString<'_>, other: &CelString<'_>) -> Outcome<CelBool> {
    let (network, other) = (network_of(network)?, network_of(other)?);
    let within = network.length <= other.length && network.contains(other.address);
    Ok(within.into())
}

fn address(network: &CelString<'_>) -> Outcome<CelString<'static>> {
    Ok(network_of(network)?.address.to_string().into())
}

fn masked(network: &CelString<'_>) -> Outcome<CelString<'static>> {
    Ok(network_of(network)?.masked().text())
}

fn prefix_length(network: &CelString<'_>) -> Outcome<CelInt> {
    Ok(i64::from(network_of(network)?.length).into())
}

fn url(text: &CelString<'_>) -> Outcome<CelString<'static>> {
    if Format::Uri.accepts(text.inner()) {
        return Ok(text.inner().to_owned().into());
    }
    let message = format!(
        "URL parse error during conversion from string: parse {}: invalid URI for request",
        crate::go::quote(text.inner())
    );
    Err(ExecutionError::function_error("url", message))
}

/// Scheme, host with port, and path of a URL that was checked.
fn parts(url: &str) -> (&str, &str, &str) {
    let (scheme, rest) = match url.split_once(':') {
        Some((scheme, rest)) if !url.starts_with('/') => (scheme, rest),
        _ => ("", url),
    };
    let rest = rest.split('?').next().unwrap_or_default();
    let Some(after) = rest.strip_prefix("//").filter(|_| !scheme.is_empty()) else {
        return (scheme, "", rest);
    };
    let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    (scheme, host, path)
}

/// The name and the port of a host; a name in brackets loses them.
fn name_and_port(host: &str) -> (&str, &str) {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, ""),
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    (bare.unwrap_or(name), port)
}

fn get_scheme(url: &CelString<'_>) -> CelString<'static> {
    parts(url.inner()).0.to_owned().into()
}

fn get_host(url: &CelString<'_>) -> CelString<'static> {
    parts(url.inner()).1.to_owned().into()
}

fn get_hostname(url: &CelString<'_>) -> CelString<'static> {
    name_and_port(parts(url.inner()).1).0.to_owned().into()
}

fn get_port(url: &CelString<'_>) -> CelString<'static> {
    name_and_port(parts(url.inner()).1).1.to_owned().into()
}

fn get_escaped_path(url: &CelString<'_>) -> CelString<'static> {
    parts(url.inner()).2.to_owned().into()
}
