//! Kubernetes quantities: `500m`, `2Gi`, `1e3`.

pub use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
