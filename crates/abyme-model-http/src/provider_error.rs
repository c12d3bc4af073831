//! Errors as providers write them.

use serde_json::Value;

use crate::json::{count, text};

/// An error as providers write it, in one of several forms.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ProviderError {
    /// What it says.
    pub message: String,
    /// Its codes, types and reasons, in lower case.
    pub codes: Vec<String>,
    /// The field of the request that it is about.
    pub param: Option<String>,
    /// The status it names, which can differ from that of the answer.
    pub status: Option<u16>,
    /// How many seconds it asks to wait.
    pub retry_after: Option<f64>,
}

impl ProviderError {
    /// The error in an answer.
    pub fn find(answer: &Value) -> Option<Self> {
        // Gemini puts it into a list.
        let answer = answer.as_array().and_then(|list| list.first()).unwrap_or(answer);
        match answer.get("error") {
            Some(Value::String(message)) if !message.is_empty() => Some(Self::of(answer, message)),
            Some(error @ Value::Object(_)) => Some(Self::of(error, text(error.get("message")).as_str())),
            // vLLM and FastChat have it at the top.
            _ if answer.get("object").and_then(Value::as_str) == Some("error") => {
                Some(Self::of(answer, text(answer.get("message")).as_str()))
            }
            _ => None,
        }
    }

    /// The error in an answer whose status says that it is one.
    pub fn find_in_failure(answer: &Value) -> Option<Self> {
        Self::find(answer).or_else(|| {
            let message = ["message", "detail"].iter().find_map(|field| answer.get(field))?;
            Some(Self::of(answer, &text(Some(message))))
        })
    }

    fn of(error: &Value, message: &str) -> Self {
        let codes = ["code", "type", "status", "reason"].iter().filter_map(|field| error.get(field));
        let metadata = error.pointer("/metadata/error_type").into_iter();
        let status = error.get("code").or_else(|| error.get("status")).and_then(count);
        // Google's details: why, how long to wait, and which quota it is about.
        let details = || error.get("details").and_then(Value::as_array).into_iter().flatten();
        let delay = details().find_map(|detail| detail.get("retryDelay")?.as_str());
        let reasons = details().filter_map(|detail| detail.get("reason"));
        let violations = details().filter_map(|detail| detail.get("violations")?.as_array()).flatten();
        let quotas = violations.filter_map(|violation| violation.get("quotaId"));
        // OpenRouter says "Provider returned error", and keeps what the provider said elsewhere.
        let upstream = error.pointer("/metadata/raw").and_then(Value::as_str);
        Self {
            message: upstream.map_or_else(|| message.to_owned(), |upstream| format!("{message}: {upstream}")),
            codes: codes
                .chain(metadata)
                .chain(reasons)
                .chain(quotas)
                .filter_map(Value::as_str)
                .map(str::to_lowercase)
                .collect(),
            param: error.get("param").and_then(Value::as_str).map(str::to_owned),
            status: status.and_then(|status| u16::try_from(status).ok()).filter(|s| (400..600).contains(s)),
            retry_after: delay.and_then(|delay| delay.strip_suffix('s')?.parse().ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_in_their_forms() {
        let failure = |answer: Value| ProviderError::find_in_failure(&answer).unwrap();
        let openai = failure(json!({"error": {"message": "no", "type": "T", "code": "C", "param": null}}));
        assert_eq!((openai.message.as_str(), openai.codes), ("no", vec!["c".to_owned(), "t".to_owned()]));
        let gemini =
            failure(json!([{"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED",
            "details": [{"@type": "RetryInfo", "retryDelay": "34.5s"}]}}]));
        assert_eq!((gemini.status, gemini.retry_after), (Some(429), Some(34.5)));
        let google = failure(json!({"error": {"code": 400, "message": "no", "details": [
            {"reason": "API_KEY_INVALID"}, {"violations": [{"quotaId": "PerDay"}, {"x": 1}]}, 7]}}));
        assert_eq!(google.codes, ["api_key_invalid", "perday"]);
        assert_eq!(failure(json!({"object": "error", "message": "too long", "code": 400})).status, Some(400));
        assert_eq!(failure(json!({"error": "model not found"})).message, "model not found");
        assert_eq!(
            failure(json!({"detail": [{"msg": "field required"}]})).message,
            r#"[{"msg":"field required"}]"#
        );
        let router =
            json!({"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": "why"}}});
        assert_eq!(failure(router).message, "Provider returned error: why");
    }
}
