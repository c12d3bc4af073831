//! The tags of a sandbox, which name the process that made it, and the sweep of what ended processes left.

use std::collections::BTreeMap;

use abyme_driver::Owner;
use tonic::Status;

use crate::{
    api::{ControlPlane, messages::SandboxTag, random_id},
    config::Api,
};

/// Every sandbox of Abyme has this tag, with a value of its own.
pub(crate) const SESSION: &str = "abyme-session";
/// Every sandbox of Abyme has this tag too, with this value.
const ABYME: (&str, &str) = ("abyme", "sandbox");
/// What the names of the tags begin with that name the owner.
const OWNER: &str = "abyme-owner-";

/// The tags of a new sandbox.
pub(crate) fn tags(owner: &Owner, given: &BTreeMap<String, String>) -> Vec<SandboxTag> {
    let own = [(SESSION.to_owned(), random_id()), (ABYME.0.to_owned(), ABYME.1.to_owned())];
    // Modal takes no empty values.
    let owner = owner.labels(OWNER).into_iter().map(|(name, value)| {
        let value = if value.is_empty() { "none".to_owned() } else { value };
        (name, value)
    });
    let given = given.iter().map(|(name, value)| (name.clone(), value.clone()));
    let all = given.chain(own).chain(owner);
    all.map(|(tag_name, tag_value)| SandboxTag { tag_name, tag_value }).collect()
}

/// Terminates the sandboxes of an app whose owner has ended, and returns how many there were.
pub(crate) async fn sweep(
    control_plane: &ControlPlane,
    app_id: &str,
    here: &Owner,
    api: Api,
) -> Result<usize, Status> {
    let ours = [SandboxTag { tag_name: ABYME.0.to_owned(), tag_value: ABYME.1.to_owned() }];
    let mut swept = 0;
    for info in control_plane.list(app_id, &ours, api).await? {
        let tag = |name: &str| {
            let tag = info.tags.iter().find(|tag| tag.tag_name == name)?;
            Some(if tag.tag_value == "none" { String::new() } else { tag.tag_value.clone() })
        };
        if Owner::of(OWNER, tag).is_some_and(|owner| owner.has_ended(here)) {
            tracing::info!(sandbox = info.id, "terminating a sandbox whose program has ended");
            control_plane.terminate(&ControlPlane::listed(&info.id)).await?;
            swept += 1;
        }
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_what_modal_takes() {
        let given = BTreeMap::from([("team".to_owned(), "red".to_owned())]);
        let tags = tags(&Owner::this(), &given);
        let is_plain = |text: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            (1..=50).contains(&text.len()) && text.bytes().all(plain)
        };
        assert!(tags.iter().all(|tag| is_plain(&tag.tag_name) && is_plain(&tag.tag_value)), "{tags:?}");
        assert!(tags.iter().any(|tag| tag.tag_name == "team"));
    }
}
