//! coterie-algorithms
