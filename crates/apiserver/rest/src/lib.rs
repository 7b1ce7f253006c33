//! draft
mod accept;
mod database;
mod decode;
mod query;
mod request_info;
mod tls;
