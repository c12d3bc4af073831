//! The messages of Modal's interface that this client sends and reads, with no more of their fields than it
//! uses.
//!
//! The fields' numbers are facts of Modal's interface, which may change without notice.
//! `cargo xtask modal-protos` compares this file with the newest wheel of Modal's own client. It reads the
//! structs by line, so each field stands on a line of its own under its attribute, and a comment names the
//! message where its name here is another.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AuthTokenGetRequest {}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AuthTokenGetResponse {
    #[prost(string, tag = "1")]
    pub(crate) token: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AppGetOrCreateRequest {
    #[prost(string, tag = "1")]
    pub(crate) app_name: String,
    #[prost(string, tag = "2")]
    pub(crate) environment_name: String,
    #[prost(int32, tag = "3")]
    pub(crate) object_creation_type: i32,
}

/// `object_creation_type` of what is made if it does not exist; 0 only looks for it.
pub(crate) const CREATE_IF_MISSING: i32 = 1;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AppGetOrCreateResponse {
    #[prost(string, tag = "1")]
    pub(crate) app_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct EnvironmentGetOrCreateRequest {
    #[prost(string, tag = "1")]
    pub(crate) deployment_name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct EnvironmentGetOrCreateResponse {
    #[prost(message, optional, tag = "2")]
    pub(crate) metadata: Option<EnvironmentMetadata>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct EnvironmentMetadata {
    #[prost(message, optional, tag = "2")]
    pub(crate) settings: Option<EnvironmentSettings>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct EnvironmentSettings {
    #[prost(string, tag = "1")]
    pub(crate) image_builder_version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct BaseImage {
    #[prost(string, tag = "1")]
    pub(crate) image_id: String,
    #[prost(string, tag = "2")]
    pub(crate) docker_tag: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Image {
    #[prost(message, repeated, tag = "5")]
    pub(crate) base_images: Vec<BaseImage>,
    #[prost(string, repeated, tag = "6")]
    pub(crate) dockerfile_commands: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ImageGetOrCreateRequest {
    #[prost(message, optional, tag = "2")]
    pub(crate) image: Option<Image>,
    #[prost(string, tag = "4")]
    pub(crate) app_id: String,
    #[prost(string, tag = "9")]
    pub(crate) builder_version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ImageGetOrCreateResponse {
    #[prost(string, tag = "1")]
    pub(crate) image_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) result: Option<GenericResult>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ImageJoinStreamingRequest {
    #[prost(string, tag = "1")]
    pub(crate) image_id: String,
    #[prost(float, tag = "2")]
    pub(crate) timeout: f32,
    #[prost(string, tag = "3")]
    pub(crate) last_entry_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ImageJoinStreamingResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) result: Option<GenericResult>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) task_logs: Vec<TaskLogs>,
    #[prost(string, tag = "3")]
    pub(crate) entry_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TaskLogs {
    #[prost(string, tag = "1")]
    pub(crate) data: String,
}

/// How something ended. A status of 0 means that it has not.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct GenericResult {
    #[prost(enumeration = "GenericStatus", tag = "1")]
    pub(crate) status: i32,
    #[prost(string, tag = "2")]
    pub(crate) exception: String,
    #[prost(int32, tag = "3")]
    pub(crate) exitcode: i32,
}

/// `GenericResult.GenericStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum GenericStatus {
    Unspecified = 0,
    Success = 1,
    Failure = 2,
    Terminated = 3,
    Timeout = 4,
    InitFailure = 5,
    InternalFailure = 6,
    IdleTimeout = 7,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SecretGetOrCreateRequest {
    #[prost(string, tag = "1")]
    pub(crate) deployment_name: String,
    #[prost(string, tag = "3")]
    pub(crate) environment_name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SecretGetOrCreateResponse {
    #[prost(string, tag = "1")]
    pub(crate) secret_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Resources {
    #[prost(uint32, tag = "2")]
    pub(crate) memory_mb: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) milli_cpu: u32,
    #[prost(message, optional, tag = "4")]
    pub(crate) gpu_config: Option<GpuConfig>,
    #[prost(uint32, tag = "5")]
    pub(crate) memory_mb_max: u32,
    #[prost(uint32, tag = "7")]
    pub(crate) milli_cpu_max: u32,
}

/// `GPUConfig`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct GpuConfig {
    #[prost(uint32, tag = "2")]
    pub(crate) count: u32,
    #[prost(string, tag = "4")]
    pub(crate) gpu_type: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SchedulerPlacement {
    #[prost(string, repeated, tag = "4")]
    pub(crate) regions: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NetworkAccess {
    #[prost(enumeration = "NetworkAccessType", tag = "1")]
    pub(crate) network_access_type: i32,
    #[prost(string, repeated, tag = "3")]
    pub(crate) allowed_domains: Vec<String>,
}

/// `NetworkAccess.NetworkAccessType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum NetworkAccessType {
    Unspecified = 0,
    Open = 1,
    Blocked = 2,
    Allowlist = 3,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Sandbox {
    #[prost(string, repeated, tag = "1")]
    pub(crate) entrypoint_args: Vec<String>,
    #[prost(string, tag = "3")]
    pub(crate) image_id: String,
    #[prost(string, repeated, tag = "4")]
    pub(crate) secret_ids: Vec<String>,
    #[prost(message, optional, tag = "5")]
    pub(crate) resources: Option<Resources>,
    #[prost(uint32, tag = "7")]
    pub(crate) timeout_secs: u32,
    #[prost(string, optional, tag = "8")]
    pub(crate) workdir: Option<String>,
    #[prost(message, optional, tag = "17")]
    pub(crate) scheduler_placement: Option<SchedulerPlacement>,
    #[prost(message, optional, tag = "22")]
    pub(crate) network_access: Option<NetworkAccess>,
    #[prost(bool, tag = "24")]
    pub(crate) enable_snapshot: bool,
    #[prost(string, optional, tag = "30")]
    pub(crate) name: Option<String>,
    #[prost(uint32, optional, tag = "33")]
    pub(crate) idle_timeout_secs: Option<u32>,
    #[prost(map = "string, string", tag = "41")]
    pub(crate) experimental_options_v2: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SandboxTag {
    #[prost(string, tag = "1")]
    pub(crate) tag_name: String,
    #[prost(string, tag = "2")]
    pub(crate) tag_value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SandboxCreateRequest {
    #[prost(string, tag = "1")]
    pub(crate) app_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) definition: Option<Sandbox>,
    #[prost(string, tag = "3")]
    pub(crate) environment_name: String,
    #[prost(message, repeated, tag = "4")]
    pub(crate) tags: Vec<SandboxTag>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SandboxCreateResponse {
    #[prost(string, tag = "1")]
    pub(crate) sandbox_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SandboxCreateV2Request {
    #[prost(string, tag = "1")]
    pub(crate) app_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) definition: Option<Sandbox>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) tags: Vec<SandboxTag>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) secret_sources: Vec<SecretSource>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct StringMap {
    #[prost(map = "string, string", tag = "1")]
    pub(crate) contents: HashMap<String, String>,
}

/// A secret by its id, or variables: one of the two.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SecretSource {
    #[prost(string, optional, tag = "1")]
    pub(crate) secret_id: Option<String>,
    #[prost(message, optional, tag = "2")]
    pub(crate) env: Option<StringMap>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SandboxCreateV2Response {
    #[prost(string, tag = "1")]
    pub(crate) sandbox_id: String,
    #[prost(string, tag = "3")]
    pub(crate) task_id: String,
    #[prost(message, optional, tag = "5")]
    pub(crate) command_router_access: Option<CommandRouterAccess>,
    #[prost(string, tag = "6")]
    pub(crate) sandbox_token: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SandboxRestoreV2Request {
    #[prost(string, tag = "1")]
    pub(crate) snapshot_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SandboxRestoreV2Response {
    #[prost(string, tag = "1")]
    pub(crate) sandbox_id: String,
    #[prost(string, tag = "3")]
    pub(crate) task_id: String,
    #[prost(message, optional, tag = "5")]
    pub(crate) command_router_access: Option<CommandRouterAccess>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SandboxTagsSetRequest {
    #[prost(string, tag = "1")]
    pub(crate) environment_name: String,
    #[prost(string, tag = "2")]
    pub(crate) sandbox_id: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) tags: Vec<SandboxTag>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TaskSnapshotMemoryRequest {
    #[prost(string, tag = "1")]
    pub(crate) task_id: String,
    #[prost(string, tag = "2")]
    pub(crate) idempotency_key: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TaskSnapshotMemoryResponse {
    #[prost(string, tag = "1")]
    pub(crate) snapshot_id: String,
}

/// `CommandRouterAccess`, and the answers `TaskGetCommandRouterAccessResponse` and
/// `SandboxGetCommandRouterAccessResponse`, which have the same fields.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct CommandRouterAccess {
    #[prost(string, tag = "1")]
    pub(crate) jwt: String,
    #[prost(string, tag = "2")]
    pub(crate) url: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SandboxGetTaskIdRequest {
    #[prost(string, tag = "1")]
    pub(crate) sandbox_id: String,
    #[prost(float, optional, tag = "2")]
    pub(crate) timeout: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SandboxGetTaskIdResponse {
    #[prost(string, optional, tag = "1")]
    pub(crate) task_id: Option<String>,
    #[prost(message, optional, tag = "2")]
    pub(crate) task_result: Option<GenericResult>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TaskGetCommandRouterAccessRequest {
    #[prost(string, tag = "1")]
    pub(crate) task_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SandboxGetCommandRouterAccessRequest {
    #[prost(string, optional, tag = "1")]
    pub(crate) sandbox_id: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SandboxTerminateRequest {
    #[prost(string, tag = "1")]
    pub(crate) sandbox_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SandboxTerminateResponse {}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SandboxWaitRequest {
    #[prost(string, tag = "1")]
    pub(crate) sandbox_id: String,
    #[prost(float, tag = "2")]
    pub(crate) timeout: f32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SandboxWaitResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) result: Option<GenericResult>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SandboxListRequest {
    #[prost(string, tag = "1")]
    pub(crate) app_id: String,
    #[prost(double, tag = "2")]
    pub(crate) before_timestamp: f64,
    #[prost(string, tag = "3")]
    pub(crate) environment_name: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) tags: Vec<SandboxTag>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SandboxListResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) sandboxes: Vec<SandboxInfo>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SandboxInfo {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(double, tag = "3")]
    pub(crate) created_at: f64,
    #[prost(message, repeated, tag = "6")]
    pub(crate) tags: Vec<SandboxTag>,
}

/// Says in an error's details when to try again.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RPCRetryPolicy {
    #[prost(float, tag = "1")]
    pub(crate) retry_after_secs: f32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TaskExecStartRequest {
    #[prost(string, tag = "1")]
    pub(crate) task_id: String,
    /// Chosen by the client. A request that comes again with it starts nothing.
    #[prost(string, tag = "2")]
    pub(crate) exec_id: String,
    #[prost(string, repeated, tag = "3")]
    pub(crate) command_args: Vec<String>,
    #[prost(enumeration = "TaskExecStdoutConfig", tag = "4")]
    pub(crate) stdout_config: i32,
    #[prost(enumeration = "TaskExecStderrConfig", tag = "5")]
    pub(crate) stderr_config: i32,
    #[prost(uint32, optional, tag = "6")]
    pub(crate) timeout_secs: Option<u32>,
    #[prost(message, repeated, tag = "13")]
    pub(crate) secret_sources: Vec<SecretSource>,
}

/// `TaskExecStdoutConfig`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum TaskExecStdoutConfig {
    Devnull = 0,
    Pipe = 1,
}

/// `TaskExecStderrConfig`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum TaskExecStderrConfig {
    Devnull = 0,
    Pipe = 1,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TaskExecStartResponse {}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TaskExecStdioReadRequest {
    #[prost(string, tag = "1")]
    pub(crate) task_id: String,
    #[prost(string, tag = "2")]
    pub(crate) exec_id: String,
    #[prost(uint64, tag = "3")]
    pub(crate) offset: u64,
    #[prost(enumeration = "TaskExecStdioFileDescriptor", tag = "4")]
    pub(crate) file_descriptor: i32,
}

/// `TaskExecStdioFileDescriptor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum TaskExecStdioFileDescriptor {
    Stdout = 0,
    Stderr = 1,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TaskExecStdioReadResponse {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) data: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TaskExecStdinWriteRequest {
    #[prost(string, tag = "1")]
    pub(crate) task_id: String,
    #[prost(string, tag = "2")]
    pub(crate) exec_id: String,
    /// How many bytes were written before.
    #[prost(uint64, tag = "3")]
    pub(crate) offset: u64,
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) data: Bytes,
    #[prost(bool, tag = "5")]
    pub(crate) eof: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TaskExecStdinWriteResponse {}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TaskExecWaitRequest {
    #[prost(string, tag = "1")]
    pub(crate) task_id: String,
    #[prost(string, tag = "2")]
    pub(crate) exec_id: String,
}

/// The exit code, or the signal: one of the two.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TaskExecWaitResponse {
    #[prost(int32, optional, tag = "1")]
    pub(crate) code: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub(crate) signal: Option<i32>,
}

/// `google.rpc.Status`, of which only the details are read.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
}
