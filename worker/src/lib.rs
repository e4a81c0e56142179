//! coterie-worker
