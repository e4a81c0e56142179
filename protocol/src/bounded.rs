//! Decoding of messages that anyone may send.
//!
//! An empty part of an inference request takes two bytes on the wire and hundreds in memory, so a message within the bound on
//! its size could still fill a machine. Its parts are counted before it is decoded.

use bytes::Buf;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tonic::Status;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// Most parts of a request: tensors, parameters and lists, but not the values in a list. Honest ones have some ten.
const MOST_PARTS: usize = 4_096;

/// The way to the parts that have parts themselves: `inputs` of a request and their `contents`.
const NESTED: [u32; 2] = [5, 5];

/// The usual codec, but it refuses messages of very many parts.
#[derive(Debug)]
pub(crate) struct Codec<T, U>(ProstCodec<T, U>);

/// The usual decoder behind the count.
#[derive(Debug)]
pub(crate) struct Counting<U>(ProstDecoder<U>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(ProstCodec::default())
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = Counting<U>;

    fn encoder(&mut self) -> Self::Encoder {
        self.0.encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        Counting(self.0.decoder())
    }
}

impl<U: Message + Default> Decoder for Counting<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // The buffer is one piece, as tonic reads messages.
        let mut left = MOST_PARTS;
        count(buffer.chunk(), &NESTED, &mut left)?;
        self.0.decode(buffer)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

/// Takes the parts of `message` off `left`. What is no message ends the count: the decoder will say so.
fn count(mut message: &[u8], nested: &[u32], left: &mut usize) -> Result<(), Status> {
    while message.has_remaining() {
        let Ok((tag, wire_type)) = decode_key(&mut message) else { return Ok(()) };
        if wire_type != WireType::LengthDelimited {
            if skip_field(wire_type, tag, &mut message, DecodeContext::default()).is_err() {
                return Ok(());
            }
            continue;
        }
        let part =
            decode_varint(&mut message).ok().and_then(|length| message.split_at_checked(length.try_into().ok()?));
        let Some((part, rest)) = part else { return Ok(()) };
        message = rest;
        let Some(fewer) = left.checked_sub(1) else {
            return Err(Status::invalid_argument(format!("the message has more than {MOST_PARTS} parts")));
        };
        *left = fewer;
        if let Some((first, deeper)) = nested.split_first()
            && *first == tag
        {
            count(part, deeper, left)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::model_infer_request::InferInputTensor;
    use crate::inference::{InferTensorContents, ModelInferRequest};

    fn parts(message: &ModelInferRequest) -> Option<usize> {
        let mut left = MOST_PARTS;
        count(&message.encode_to_vec(), &NESTED, &mut left).ok().map(|()| MOST_PARTS - left)
    }

    fn request(inputs: usize, contents: InferTensorContents) -> ModelInferRequest {
        let input = InferInputTensor { contents: Some(contents), ..Default::default() };
        ModelInferRequest { inputs: vec![input; inputs], ..Default::default() }
    }

    #[test]
    fn values_are_no_parts() {
        let floats = InferTensorContents { fp32_contents: vec![1.0; 1 << 20], ..Default::default() };
        assert_eq!(parts(&request(1, floats)), Some(3));
        let raw = ModelInferRequest { raw_input_contents: vec![vec![0; 1 << 20].into()], ..Default::default() };
        assert_eq!(parts(&raw), Some(1));
    }

    #[test]
    fn too_many_parts_are_refused_at_every_depth() {
        assert_eq!(parts(&request(MOST_PARTS / 2, InferTensorContents::default())), Some(MOST_PARTS));
        assert_eq!(parts(&request(MOST_PARTS / 2 + 1, InferTensorContents::default())), None);
        let texts = |count| InferTensorContents { bytes_contents: vec![Vec::new(); count], ..Default::default() };
        assert_eq!(parts(&request(1, texts(MOST_PARTS - 2))), Some(MOST_PARTS));
        assert_eq!(parts(&request(1, texts(MOST_PARTS - 1))), None);
    }

    #[test]
    fn what_is_no_message_is_left_to_the_decoder() {
        for bytes in [
            &[0xff; 20][..],
            &[0x2a],
            &[0x2a, 9, 1],
            &[0x2a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            &[0x0b],
        ] {
            assert!(count(bytes, &NESTED, &mut 10).is_ok());
            assert!(ModelInferRequest::decode(bytes).is_err());
        }
    }
}
