//! Compiles the proto files without a system `protoc`.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["coterie/internal/v1/coordination.proto", "coterie/v1/query.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".coterie.internal.v1.Chunk.data")
        .bytes(".coterie.internal.v1.Fragment.data")
        .bytes(".coterie.v1.Vectors.data")
        .compile_fds(files)?;
    Ok(())
}
