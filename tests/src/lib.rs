//! coterie-tests
