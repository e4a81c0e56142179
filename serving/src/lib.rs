//! coterie-serving
