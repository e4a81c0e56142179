//! Sets in messages.

use crate::app::App;
use crate::query::{QueryError, Sets};
use coterie_protocol::query::Set;

/// Bytes of members that are read where they arrived: some tens of microseconds.
const READ_AT_ONCE: usize = 16 << 10;

/// The sets of a request, read off the async threads when they are large.
///
/// # Errors
/// [`QueryError`] where integers and texts are mixed.
pub(super) async fn read(app: &App, sets: Vec<Set>) -> Result<Sets, QueryError> {
    if sets.iter().map(size).sum::<usize>() <= READ_AT_ONCE {
        return flat(&sets);
    }
    app.compute.offload(move || flat(&sets)).await?
}

fn size(set: &Set) -> usize {
    let Set { integers, texts } = set;
    size_of_val(&integers[..]) + texts.iter().map(|text| size_of_val(text) + text.len()).sum::<usize>()
}

fn flat(sets: &[Set]) -> Result<Sets, QueryError> {
    let mut all = Sets::default();
    for Set { integers, texts } in sets {
        integers.iter().try_for_each(|member| all.integer(*member))?;
        texts.iter().try_for_each(|member| all.text(member))?;
        all.end();
    }
    Ok(all)
}
