//! The operator: carries out what `coterie-operator-core` plans.
