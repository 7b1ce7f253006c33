//! nginx with `least_conn` in front of the same engines: a proxy that knows nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use crate::process::Process;

/// Starts nginx in the foreground with everything it writes inside `folder`.
pub(crate) fn start(
    listen: SocketAddr,
    engine_port: u16,
    pods: u32,
    folder: &Path,
) -> anyhow::Result<Process> {
    let first = u32::from(Ipv4Addr::LOCALHOST);
    let servers: Vec<String> = (0..pods)
        .map(|number| {
            format!(
                "    server {}:{engine_port};\n",
                Ipv4Addr::from(first + number)
            )
        })
        .collect();
    let servers = servers.concat();
    let root = folder.display();
    // Events must pass at once, so nothing is buffered; bodies stay in memory, as in the router.
    let config = format!(
        "daemon off;\nworker_processes 2;\npid {root}/nginx.pid;\nerror_log {root}/error.log warn;\n\
         events {{ worker_connections 10000; }}\n\
         http {{\n  access_log {root}/nginx-access.log;\n  client_body_temp_path {root};\n  proxy_temp_path {root};\n\
         fastcgi_temp_path {root};\n  uwsgi_temp_path {root};\n  scgi_temp_path {root};\n\
         keepalive_requests 1000000000;\n  upstream engines {{\n    least_conn;\n{servers}    keepalive 2048;\n\
         keepalive_requests 1000000000;\n  }}\n\
         server {{\n    listen {listen};\n    client_body_buffer_size 128k;\n    client_max_body_size 64m;\n\
         location / {{\n      proxy_pass http://engines;\n      proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\";\n      proxy_buffering off;\n      proxy_read_timeout 1h;\n    }}\n  }}\n}}\n"
    );
    let path = folder.join("nginx.conf");
    std::fs::write(&path, config)?;
    Process::start(
        Command::new("nginx")
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(path),
        true,
    )
}
