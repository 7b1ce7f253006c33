//! Ports that are free at the moment of asking.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// Takes `N` different free TCP ports on 127.0.0.1 from the system.
///
/// Another process may take one before it is used, so whoever hands a port to a program must be ready to
/// start again with others. A server under test binds port 0 itself instead.
pub fn free<const N: usize>() -> io::Result<[u16; N]> {
    // All listeners stay open until every port is known, so that no port is given twice.
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}
