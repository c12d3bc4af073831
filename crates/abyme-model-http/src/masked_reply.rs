//! A reply without the keys of its request, which a server or a model may repeat.

use abyme_core::{Delta, FinishReason, Response, ResponseStream, Result};
use futures_util::{StreamExt, stream};

use crate::secret::Mask;

/// `deltas` without the secrets of `mask`, also where two pieces hold a part of one each: what may be the
/// beginning of a secret waits for what follows.
pub(crate) fn masked<'a>(mask: &Mask, deltas: ResponseStream<'a>) -> ResponseStream<'a> {
    if mask.secrets().is_empty() {
        return deltas;
    }
    let mut reply = MaskedReply { mask: mask.clone(), text: String::new(), reasoning: String::new() };
    deltas.flat_map(move |delta| stream::iter(reply.take(delta))).boxed()
}

/// A reply that is being masked.
struct MaskedReply {
    mask: Mask,
    /// The end of the text so far, which may be the beginning of a secret.
    text: String,
    /// The same of the reasoning.
    reasoning: String,
}

impl MaskedReply {
    /// What can be given out once this has come.
    fn take(&mut self, delta: Result<Delta>) -> Vec<Result<Delta>> {
        let Self { mask, text, reasoning } = self;
        let mut out = Vec::new();
        match delta {
            Ok(Delta::Text(piece)) => out.extend(next(mask, text, &piece, false).map(Delta::Text)),
            Ok(Delta::Reasoning(piece)) => {
                out.extend(next(mask, reasoning, &piece, false).map(Delta::Reasoning));
            }
            Ok(other @ (Delta::Usage(_) | Delta::RateLimits(_))) => out.push(other),
            end => {
                out.extend(next(mask, reasoning, "", true).map(Delta::Reasoning));
                out.extend(next(mask, text, "", true).map(Delta::Text));
                let end = end.map(|end| match end {
                    Delta::Done(response) => Delta::Done(without_secrets(mask, response)),
                    other => other,
                });
                return out.into_iter().map(Ok).chain([end]).collect();
            }
        }
        out.into_iter().map(Ok).collect()
    }
}

/// What can be given out of `held` and the piece after it. The rest is held.
fn next(mask: &Mask, held: &mut String, piece: &str, is_whole: bool) -> Option<String> {
    held.push_str(piece);
    let (masked, rest) = mask.masked(held, is_whole);
    *held = rest.to_owned();
    Some(masked).filter(|masked| !masked.is_empty())
}

fn without_secrets(mask: &Mask, mut response: Response) -> Response {
    let texts = [&mut response.text, &mut response.reasoning].into_iter();
    let texts = texts.chain(&mut response.model).chain(&mut response.request_id);
    let call = response.native_call.iter_mut().flat_map(|call| [&mut call.name, &mut call.arguments]);
    let reason = match &mut response.finish_reason {
        FinishReason::Other(reason) => Some(reason),
        _ => None,
    };
    texts.chain(call).chain(reason).for_each(|text| *text = mask.text(text));
    response
}

#[cfg(test)]
mod tests {
    use abyme_core::{Error, ErrorKind, NativeCall};

    use super::*;
    use crate::secret::Secret;

    const KEY: &str = "sk-canary-0123456789";

    fn mask() -> Mask {
        Mask::of_keys([KEY, "sk-canary-0123456789-extra"].map(Secret::new))
    }

    /// What comes out of pieces of this text that have so many bytes, with what `last` makes of it.
    async fn masked_by(text: &str, size: usize, last: Result<Delta>) -> Vec<Result<Delta>> {
        let pieces = text.as_bytes().chunks(size).map(|piece| String::from_utf8(piece.to_vec()).unwrap());
        let pieces: Vec<_> = pieces.flat_map(|p| [Delta::Reasoning(p.clone()), Delta::Text(p)]).collect();
        let deltas = stream::iter(pieces.into_iter().map(Ok).chain([last])).boxed();
        masked(&mask(), deltas).collect().await
    }

    /// The texts and the thoughts in pieces.
    fn added(deltas: &[Result<Delta>]) -> (String, String) {
        let (mut texts, mut thoughts) = (String::new(), String::new());
        for delta in deltas {
            match delta {
                Ok(Delta::Text(piece)) => texts += piece,
                Ok(Delta::Reasoning(piece)) => thoughts += piece,
                _ => {}
            }
        }
        (texts, thoughts)
    }

    #[tokio::test]
    async fn no_cut_of_a_stream_lets_a_key_through_and_its_pieces_add_up() {
        let text = format!("sk-sk- {KEY} sk-canary-x {KEY}{KEY}-extra sk-c; sk-canary-01234");
        let clean = "sk-sk- *** sk-canary-x ****** sk-c; ***";
        for size in 1..=text.len() {
            let whole = Response::new(&text).reasoning(&text);
            let deltas = masked_by(&text, size, Ok(Delta::Done(whole))).await;
            let Some(Ok(Delta::Done(response))) = deltas.last() else { panic!("no end: {deltas:?}") };
            assert_eq!((response.text.as_str(), response.reasoning.as_str()), (clean, clean), "{size}");
            assert_eq!(added(&deltas), (clean.to_owned(), clean.to_owned()), "{size}");
            for delta in &deltas {
                let (Ok(Delta::Text(piece)) | Ok(Delta::Reasoning(piece))) = delta else { continue };
                assert!(!piece.is_empty(), "{size}");
            }
        }
    }

    #[tokio::test]
    async fn what_came_before_a_failure_is_given_out() {
        let failed = || Err(Error::new(ErrorKind::Connection, "cut"));
        let deltas = masked_by("the s", 2, failed()).await;
        assert_eq!(added(&deltas), ("the s".to_owned(), "the s".to_owned()));
        assert!(deltas.last().is_some_and(Result::is_err));
        let deltas = masked_by("the sk-canary-0123", 2, failed()).await;
        assert_eq!(added(&deltas).0, "the ***");
    }

    #[tokio::test]
    async fn nothing_that_is_kept_of_a_reply_holds_a_key() {
        let response = Response::new("4")
            .finish_reason(FinishReason::Other(KEY.into()))
            .model(Some(KEY.to_owned()))
            .request_id(Some(KEY.to_owned()))
            .native_call(NativeCall::new(KEY, format!("{{\"code\": \"{KEY}\"}}")));
        let deltas = masked_by("4", 1, Ok(Delta::Done(response))).await;
        let shown = format!("{deltas:?}");
        assert!(!shown.contains("canary") && shown.matches("***").count() == 5, "{shown}");
    }
}
