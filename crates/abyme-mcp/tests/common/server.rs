//! A server with a tool for each thing that a server can do, its faults included.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult,
        PaginatedRequestParams, Resource, ResourceContents, ServerCapabilities, ServerConfig, Tool,
        ToolAnnotations,
    },
    service::RequestContext,
};
use serde_json::{Value, json};

/// What a server answers that writes half of a surrogate pair, as Python's `json` does; nothing where no
/// answer is due.
pub(crate) fn answer_with_half(request: &Value) -> Option<String> {
    let result = match request["method"].as_str()? {
        "initialize" => json!({
            "protocolVersion": request["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "half", "version": "1"},
        }),
        "tools/list" => json!({"tools": [{"name": "half", "inputSchema": {"type": "object"}}]}),
        _ => json!({"content": [{"type": "text", "text": "ab#"}]}),
    };
    let answer = json!({"jsonrpc": "2.0", "id": request.get("id")?, "result": result});
    Some(answer.to_string().replace('#', "\\ud83d"))
}

#[derive(Clone, Default)]
pub(crate) struct TestServer {
    has_late: Arc<AtomicBool>,
}

const PAGE: usize = 3;

impl TestServer {
    fn tools(&self) -> Vec<Tool> {
        let tool = |name: &'static str, description: &'static str, schema: Value| {
            Tool::new(name, description, schema.as_object().unwrap().clone())
        };
        let none = || json!({"type": "object"});
        let mut tools = vec![
            tool(
                "get-sum",
                "Adds numbers.",
                json!({
                    "type": "object",
                    "properties": {
                        "from": {"type": "integer", "description": "The first"},
                        "to-add": {"type": "array", "items": {"type": "integer"}},
                        "note": {"type": "string"},
                        "scale": {"type": "integer", "default": 1},
                    },
                    "required": ["from", "to-add"],
                }),
            )
            .with_raw_output_schema(Arc::new(
                json!({
                    "type": "object",
                    "properties": {"sum": {"type": "integer"}, "got": {}},
                    "required": ["sum"],
                })
                .as_object()
                .unwrap()
                .clone(),
            ))
            .with_annotations(ToolAnnotations::new().read_only(true)),
            tool("print", "", json!({"properties": {"text": {"type": "string"}}, "required": ["text"]})),
            tool("contents", "Gives one of each.", none()),
            tool("fail", "Fails.", none()),
            tool("refuse", "Refuses its arguments.", none()),
            tool("exit", "Ends the server.", none()),
            tool("garbage", "Writes what is no message, and then answers.", none()),
            tool("hang", "Never answers.", none()),
            tool("env", "The names of the environment.", none()),
            tool("pid", "The process.", none()),
            tool("grow", "Gets one more tool.", none())
                .with_annotations(ToolAnnotations::new().destructive(true)),
        ];
        if self.has_late.load(Ordering::Relaxed) {
            tools.push(tool("late", "Came later.", none()));
        }
        tools
    }
}

impl ServerHandler for TestServer {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().enable_tool_list_changed().build())
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let start = request.and_then(|page| page.cursor).map_or(0, |cursor| cursor.parse().unwrap());
        let tools = self.tools();
        let next = start + PAGE;
        Ok(ListToolsResult {
            next_cursor: (next < tools.len()).then(|| next.to_string()),
            tools: tools.into_iter().skip(start).take(PAGE).collect(),
            ..ListToolsResult::default()
        })
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let text = |text: String| CallToolResult::success(vec![ContentBlock::text(text)]);
        let result = match &*request.name {
            "get-sum" => {
                let added: i64 =
                    arguments["to-add"].as_array().unwrap().iter().filter_map(Value::as_i64).sum();
                let sum =
                    (arguments["from"].as_i64().unwrap() + added) * arguments["scale"].as_i64().unwrap();
                CallToolResult::structured(json!({"sum": sum, "got": arguments.keys().collect::<Vec<_>>()}))
            }
            "print" => text(arguments["text"].as_str().unwrap().to_uppercase()),
            "contents" => CallToolResult::success(vec![
                ContentBlock::text("a text"),
                ContentBlock::image("AQID", "image/png"),
                ContentBlock::resource(ResourceContents::text("inside", "file:///a")),
                ContentBlock::resource_link(Resource::new("file:///b", "b")),
            ]),
            "fail" => CallToolResult::error(vec![ContentBlock::text("out of paper")]),
            "refuse" => return Err(ErrorData::invalid_params("`x` is missing", None)),
            "exit" => {
                eprintln!("the disk is on fire");
                std::process::exit(3);
            }
            "garbage" => {
                println!("this is no message\n{{\"jsonrpc\": 7}}");
                text("after it".to_owned())
            }
            "hang" => std::future::pending().await,
            "env" => text(std::env::vars().map(|(name, _)| name).collect::<Vec<_>>().join(" ")),
            "pid" => text(std::process::id().to_string()),
            "grow" => {
                self.has_late.store(true, Ordering::Relaxed);
                context.peer.notify_tool_list_changed().await.unwrap();
                text("grown".to_owned())
            }
            "late" => CallToolResult::success(Vec::new()),
            other => return Err(ErrorData::invalid_params(format!("no tool `{other}`"), None)),
        };
        Ok(result.into())
    }
}
