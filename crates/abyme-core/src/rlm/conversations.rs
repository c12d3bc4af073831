//! Several questions over one session, kept in memory, in files, and in a directory of many.

mod conversation;
mod file;
mod limits;
mod questions;
pub(super) mod shared;
mod store;

pub use self::{
    conversation::{Conversation, SavedConversation},
    limits::ConversationLimits,
    questions::PastQuestion,
    store::{Conversations, ConversationsConfig},
};
