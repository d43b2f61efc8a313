//! The file in which clients of Rucio keep their token, shared with the original client.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The file of a token, in a folder that only its owner can read.
#[derive(Debug, Clone)]
pub(super) struct TokenCache(PathBuf);

impl TokenCache {
    /// The file of an account: `$TMPDIR/USER/.rucio_USER[@VO]/auth_token_for_account_ACCOUNT`.
    pub(super) fn of(account: Option<&str>, vo: Option<&str>, variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let user = user_name(variable);
        let folder = match vo.filter(|vo| *vo != "def") {
            Some(vo) => format!(".rucio_{user}@{vo}"),
            None => format!(".rucio_{user}"),
        };
        let file = match account {
            Some(account) => format!("auth_token_for_account_{account}"),
            None => "auth_token_for_default_account".to_owned(),
        };
        let base = variable("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
        Self(base.join(user).join(folder).join(file))
    }

    /// A file that the configuration names.
    pub(super) fn at(file: PathBuf) -> Self {
        Self(file)
    }

    /// Returns the token, if the file exists and only its owner can read it.
    pub(super) fn read(&self) -> Option<String> {
        let found = std::fs::metadata(&self.0).ok()?;
        if found.permissions().mode() & 0o077 != 0 {
            tracing::warn!("the token file '{}' may be read by others and is not used", self.0.display());
            return None;
        }
        let text = std::fs::read_to_string(&self.0).ok()?;
        let token = text.trim();
        let is_valid = !token.is_empty() && token.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        is_valid.then(|| token.to_owned())
    }

    /// Replaces the token. Errors are only logged: the token is then requested again by the next session.
    pub(super) fn write(&self, token: &str) {
        if let Err(error) = self.try_write(token) {
            tracing::warn!("the token cannot be kept in '{}': {error}", self.0.display());
        }
    }

    fn try_write(&self, token: &str) -> std::io::Result<()> {
        let folder = self.0.parent().unwrap_or(Path::new("/"));
        if let Some(above) = folder.parent() {
            std::fs::create_dir_all(above)?;
        }
        match std::fs::DirBuilder::new().mode(0o700).create(folder) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        // A temporary file of tempfile has mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(token.as_bytes())?;
        file.persist(&self.0)?;
        Ok(())
    }
}

/// The user id of this process.
pub(super) fn user_id() -> u32 {
    std::fs::metadata("/proc/self").map_or(0, |found| found.uid())
}

/// The name of the user, found as Python's `getpass.getuser` does.
fn user_name(variable: &dyn Fn(&str) -> Option<String>) -> String {
    let named = ["LOGNAME", "USER", "LNAME", "USERNAME"].into_iter().find_map(variable);
    named
        .or_else(|| {
            let uid = user_id().to_string();
            let users = std::fs::read_to_string("/etc/passwd").ok()?;
            let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
            users.lines().map(fields).find(|user| user.get(2) == Some(&uid)).and_then(|user| user.into_iter().next())
        })
        .unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_that_of_the_original_client_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let variable = |name: &str| match name {
            "TMPDIR" => Some(folder.path().display().to_string()),
            "USER" => Some("me".to_owned()),
            _ => None,
        };
        let cache = TokenCache::of(Some("root"), Some("def"), &variable);
        assert!(cache.0.ends_with("me/.rucio_me/auth_token_for_account_root"));
        assert!(
            TokenCache::of(None, Some("x"), &variable).0.ends_with("me/.rucio_me@x/auth_token_for_default_account")
        );
        assert_eq!(cache.read(), None);
        cache.write("secret");
        cache.write("secret2");
        assert_eq!(cache.read().as_deref(), Some("secret2"));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&cache.0), mode(cache.0.parent().unwrap())), (0o600, 0o700));
        std::fs::set_permissions(&cache.0, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(cache.read(), None, "others can read it");
    }
}
