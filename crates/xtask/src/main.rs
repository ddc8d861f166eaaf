//! Work on what cargo has built: `xtask pack <built> <packed>`.
//!
//! The demonstration and the benchmark are packages of their own, so that `make` compiles for the module only what packs it.

mod calls;
mod merge;
mod order;
mod pack;

use std::env::args_os;

use anyhow::{Context as _, Result, bail};

fn main() -> Result<()> {
    let mut arguments = args_os().skip(1);
    let task = arguments.next().context("which task? There is `pack`.")?;
    match task.to_str() {
        Some("pack") => {
            let built = arguments.next().context("which module?")?;
            let packed = arguments.next().context("where to?")?;
            pack::pack(built.as_ref(), packed.as_ref())
        }
        _ => bail!("there is no task {}; there is `pack`", task.display()),
    }
}
