//! A contribution on the wire: a header that says what it covers, the partial in pieces, a seal that proves it complete.

use bytes::{Bytes, BytesMut};
use coterie_protocol::{
    CHUNK_BYTES,
    internal::{Fence, Fragment, Seal, Share, SplitRef, SubmitHeader, SubmitRequest, submit_request::Part},
};
use futures::{Stream, StreamExt};
use tonic::Status;

use crate::{
    error::RunError,
    machine::Merge,
    session::{Lot, WorkerId},
};

/// Largest contribution: 1 GiB is k x d of 2^27.
pub const CAP: u64 = 1 << 30;

/// What one worker has put into a contribution.
pub type Portion = (WorkerId, Vec<Lot>);

/// A share as the session knows it.
#[must_use]
pub fn portion(share: &Share) -> Portion {
    (WorkerId(share.worker), lots(&share.splits))
}

/// Splits as the session knows them.
#[must_use]
pub fn lots(splits: &[SplitRef]) -> Vec<Lot> {
    splits.iter().map(|split| Lot { split: split.split, attempt: split.attempt }).collect()
}

/// A share as it is sent.
#[must_use]
pub fn share(worker: WorkerId, splits: Vec<SplitRef>) -> Share {
    Share { worker: worker.0, splits }
}

/// A partial's pieces, encoded.
///
/// # Errors
/// When it cannot be encoded (a bug).
pub fn encode<P: Merge + serde::Serialize>(pieces: &[P]) -> Result<Vec<Bytes>, RunError> {
    pieces.iter().map(piece).collect()
}

/// One piece, encoded.
///
/// # Errors
/// When it cannot be encoded (a bug).
pub fn piece<P: serde::Serialize>(piece: &P) -> Result<Bytes, RunError> {
    postcard::to_stdvec(piece)
        .map(Bytes::from)
        .map_err(|error| RunError::transient(format!("encode a partial: {error}")))
}

/// The partial that these pieces make.
///
/// # Errors
/// When they are not what a worker of the same version sends.
pub fn decode<P: Merge + serde::de::DeserializeOwned>(pieces: &[Bytes]) -> Result<P, RunError> {
    P::join(pieces.iter().map(|bytes| decode_piece(bytes)).collect::<Result<_, _>>()?)
}

/// One piece.
///
/// # Errors
/// As of [`decode`].
pub fn decode_piece<P: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<P, RunError> {
    postcard::from_bytes(bytes).map_err(|error| RunError::transient(format!("decode a contribution: {error}")))
}

/// Spells a contribution message by message.
#[derive(Debug, Default)]
pub struct Spelling {
    digest: blake3::Hasher,
    length: u64,
}

impl Spelling {
    /// The first message.
    #[must_use]
    pub fn header(fence: &Fence, step: u64, shares: Vec<Share>) -> SubmitRequest {
        message(Part::Header(SubmitHeader { fence: Some(fence.clone()), step, shares }))
    }

    /// The messages of the next piece.
    pub fn piece(&mut self, bytes: &Bytes) -> impl Iterator<Item = SubmitRequest> + use<> {
        self.digest.update(bytes);
        self.length += bytes.len() as u64;
        let bytes = bytes.clone();
        (0..bytes.len().max(1)).step_by(CHUNK_BYTES).map(move |start| {
            let end = bytes.len().min(start + CHUNK_BYTES);
            message(Part::Fragment(Fragment { data: bytes.slice(start..end), last: end == bytes.len() }))
        })
    }

    /// The last message.
    #[must_use]
    pub fn seal(self) -> SubmitRequest {
        message(Part::Seal(Seal { length: self.length, digest: self.digest.finalize().as_bytes().to_vec() }))
    }

    /// A whole contribution.
    #[must_use]
    pub fn whole(fence: &Fence, step: u64, shares: Vec<Share>, pieces: &[Bytes]) -> Vec<SubmitRequest> {
        let mut messages = vec![Self::header(fence, step, shares)];
        let mut spelling = Self::default();
        for piece in pieces {
            messages.extend(spelling.piece(piece));
        }
        messages.push(spelling.seal());
        messages
    }
}

fn message(part: Part) -> SubmitRequest {
    SubmitRequest { part: Some(part) }
}

/// Reads a contribution piece by piece.
#[derive(Debug)]
pub struct Reading<S> {
    messages: S,
    digest: blake3::Hasher,
    length: u64,
}

impl<S: Stream<Item = Result<SubmitRequest, Status>> + Unpin> Reading<S> {
    /// Reads the header.
    ///
    /// # Errors
    /// That the sender has failed, or does not begin with a header.
    pub async fn open(mut messages: S) -> Result<(SubmitHeader, Self), Status> {
        match messages.next().await.transpose()?.and_then(|message| message.part) {
            Some(Part::Header(header)) => Ok((header, Self { messages, digest: blake3::Hasher::new(), length: 0 })),
            _ => Err(Status::invalid_argument("a contribution begins with its header")),
        }
    }

    /// The next piece; `None` once all of them have come as they were sent.
    ///
    /// # Errors
    /// That the sender has failed, that the contribution is too large, or not what its seal says.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Status> {
        let mut piece = BytesMut::new();
        loop {
            match self.messages.next().await.transpose()?.and_then(|message| message.part) {
                Some(Part::Fragment(Fragment { data, last })) => {
                    self.length += data.len() as u64;
                    if self.length > CAP {
                        return Err(Status::resource_exhausted(format!("a contribution exceeds {CAP} bytes")));
                    }
                    self.digest.update(&data);
                    if last && piece.is_empty() {
                        return Ok(Some(data));
                    }
                    piece.extend_from_slice(&data);
                    if last {
                        return Ok(Some(piece.freeze()));
                    }
                }
                Some(Part::Seal(seal)) if piece.is_empty() => {
                    let digest = self.digest.finalize();
                    if seal.length != self.length || digest.as_bytes().as_slice() != seal.digest.as_slice() {
                        return Err(Status::data_loss("the contribution does not match its seal; send it again"));
                    }
                    return Ok(None);
                }
                _ => return Err(Status::invalid_argument("a contribution is a header, pieces and a seal")),
            }
        }
    }

    /// All pieces that are left.
    ///
    /// # Errors
    /// As of [`Reading::piece`].
    pub async fn rest(mut self) -> Result<Vec<Bytes>, Status> {
        let mut pieces = Vec::new();
        while let Some(piece) = self.piece().await? {
            pieces.push(piece);
        }
        Ok(pieces)
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use proptest::prelude::*;
    use tonic::Code;

    use super::*;

    fn fence() -> Fence {
        Fence { run: "r".to_owned(), epoch: 1, worker: 2 }
    }

    fn spelled(pieces: &[Bytes]) -> Vec<SubmitRequest> {
        Spelling::whole(&fence(), 3, vec![share(WorkerId(2), vec![SplitRef { split: 4, attempt: 5 }])], pieces)
    }

    async fn read(messages: Vec<SubmitRequest>) -> Result<(SubmitHeader, Vec<Bytes>), Status> {
        let (header, reading) = Reading::open(stream::iter(messages.into_iter().map(Ok))).await?;
        Ok((header, reading.rest().await?))
    }

    #[tokio::test]
    async fn what_is_spelled_is_read() {
        let large = Bytes::from(vec![7; 2 * CHUNK_BYTES + 1]);
        for pieces in [vec![], vec![Bytes::new()], vec![Bytes::from_static(b"ab"), Bytes::new(), large]] {
            let (header, back) = read(spelled(&pieces)).await.unwrap();
            assert_eq!(back, pieces);
            assert_eq!((header.fence, header.step), (Some(fence()), 3));
            assert_eq!(portion(&header.shares[0]), (WorkerId(2), vec![Lot { split: 4, attempt: 5 }]));
        }
    }

    #[tokio::test]
    async fn what_was_damaged_on_the_way_is_refused() {
        let pieces = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
        let whole = spelled(&pieces);
        let code = async |messages: Vec<SubmitRequest>| read(messages).await.unwrap_err().code();
        for end in 0..whole.len() {
            assert_eq!(code(whole[..end].to_vec()).await, Code::InvalidArgument, "cut after {end} messages");
        }
        for missing in 1..whole.len() - 1 {
            let mut messages = whole.clone();
            messages.remove(missing);
            assert_eq!(code(messages).await, Code::DataLoss, "without message {missing}");
        }
        let mut swapped = whole.clone();
        swapped.swap(1, 2);
        assert_eq!(code(swapped).await, Code::DataLoss);
        let mut twice = whole.clone();
        twice.insert(1, whole[0].clone());
        assert_eq!(code(twice).await, Code::InvalidArgument, "two headers");
        let mut open = whole.clone();
        if let Some(Part::Fragment(fragment)) = &mut open[2].part {
            fragment.last = false;
        }
        assert_eq!(code(open).await, Code::InvalidArgument, "the last piece has no end");
    }

    proptest! {
        #[test]
        fn any_order_of_messages_is_read_or_refused(picks in prop::collection::vec(0usize..5, 0..12)) {
            let whole = spelled(&[Bytes::from_static(b"one"), Bytes::from_static(b"two"), Bytes::from_static(b"x")]);
            let messages: Vec<_> = picks.iter().map(|at| whole[*at].clone()).collect();
            let read = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(read(messages.clone()));
            prop_assert_eq!(read.is_ok(), messages.len() >= whole.len() && messages[..whole.len()] == whole[..]);
        }
    }
}
