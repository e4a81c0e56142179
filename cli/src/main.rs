//! coterie
fn main() {}
