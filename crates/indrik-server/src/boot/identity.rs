//! Whom the workers become: the settings `user`, `group` and `initgroups`.

use indrik_core::settings::Config;
use indrik_sys::users::{self, User};
use serde::Serialize;

use super::error::BootError;

/// User and groups of the workers, where they are not the supervisor's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// All groups, the first one among them.
    pub groups: Vec<u32>,
}

impl Identity {
    /// Whether the settings name a user and a group that exist: all that can be told without being
    /// root.
    ///
    /// # Errors
    /// When there is no such user or group.
    pub fn look_up(config: &Config) -> Result<(), BootError> {
        config.user.as_deref().map(find_user).transpose()?;
        config.group.as_deref().map(find_group).transpose()?;
        Ok(())
    }

    /// Whom the settings name; `None` when that is who this process is.
    ///
    /// # Errors
    /// When there is no such user or group, or this process may not become them.
    pub fn of(config: &Config) -> Result<Option<Self>, BootError> {
        let (own_uid, own_gid) = users::current();
        let user = config.user.as_deref().map(find_user).transpose()?;
        let gid = config.group.as_deref().map(find_group).transpose()?.unwrap_or(own_gid);
        let uid = user.as_ref().map_or(own_uid, |user| user.uid);
        if (uid, gid) == (own_uid, own_gid) {
            return Ok(None);
        }
        if !users::is_root() {
            return Err(BootError {
                message: format!(
                    "cannot run workers as user {uid}, group {gid}: this process is user {own_uid}, \
                     not root"
                ),
                hint: "start Indrik as root, or leave --user and --group out",
                in_use: false,
            });
        }
        let groups = match user {
            Some(User { name, .. }) if config.initgroups && !name.is_empty() => {
                users::groups_of(&name, gid).map_err(|error| BootError {
                    message: format!("cannot find out the groups of user {name}: {error}"),
                    hint: "leave --initgroups out",
                    in_use: false,
                })?
            }
            Some(_) | None => vec![gid],
        };
        Ok(Some(Self { uid, gid, groups }))
    }
}

/// A number need not have a name.
fn find_user(text: &str) -> Result<User, BootError> {
    let lookup = match text.parse::<u32>() {
        Ok(uid) => users::user_numbered(uid)
            .map(|user| user.or_else(|| Some(User { name: String::new(), uid, gid: uid }))),
        Err(_) => users::user_named(text),
    };
    found_or_error(lookup, "user", text)
}

fn find_group(text: &str) -> Result<u32, BootError> {
    text.parse().map_or_else(|_| found_or_error(users::group_named(text), "group", text), Ok)
}

fn found_or_error<T>(
    lookup: std::io::Result<Option<T>>,
    what: &str,
    text: &str,
) -> Result<T, BootError> {
    match lookup {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(BootError {
            message: format!("No such {what}: '{text}'"),
            hint: "name one that the system knows, or its number",
            in_use: false,
        }),
        Err(error) => Err(BootError {
            message: format!("cannot look up the {what} '{text}': {error}"),
            hint: "name it by its number",
            in_use: false,
        }),
    }
}
