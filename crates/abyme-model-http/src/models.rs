//! The list of the models that a server has.

use abyme_core::{Result, runtime::HomeRuntime};
use reqwest::{Method, Url};
use serde_json::Value;

use crate::{answer::Unusable, client::HttpClient, failure::Exchange};

/// The names of the models that a server lists at `url`: the field `name` of each entry of the array `list`.
/// `model` is the one that is asked about, for errors.
///
/// # Errors
/// Those of a call, and [`MalformedReply`](abyme_core::ErrorKind::MalformedReply) if the answer is no such
/// list, as that of a server which does not tell.
pub async fn listed_models(
    client: &HttpClient,
    url: &Url,
    model: &str,
    (list, name): (&str, &str),
) -> Result<Vec<String>> {
    // Timers and sockets need one, and panic without.
    HomeRuntime::current()?;
    let reply = client.open(Method::GET, url, None, client.allow(None)).await?.whole().await?;
    Exchange::new(client, url.path(), model).read(&reply, |answer| {
        let models = answer.get(list).and_then(Value::as_array);
        let models = models.ok_or_else(|| Unusable::malformed("it is no list of models"))?;
        Ok(models.iter().filter_map(|model| model.get(name)?.as_str().map(str::to_owned)).collect())
    })
}
