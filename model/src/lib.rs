//! coterie-model
