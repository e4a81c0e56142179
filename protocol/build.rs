//! Compiles the proto files without a system `protoc`.
use std::error::Error;
use std::path::PathBuf;

const COORDINATION: &str = "coterie/internal/v1/coordination.proto";
const SHARDS: &str = "coterie/internal/v1/shards.proto";
const QUERY: &str = "coterie/v1/query.proto";
const INFERENCE: &str = "inference/inference.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    tonic_prost_build::configure()
        .bytes(".coterie.internal.v1.Chunk.data")
        .bytes(".coterie.internal.v1.Fragment.data")
        .bytes(".coterie.v1.Vectors.data")
        .compile_fds(protox::compile([COORDINATION, SHARDS, QUERY], ["proto"])?)?;
    tonic_prost_build::configure()
        .bytes(".inference.ModelInferRequest.raw_input_contents")
        .bytes(".inference.ModelInferResponse.raw_output_contents")
        .codec_path("crate::bounded::Codec")
        .compile_fds(protox::compile([INFERENCE], ["proto"])?)?;

    // What anyone may call is described to anyone who asks, by server reflection.
    let mut public = protox::Compiler::new(["proto"])?;
    public.include_imports(true).include_source_info(true).open_files([QUERY, INFERENCE])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    std::fs::write(out.join("public.bin"), public.encode_file_descriptor_set())?;
    Ok(())
}
