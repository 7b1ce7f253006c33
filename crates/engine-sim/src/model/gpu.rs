//! Profiles of accelerators.
//!
//! Peak arithmetic is dense bf16 with fp32 accumulation (the rate without sparsity), from the
//! vendor's data sheet of each card; so are memory size and bandwidth. `compute_efficiency` and
//! `memory_efficiency` say what share of the peak a serving engine reaches:
//!
//! - cards with HBM read weights at about 0.85 of the peak: slope of the public Qwen2.5 speed
//!   benchmark (0.5B to 32B, one A100 80 GB, vLLM, batch 1);
//! - cards with GDDR at about 0.91: 21.9 ms per token for Qwen2.5-7B on one RTX A6000 (vLLM 0.23);
//! - arithmetic at 0.6 to 0.7 where the power limit allows it (A100, A6000: same sources at 64 to 256
//!   sequences); 0.5 on Hopper and on the power-limited cards (L4, L40S), whose long matrix
//!   products run well below the listed boost clock.

/// One accelerator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GpuProfile {
    /// The name it is chosen by.
    pub name: &'static str,
    /// Peak dense bf16 arithmetic, operations per second.
    pub peak_flops: f64,
    /// Peak memory bandwidth, bytes per second.
    pub memory_bandwidth: f64,
    /// Memory the driver reports, bytes.
    pub memory_bytes: u64,
    /// Share of `peak_flops` that large matrix products reach.
    pub compute_efficiency: f64,
    /// Share of `memory_bandwidth` that weight and cache reads reach.
    pub memory_efficiency: f64,
    /// Bandwidth to the other GPUs of the machine per direction, bytes per second.
    pub link_bandwidth: f64,
}

const TERA: f64 = 1e12;
const GIGA: f64 = 1e9;
const GIB: u64 = 1 << 30;
const PCIE4: f64 = 25.0 * GIGA;

const fn hbm(
    name: &'static str,
    tflops: f64,
    gbytes: f64,
    gib: u64,
    efficiency: f64,
    link: f64,
) -> GpuProfile {
    GpuProfile {
        name,
        peak_flops: tflops * TERA,
        memory_bandwidth: gbytes * GIGA,
        memory_bytes: gib * GIB,
        compute_efficiency: efficiency,
        memory_efficiency: 0.85,
        link_bandwidth: link * GIGA,
    }
}

const fn gddr(
    name: &'static str,
    tflops: f64,
    gbytes: f64,
    gib: u64,
    efficiency: f64,
) -> GpuProfile {
    GpuProfile {
        name,
        peak_flops: tflops * TERA,
        memory_bandwidth: gbytes * GIGA,
        memory_bytes: gib * GIB,
        compute_efficiency: efficiency,
        memory_efficiency: 0.91,
        link_bandwidth: PCIE4,
    }
}

/// All profiles; the first that a name contains wins, so longer names stand first.
const PROFILES: &[GpuProfile] = &[
    hbm("b200", 2250.0, 8000.0, 179, 0.5, 900.0),
    hbm("h200", 989.0, 4800.0, 140, 0.5, 450.0),
    hbm("h100-pcie", 756.0, 2000.0, 79, 0.5, 25.0),
    hbm("h100", 989.0, 3352.0, 79, 0.5, 450.0),
    hbm("h20", 148.0, 4000.0, 95, 0.8, 450.0),
    hbm("a100-40", 312.0, 1555.0, 39, 0.65, 300.0),
    hbm("a100", 312.0, 2039.0, 79, 0.65, 300.0),
    gddr("a6000", 154.8, 768.0, 47, 0.7),
    gddr("a40", 149.7, 696.0, 44, 0.55),
    gddr("a10g", 70.0, 600.0, 22, 0.6),
    gddr("a10", 125.0, 600.0, 22, 0.5),
    gddr("l40s", 362.0, 864.0, 44, 0.5),
    gddr("l40", 181.0, 864.0, 44, 0.6),
    gddr("l20", 119.5, 864.0, 44, 0.7),
    gddr("l4", 121.0, 300.0, 22, 0.45),
    gddr("4090", 165.2, 1008.0, 23, 0.7),
    hbm("v100", 112.0, 900.0, 31, 0.6, 150.0),
    gddr("t4", 65.0, 320.0, 14, 0.4),
];

/// Used when none is named: the card most public measurements were made on.
const DEFAULT: &str = "a100";

impl GpuProfile {
    /// The profile whose name `name` contains, whatever the case, spaces and underscores:
    /// `NVIDIA A100-SXM4-40GB` is `a100-40`.
    pub fn by_name(name: &str) -> Option<Self> {
        let wanted: String = name
            .to_ascii_lowercase()
            .replace([' ', '_', '.'], "-")
            .replace("-sxm4", "")
            .replace("-sxm5", "")
            .replace("a100-pcie", "a100")
            .replace("gb", "");
        PROFILES
            .iter()
            .copied()
            .find(|profile| wanted.contains(profile.name))
    }

    /// Names of all profiles, for messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PROFILES.iter().map(|profile| profile.name)
    }
}

impl Default for GpuProfile {
    fn default() -> Self {
        let default = PROFILES.iter().copied().find(|gpu| gpu.name == DEFAULT);
        default.unwrap_or(PROFILES[0])
    }
}
