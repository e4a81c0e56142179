//! `coterie crd`.

use clap::Args;

use crate::Failure;

/// Print the CustomResourceDefinition as YAML, for kubectl apply -f -.
#[derive(Args)]
pub(crate) struct Crd {}

impl Crd {
    pub(crate) fn execute(self) -> Result<(), Failure> {
        print!("{}", coterie_crds::crd::yaml());
        Ok(())
    }
}
