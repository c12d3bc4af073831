//! What a server answers, as values and exceptions.

use abyme_core::{HostError, Value};
use base64::{Engine, engine::general_purpose::STANDARD};
use rmcp::{
    ErrorData,
    model::{CallToolResult, ContentBlock, ErrorCode, Resource, ResourceContents},
    service::ServiceError,
};

use crate::server::McpServer;

/// What a call gave. Structured content is the value where there is any. Else one block is its value, several
/// are a list, and none is `None`.
pub(crate) fn value(result: CallToolResult, is_wrapped: bool) -> Result<Value, HostError> {
    if result.is_error == Some(true) {
        let texts: Vec<_> =
            result.content.iter().filter_map(|block| Some(block.as_text()?.text.as_str())).collect();
        let text = match (texts.is_empty(), &result.structured_content) {
            (true, Some(structured)) => structured.to_string(),
            (true, None) => "the tool failed and did not say why".to_owned(),
            _ => texts.join("\n"),
        };
        return Err(HostError::runtime_error(text));
    }
    if let Some(structured) = result.structured_content {
        return Ok(Value::from(match structured {
            serde_json::Value::Object(mut object) if is_wrapped && object.len() == 1 => {
                object.remove("result").unwrap_or(serde_json::Value::Object(object))
            }
            other => other,
        }));
    }
    let mut values = result.content.into_iter().map(block).collect::<Result<Vec<_>, _>>()?;
    Ok(match values.len() {
        0 => Value::None,
        1 => values.remove(0),
        _ => Value::List(values),
    })
}

/// A text is a `str`. Everything else is a dict that says what it is, with its bytes as `bytes`.
fn block(block: ContentBlock) -> Result<Value, HostError> {
    Ok(match block {
        ContentBlock::Text(text) => text.text.into(),
        ContentBlock::Image(image) => {
            dict("image", [("mime_type", image.mime_type.into()), ("data", bytes(&image.data)?)])
        }
        ContentBlock::Audio(audio) => {
            dict("audio", [("mime_type", audio.mime_type.into()), ("data", bytes(&audio.data)?)])
        }
        ContentBlock::Resource(embedded) => match embedded.resource {
            ResourceContents::TextResourceContents { uri, mime_type, text, .. } => dict(
                "resource",
                [("uri", uri.into()), ("mime_type", mime_type.into()), ("text", text.into())],
            ),
            ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => dict(
                "resource",
                [("uri", uri.into()), ("mime_type", mime_type.into()), ("data", bytes(&blob)?)],
            ),
            _ => return Err(unknown("resource")),
        },
        ContentBlock::ResourceLink(Resource { uri, name, description, mime_type, .. }) => dict(
            "resource_link",
            [
                ("uri", uri.into()),
                ("name", name.into()),
                ("description", description.into()),
                ("mime_type", mime_type.into()),
            ],
        ),
        _ => return Err(unknown("content")),
    })
}

fn dict<const N: usize>(kind: &str, entries: [(&str, Value); N]) -> Value {
    Value::dict(std::iter::once(("type", Value::from(kind))).chain(entries))
}

fn bytes(base64: &str) -> Result<Value, HostError> {
    let decoded = STANDARD.decode(base64.trim());
    decoded
        .map(|bytes| Value::Bytes(bytes.into()))
        .map_err(|error| HostError::runtime_error(format!("the server's bytes are no base64: {error}")))
}

fn unknown(what: &str) -> HostError {
    HostError::runtime_error(format!("the server answered with a kind of {what} that is not known here"))
}

/// The exception of a call that was not answered with a result.
pub(crate) fn exception(error: ServiceError, server: &McpServer) -> HostError {
    match error {
        ServiceError::McpError(ErrorData { code, message, .. }) => match code {
            ErrorCode::INVALID_PARAMS => HostError::value_error(message),
            _ => HostError::runtime_error(message),
        },
        other => {
            let problem = server.causes(&other);
            HostError::runtime_error(format!("MCP server `{}` gave no result: {problem}", server.name()))
        }
    }
}

/// The exception of a call that did not reach its server, or whose answer did not come back.
pub(crate) fn gone(error: &ServiceError, server: &McpServer, stderr: &str) -> HostError {
    let problem = match error {
        ServiceError::TransportSend(error) => server.causes(&*error.error),
        other => server.causes(other),
    };
    HostError::new("ConnectionError", format!("MCP server `{}` is gone: {problem}{stderr}", server.name()))
}
