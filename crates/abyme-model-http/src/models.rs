//! Which models a server has.

use abyme_core::Result;
use reqwest::{Method, Url};
use serde_json::Value;

use crate::{answer::Unusable, client::HttpClient, failure::Exchange};

impl HttpClient {
    /// The names of the models in the list at `url`: those that stand as `field` in each item of `list`.
    ///
    /// # Errors
    /// Those of a call, and `MalformedReply` if the answer is no such list.
    pub async fn models(&self, url: &Url, list: &str, field: &str) -> Result<Vec<String>> {
        let reply = self.open(Method::GET, url, None, self.allow(None)).await?.whole().await?;
        Exchange::new(self, url.path(), "").read(&reply, |answer| {
            let models = answer.get(list).and_then(Value::as_array);
            let models = models.ok_or_else(|| Unusable::malformed("it is no list of models"))?;
            Ok(models.iter().filter_map(|model| model.get(field)?.as_str().map(str::to_owned)).collect())
        })
    }
}
