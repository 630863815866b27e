//! Options of docker's whose meaning holds here without doing anything, so that scripts that have
//! them work. What they could say besides is refused by name.

use crate::cli::normalize::{Opt, Settled};

const ANY: &[&str] = &["true", "false"];
const NONE: &[&str] = &["", "false", "0", "f", "F", "FALSE", "False", "disabled=true"];
const NO_ATTESTATIONS: &str = "lath attests nothing: leave the option out";

const fn row(opt: Opt, values: &'static [&'static str], hint: &'static str) -> Settled {
    Settled { opt, values, hint }
}

/// The table.
pub const SETTLED: &[Settled] = &[
    row(
        Opt::values("attest", None),
        &["type=provenance,disabled=true", "type=sbom,disabled=true"],
        NO_ATTESTATIONS,
    ),
    row(Opt::value("builder", None), &["", "default"], "there is no other builder than default"),
    // The context is read where it lies, and sent nowhere.
    row(Opt::switch("compress", None), ANY, ""),
    row(Opt::switch("disable-content-trust", None), &["true"], "no signatures are checked"),
    row(Opt::value("isolation", None), &["", "default"], "the others are those of Windows"),
    row(Opt::value("provenance", None), NONE, NO_ATTESTATIONS),
    row(Opt::value("sbom", None), NONE, NO_ATTESTATIONS),
    row(Opt::switch("stream", None), ANY, ""),
];
