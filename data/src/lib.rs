//! coterie-data
